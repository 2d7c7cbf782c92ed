//! The `srs-shard` command: reads the command line and hands over.

use clap::Parser;
use shards::master::Signals;
use srs_shard::cli::{Cli, Exit};
use srs_shard::config::schema::LogTank;
use srs_shard::logging::{LogHandle, Sink};
use srs_shard::server::start;
use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr)] // a command answers on its terminal
fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(banner) = cli.banner() {
        println!("{banner}");
        return Exit::Success.into();
    }
    if cli.test {
        return match cli.test_report() {
            Ok(report) => {
                print!("{report}");
                Exit::Success.into()
            }
            Err(errors) => {
                eprintln!("{errors}");
                Exit::Config.into()
            }
        };
    }
    let config = match cli.configuration() {
        Ok(config) => config,
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
    let log = match LogHandle::install(config.srs_log_level.filter(), sink) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Log.into();
        }
    };
    let exit = start::serve(config, &signals, &log);
    log.flush();
    exit.into()
}
