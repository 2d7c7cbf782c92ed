//! The command line: SRS's flags, and what belongs to a server of many cores.

use crate::SIGNATURE;
use crate::VERSION;
use crate::config::schema::MAX_CORES;
use crate::config::{Config, ConfigErrors, LogLevel};
use clap::{ArgAction, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

/// Why the process ended, for scripts and service managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was asked to, or did what it was asked for.
    Success = 0,
    /// The configuration has errors (also with `-t`).
    Config = 1,
    /// The command line has errors.
    Usage = 2,
    /// The machine lacks something: io_uring, memlock, open files.
    Preflight = 3,
    /// More cores are asked for than there are.
    Cores = 4,
    /// An address cannot be listened on.
    Listen = 5,
    /// The log cannot be written.
    Log = 6,
    /// A fault of ours.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A live media server: RTMP in; RTMP and HTTP-FLV, TS, AAC, MP3 and fMP4 out; every core at work.
///
/// Without -c it runs a built-in configuration (conf/demo.toml): RTMP on 1935, HTTP on 8080, the API on
/// 1985, and a demo stream to look at.
#[derive(Clone, Debug, Default, PartialEq, Parser)]
#[command(
    name = "srs-shard",
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = "\
Signals: SIGINT, SIGTERM stop at once; SIGQUIT lets clients finish; SIGUSR1 opens the log anew.
RUST_LOG (for instance srs_shard::rtmp=debug) overrides the log level, in Rust's words.
Exit codes: 0 success, 1 configuration, 2 command line, 3 machine (io_uring, limits), 4 cores, 5 listen,
6 log, 70 fault of the program."
)]
pub struct Cli {
    /// Configuration file (TOML; conf/srs-shard.toml has every key)
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print all that is wrong, and exit with 0 or 1
    #[arg(short = 't', long = "test")]
    pub test: bool,

    /// Number of executors, one per core [default: the cores that affinity and cgroup quota allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CORES as i64))]
    pub cores: Option<u32>,

    /// Leave executors unpinned; permits more of them than there are cores
    #[arg(long)]
    pub no_pin: bool,

    /// Don't publish the demo stream
    #[arg(long)]
    pub no_demo: bool,

    /// What is logged, in SRS's words; "trace" is one line per session and event
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,

    /// Print the version
    #[arg(short = 'v', long = "version", short_alias = 'V')]
    pub version: bool,

    /// Print the signature that peers see
    #[arg(short = 'g', long = "signature", short_alias = 'G')]
    pub signature: bool,

    /// Print help
    #[arg(short = 'h', long = "help", short_alias = '?', action = ArgAction::Help)]
    help: Option<bool>,
}

impl Cli {
    /// What `-v` or `-g` print, if one was given; nothing else is to be done then.
    pub fn banner(&self) -> Option<&'static str> {
        match self {
            Self { version: true, .. } => Some(VERSION),
            Self { signature: true, .. } => Some(SIGNATURE),
            _ => None,
        }
    }

    /// The configuration to run: the file, or the built-in one, and what the command line says over it.
    pub fn configuration(&self) -> Result<Config, ConfigErrors> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::demo()?,
        };
        self.apply(&mut config);
        Ok(config)
    }

    /// Puts what the command line says over a configuration; again after each reload.
    pub fn apply(&self, config: &mut Config) {
        config.cores = self.cores.or(config.cores);
        config.pin &= !self.no_pin;
        config.demo &= !self.no_demo;
        config.srs_log_level = self.log_level.unwrap_or(config.srs_log_level);
    }

    /// What `-t` has to say: the text for standard output, or the errors for standard error.
    pub fn test_report(&self) -> Result<String, ConfigErrors> {
        let config = self.configuration()?;
        let file = match &self.config {
            Some(path) => path.display().to_string(),
            None => "the built-in configuration".to_owned(),
        };
        let warnings = config.warnings().into_iter().map(|text| format!("{file}: warning: {text}\n"));
        Ok(warnings.chain([format!("{file}: ok\n")]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn cli(args: &[&str]) -> Cli {
        Cli::try_parse_from([&["srs-shard"], args].concat()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn srs_flags_work() {
        let c = cli(&["-t", "-c", "conf/srs-shard.toml"]);
        assert!(c.test);
        assert_eq!(c.config, Some("conf/srs-shard.toml".into()));
        for flag in ["-v", "-V", "--version"] {
            assert_eq!(cli(&[flag]).banner(), Some(env!("CARGO_PKG_VERSION")));
        }
        for flag in ["-g", "-G"] {
            assert_eq!(cli(&[flag]).banner(), Some(SIGNATURE));
        }
        for flag in ["-h", "-?", "--help"] {
            let error = Cli::try_parse_from(["srs-shard", flag]).expect_err("help ends parsing");
            assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{flag}");
        }
        assert_eq!(cli(&[]).banner(), None);
    }

    #[test]
    fn the_command_line_is_put_over_the_file() {
        let config = cli(&["--cores", "8", "--no-pin", "--log-level", "warn"]).configuration();
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((config.cores, config.pin, config.demo), (Some(8), false, true));
        assert_eq!(config.srs_log_level, LogLevel::Warn);
        let config = cli(&["--no-demo"]).configuration().unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((config.cores, config.pin, config.demo), (None, true, false));
        let mut config = Config { cores: Some(3), pin: false, ..Config::default() };
        cli(&[]).apply(&mut config);
        assert_eq!((config.cores, config.pin, config.demo), (Some(3), false, false));
    }

    #[test]
    fn bad_arguments_are_usage_errors_with_the_allowed_range() {
        for args in
            [&["--cores", "0"][..], &["--cores", "257"], &["--log-level", "loud"], &["--nope"], &["x"]]
        {
            let error = Cli::try_parse_from([&["srs-shard"], args].concat()).expect_err("bad arguments");
            assert_eq!(error.exit_code(), Exit::Usage as i32, "{args:?}");
        }
        let error = Cli::try_parse_from(["srs-shard", "--cores", "0"]).expect_err("no cores");
        assert!(error.to_string().contains("1..=256"), "{error}");
    }

    #[test]
    fn a_test_reports_warnings_and_all_errors() {
        let path = std::env::temp_dir().join(format!("srs-shard-cli-{}.toml", std::process::id()));
        let file = path.display().to_string();
        let report = |text: &str| {
            std::fs::write(&path, text).expect("a temporary file");
            cli(&["-t", "-c", &file]).test_report().map_err(|errors| errors.to_string())
        };
        let good = report("[vhost.a]");
        let warned = report("");
        let bad = report("lisen = 1\npin = 1");
        std::fs::remove_file(&path).expect("our own file");
        assert_eq!(good, Ok(format!("{file}: ok\n")));
        let warned = warned.expect("no error");
        assert!(warned.starts_with(&format!("{file}: warning: no vhost is enabled")), "{warned}");
        assert_eq!(bad.map_err(|text| text.lines().count()), Err(2));
        let built_in = cli(&["-t"]).test_report();
        assert_eq!(built_in.as_deref(), Ok("the built-in configuration: ok\n"));
    }
}
