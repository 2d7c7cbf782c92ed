//! The `srs-shard` command: reads the command line and hands over.

use clap::Parser;
use shards::daemon::{self, Side, Word};
use srs_shard::cli::{Cli, Command, Exit};
use srs_shard::server::process::unix_time;
use srs_shard::server::reload::{InForce, LoadError};
use srs_shard::server::sign::signed_url;
use srs_shard::server::start;
use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr)] // a command answers on its terminal
fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(banner) = cli.banner() {
        println!("{banner}");
        return Exit::Success.into();
    }
    if let Some(Command::Import { file }) = &cli.command {
        return match Cli::import(file) {
            Ok((toml, told)) => {
                print!("{toml}");
                eprintln!("{told}");
                Exit::Success.into()
            }
            Err(error) => {
                eprintln!("{error}");
                Exit::Config.into()
            }
        };
    }
    let environment: Vec<_> = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect();
    let overrides = cli.overrides(environment);
    if let Some(Command::Sign(asked)) = &cli.command {
        let until_s = asked.until_s(unix_time().as_secs());
        let config =
            asked.source().and_then(|source| source.config(&overrides)).map_err(|errors| errors.to_string());
        let signed = config.and_then(|config| {
            signed_url(&config, asked.verb, &asked.url, until_s).map_err(|error| error.to_string())
        });
        return match signed {
            Ok(signed) => {
                println!("{}", signed.url);
                signed.warning.iter().for_each(|warning| eprintln!("{warning}"));
                Exit::Success.into()
            }
            Err(error) => {
                eprintln!("{error}");
                Exit::Config.into()
            }
        };
    }
    match cli.report(&overrides) {
        Some(Ok(report)) => {
            print!("{report}");
            return Exit::Success.into();
        }
        Some(Err(errors)) => {
            eprintln!("{errors}");
            return Exit::Config.into();
        }
        None => {}
    }
    let mut warnings = overrides.warnings();
    let (config, keys, in_force) = match InForce::load(&cli, overrides) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return match error {
                LoadError::Config(_) => Exit::Config.into(),
                LoadError::WorkDir { .. } => Exit::WorkDir.into(),
            };
        }
    };
    let mut starting = None;
    if config.daemon && std::process::id() == 1 {
        warnings.push("daemon: the first process of a container stays in the foreground".to_owned());
    } else if config.daemon {
        match daemon::detach() {
            Ok(Side::Daemon(side)) => starting = Some(side),
            Ok(Side::Starter(word)) => return starter_ends(word),
            Err(error) => {
                eprintln!("cannot become a daemon: {error}");
                return Exit::Internal.into();
            }
        }
    }
    match start::serve(config, &keys, in_force, &warnings, &mut starting) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            match starting {
                Some(starting) => starting.failed(failure.exit as u8, &failure.to_string()),
                None if failure.told => {}
                None => eprintln!("{failure}"),
            }
            failure.exit.into()
        }
    }
}

/// Who was started ends as the daemon says.
#[allow(clippy::print_stderr)] // a command answers on its terminal
fn starter_ends(word: Word) -> ExitCode {
    match word {
        Word::Up => Exit::Success.into(),
        Word::Failed { code, why } => {
            eprintln!("{why}");
            ExitCode::from(code)
        }
        Word::Gone => {
            eprintln!("the daemon ended before it listened");
            Exit::Internal.into()
        }
    }
}
