//! `srs-load`: loads RTMP and HTTP-FLV servers and says what a viewer costs them.
//!
//! Each command is one thread with one event loop, so that a few thousand sockets cost it clearly less than
//! they cost the server. `cli` is the command line; `limit`, `play`, `publish` and `cost` are the commands;
//! `wire` holds what a player speaks, `pace` when a message is due, `stamp` how a frame carries the time it
//! was sent, `net` the sockets, `procstat` what the kernel says of a process, `report` the figures.

mod cli;
mod cost;
mod film;
mod limit;
mod net;
mod pace;
mod play;
mod procstat;
mod publish;
mod report;
mod stamp;
mod target;
mod wire;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Limit(options) => limit::run(&options),
        cli::Command::Play(options) => play::run(&options),
        cli::Command::Publish(options) => publish::run(&options),
        cli::Command::Cost(options) => cost::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("srs-load: {error}");
            ExitCode::from(2)
        }
    }
}
