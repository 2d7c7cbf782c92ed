//! The `srs-shard` command: reads the command line and hands over.

use clap::Parser;
use shards::master::Signals;
use srs_shard::cli::{Cli, Command, Exit};
use srs_shard::config::schema::LogTank;
use srs_shard::logging::{LogHandle, Sink};
use srs_shard::server::process::unix_time;
use srs_shard::server::reload::{InForce, log_settings};
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
    let warnings = overrides.warnings();
    let (config, keys, in_force) = match InForce::load(&cli, overrides) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return Exit::Config.into();
        }
    };
    // Before any thread: one that does not block them would be ended by them.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Internal.into();
        }
    };
    let sink = match config.srs_log_tank {
        LogTank::Console => Sink::Console,
        LogTank::File => Sink::File(config.srs_log_file.clone()),
    };
    let log = match LogHandle::install(log_settings(&config), sink) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Log.into();
        }
    };
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let exit = start::serve(config, &keys, in_force, &signals, &log);
    log.flush();
    exit.into()
}
