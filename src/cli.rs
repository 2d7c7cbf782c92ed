//! The command line: SRS's flags, and what belongs to a server of many cores.

use crate::SIGNATURE;
use crate::VERSION;
use crate::access::Verb;
use crate::config::import::import;
use crate::config::schema::MAX_CORES;
use crate::config::units::parse_duration;
use crate::config::{Config, ConfigErrors, LogLevel, Overrides, Source};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Folders above an imported file's in which what it includes may be.
const INCLUDE_LEVELS: usize = 4;

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
    /// Another process has the pid file.
    Running = 7,
    /// The pid file cannot be written.
    PidFile = 8,
    /// It cannot become the user that it is to be.
    User = 9,
    /// `work_dir` is no folder that it may enter.
    WorkDir = 10,
    /// A fault of ours.
    Internal = 70,
}

impl Exit {
    /// All of them.
    pub const ALL: [Exit; 12] = [
        Exit::Success,
        Exit::Config,
        Exit::Usage,
        Exit::Preflight,
        Exit::Cores,
        Exit::Listen,
        Exit::Log,
        Exit::Running,
        Exit::PidFile,
        Exit::User,
        Exit::WorkDir,
        Exit::Internal,
    ];
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
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Signals: SIGINT, SIGTERM stop at once; SIGQUIT lets clients finish (SIGTERM too with force_grace_quit), a second
one stops; SIGHUP reads the configuration again; SIGUSR1 opens the log anew; SIGUSR2 writes the configuration in
force to its file.
RUST_LOG (for instance srs_shard::rtmp=debug) overrides the log level, in Rust's words.
Exit codes: 0 success, 1 configuration, 2 command line, 3 machine (io_uring, limits), 4 cores, 5 listen,
6 log, 7 another process has the pid file, 8 pid file, 9 user, 10 work_dir, 70 fault of the program.
With daemon on they are those of whoever starts it, once it listens or cannot."
)]
pub struct Cli {
    /// Configuration file (TOML; conf/srs-shard.toml has every key)
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print all that is wrong, and exit with 0 or 1
    #[arg(short = 't', long = "test")]
    pub test: bool,

    /// Print every value in force, as a configuration file, and who said it; exit with 0 or 1
    #[arg(long)]
    pub print_config: bool,

    /// No file: the defaults, a default vhost, and SRS's environment variables
    #[arg(short = 'e', long, conflicts_with = "config")]
    pub env: bool,

    /// RTMP on this port, whatever `listen` says; in the foreground, without pid file, with the log on the console
    #[arg(short = 'p', value_name = "PORT")]
    pub rtmp_port: Option<u16>,

    /// HTTP on this port, whatever `http_server` says; for the rest as -p
    #[arg(short = 'x', value_name = "PORT")]
    pub http_port: Option<u16>,

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
    #[arg(short = 'h', long = "help", short_alias = '?', action = ArgAction::Help, global = true)]
    help: Option<bool>,

    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Something else than to serve.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Print what an SRS configuration file is as TOML; what has no counterpart becomes a comment
    Import {
        /// An srs.conf of SRS 1 to 7
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a URL with the permission to play or publish, signed with the first of its vhost's auth.sign.secrets
    Sign(Sign),
}

/// What is to be signed.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Sign {
    /// Configuration file that has the secrets; without it they are in SRS_VHOST_AUTH_SIGN_SECRETS
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,

    /// How long the permission holds: "90s", "10m", "1h"
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    span: Duration,

    /// When it ends, in seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with = "span", value_parser = clap::value_parser!(u64).range(..=MAX_UNTIL_S))]
    until: Option<u64>,

    /// What it permits
    #[arg(value_enum)]
    pub verb: Verb,

    /// rtmp://HOST/APP/STREAM, or for playing also http://HOST/PATH
    pub url: String,
}

/// More digits than a signature may have.
const MAX_UNTIL_S: u64 = 999_999_999_999;

fn time(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).filter(|span| *span >= Duration::from_secs(1));
    span.ok_or_else(|| "a time of 1s or more is wanted: \"90s\", \"10m\", \"1h\"".to_owned())
}

impl Sign {
    /// Where the secrets are.
    pub fn source(&self) -> Result<Source, ConfigErrors> {
        self.config.as_deref().map_or_else(|| Ok(Source::bare()), Source::file)
    }

    /// When the permission ends, in seconds since 1970, as is the time now.
    pub fn until_s(&self, now_s: u64) -> u64 {
        self.until.unwrap_or_else(|| now_s.saturating_add(self.span.as_secs()).min(MAX_UNTIL_S))
    }
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

    /// What `import` prints, and what it has to say about it; or why it cannot.
    pub fn import(file: &Path) -> Result<(String, String), String> {
        let read = |path: &Path| Source::file(path).map_err(|errors| errors.to_string());
        let source = read(file)?;
        // SRS looks where it was started: here, or where the file's folder is.
        let mut include = |name: &str| {
            let folders = file.ancestors().skip(1).map(|folder| folder.join(name));
            let found = folders.take(INCLUDE_LEVELS).find(|path| path.exists());
            read(&found.unwrap_or(name.into())).map(|source| source.text().to_owned())
        };
        let imported =
            import(source.name(), source.text(), &mut include).map_err(|error| error.to_string())?;
        let told = format!(
            "{}: {} directives are left out; they stand as comments",
            source.name(),
            imported.left_out
        );
        match Config::parse("what came of it", &imported.toml) {
            Ok(_) => Ok((imported.toml, told)),
            Err(errors) => Ok((imported.toml, format!("{told}\n{errors}"))),
        }
    }

    /// Where the configuration is: the file, or what is built in.
    pub fn source(&self) -> Result<Source, ConfigErrors> {
        match &self.config {
            Some(path) => Source::file(path),
            None if self.env => Ok(Source::bare()),
            None => Ok(Source::demo()),
        }
    }

    /// What is put over it: the environment's variables, and over these the flags.
    pub fn overrides(&self, environment: impl IntoIterator<Item = (String, String)>) -> Overrides {
        let mut overrides = Overrides::of_environment(environment);
        if let Some(port) = self.rtmp_port {
            overrides.say("listen", &port.to_string(), "-p");
        }
        if let Some(port) = self.http_port {
            overrides.say("http_server.enabled", "on", "-x");
            overrides.say("http_server.listen", &port.to_string(), "-x");
        }
        if self.rtmp_port.or(self.http_port).is_some() {
            let by = if self.rtmp_port.is_some() { "-p" } else { "-x" };
            overrides.say("daemon", "off", by);
            overrides.say("pid", "auto", by);
            overrides.say("srs_log_tank", "console", by);
        }
        if let Some(cores) = self.cores {
            overrides.say("cores", &cores.to_string(), "--cores");
        }
        if self.no_pin {
            overrides.say("pin", "off", "--no-pin");
        }
        if self.no_demo {
            overrides.say("demo", "off", "--no-demo");
        }
        if let Some(level) = self.log_level.and_then(|level| level.to_possible_value()) {
            overrides.say("srs_log_level", level.get_name(), "--log-level");
            overrides.say("srs_log_level_v2", "auto", "--log-level"); // it would beat the other
        }
        overrides
    }

    /// What `-t` or `--print-config` have to say, if one was given: the text for standard output, or the errors for
    /// standard error.
    pub fn report(&self, overrides: &Overrides) -> Option<Result<String, ConfigErrors>> {
        if !self.test && !self.print_config {
            return None;
        }
        let report = |source: &Source| {
            let (config, values) = source.load(overrides)?;
            // Files with keys are named from there; where it cannot be entered, they are not found.
            let _ = std::env::set_current_dir(&config.work_dir);
            source.keys(&config, &values)?;
            if self.print_config {
                return source.in_force(overrides);
            }
            let name = source.name();
            let warnings = overrides.warnings().into_iter().chain(config.warnings());
            let warnings = warnings.map(|text| format!("{name}: warning: {text}\n"));
            Ok(warnings.chain([format!("{name}: ok\n")]).collect())
        };
        Some(self.source().and_then(|source| report(&source)))
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

    fn config_of(args: &[&str], variables: &[(&str, &str)]) -> Config {
        let cli = cli(args);
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let config = cli.source().and_then(|source| source.config(&cli.overrides(variables)));
        config.unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn the_command_line_is_put_over_the_file() {
        let config = config_of(&["--cores", "8", "--no-pin", "--log-level", "warn"], &[]);
        assert_eq!((config.cores, config.pin, config.demo), (Some(8), false, true));
        assert_eq!(config.srs_log_level, LogLevel::Warn);
        let config = config_of(
            &["-p", "1936", "-x8081"],
            &[("SRS_DAEMON", "on"), ("SRS_PID", "x"), ("SRS_LISTEN", "1")],
        );
        assert_eq!((config.listen[0].port(), config.http_server.listen[0].port()), (1936, 8081));
        assert!(!config.daemon && config.http_server.enabled && config.pid_file(false).is_none());
        let config = config_of(&["--no-demo"], &[]);
        assert_eq!((config.cores, config.pin, config.demo), (None, true, false));
        let variables = [("SRS_CORES", "3"), ("SRS_PIN", "off"), ("SRS_LISTEN", "1936")];
        let config = config_of(&["-e", "--cores", "2"], &variables);
        assert_eq!((config.cores, config.pin, config.demo), (Some(2), false, false));
        assert_eq!((config.listen[0].port(), config.vhosts.len()), (1936, 1));
    }

    #[test]
    fn a_permission_ends_when_it_is_said_to() {
        let sign = |args: &[&str]| match cli(&[&["sign"], args].concat()).command {
            Some(Command::Sign(sign)) => sign,
            other => panic!("{other:?}"),
        };
        let usual = sign(&["play", "rtmp://h/live/a"]);
        assert_eq!((usual.verb, &usual.url[..], usual.until_s(100)), (Verb::Play, "rtmp://h/live/a", 3700));
        let publish = sign(&["--for", "90s", "-c", "x.toml", "publish", "u"]);
        assert_eq!((publish.verb, publish.until_s(100)), (Verb::Publish, 190));
        assert_eq!(sign(&["play", "u", "--until", "7"]).until_s(100), 7);
        for args in [
            &["play"][..],
            &["watch", "u"],
            &["play", "u", "--for", "1"],
            &["play", "u", "--for", "0s"],
            &["play", "u", "--for", "1h", "--until", "7"],
        ] {
            let error =
                Cli::try_parse_from([&["srs-shard", "sign"], args].concat()).expect_err("bad arguments");
            assert_eq!(error.exit_code(), Exit::Usage as i32, "{args:?}");
        }
    }

    #[test]
    fn help_has_every_exit_code() {
        let help = Cli::command().render_help().to_string().replace('\n', " ");
        let codes = help.split("Exit codes: ").nth(1).expect("the codes");
        for exit in Exit::ALL {
            let code = format!("{} ", exit as u8);
            assert!(codes.split(", ").any(|said| said.starts_with(&code)), "{exit:?} in {codes}");
        }
    }

    #[test]
    fn bad_arguments_are_usage_errors_with_the_allowed_range() {
        for args in [
            &["--cores", "0"][..],
            &["--cores", "257"],
            &["--log-level", "loud"],
            &["--nope"],
            &["x"],
            &["-e", "-c", "x"],
        ] {
            let error = Cli::try_parse_from([&["srs-shard"], args].concat()).expect_err("bad arguments");
            assert_eq!(error.exit_code(), Exit::Usage as i32, "{args:?}");
        }
        let error = Cli::try_parse_from(["srs-shard", "--cores", "0"]).expect_err("no cores");
        assert!(error.to_string().contains("1..=256"), "{error}");
    }

    #[test]
    fn a_test_reports_warnings_and_all_errors() {
        let report_of = |args: &[&str]| {
            let cli = cli(args);
            cli.report(&cli.overrides([])).expect("a report is asked for")
        };
        let path = std::env::temp_dir().join(format!("srs-shard-cli-{}.toml", std::process::id()));
        let file = path.display().to_string();
        let report = |text: &str| {
            std::fs::write(&path, text).expect("a temporary file");
            report_of(&["-t", "-c", &file]).map_err(|errors| errors.to_string())
        };
        let good = report("[vhost.a]");
        let warned = report("");
        let bad = report("lisen = 1\npin = 1");
        std::fs::remove_file(&path).expect("our own file");
        assert_eq!(good, Ok(format!("{file}: ok\n")));
        let warned = warned.expect("no error");
        assert!(warned.starts_with(&format!("{file}: warning: no vhost is enabled")), "{warned}");
        assert_eq!(bad.map_err(|text| text.lines().count()), Err(2));
        assert_eq!(report_of(&["-t"]).as_deref(), Ok("conf/demo.toml (built in): ok\n"));
        let in_force = report_of(&["--print-config", "--cores", "3"]).expect("good");
        assert!(in_force.lines().any(|line| line.starts_with("cores = 3 ") && line.ends_with("# --cores")));
        assert_eq!(cli(&[]).report(&Overrides::default()), None);
    }
}
