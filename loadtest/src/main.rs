//! `srs-load`: loads RTMP and HTTP-FLV servers, and says what they deliver and what it costs them.
//!
//! `cli` is the command line, `scenario` what a run does, `conductor` runs it: groups of `players` and `encoders`, each a
//! thread with one event loop, so that thousands of sockets cost it clearly less than they cost the server. They share a
//! `stage`. `subject` starts a server under test, `compare` two of them in turn; `limit` is the lower bound.
//! `wire` holds what a player speaks, `film` what an encoder sends, `pace` when a message is due, `stamp` how a frame
//! carries the time it was sent, `net` the sockets, `procstat` what the kernel says of a process, `times` and `report` the
//! figures.

mod cli;
mod compare;
mod conductor;
mod encoders;
mod film;
mod limit;
mod net;
mod pace;
mod players;
mod procstat;
mod report;
mod scenario;
mod stage;
mod stamp;
mod subject;
mod target;
mod times;
mod wire;

use clap::Parser;
use report::{RunReport, markdown};
use scenario::{Addresses, Scenario};
use std::io;
use std::process::ExitCode;
use subject::Subject;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Limit(options) => limit::run(&options),
        cli::Command::Play(options) => play(options),
        cli::Command::Publish(options) => publish(options),
        cli::Command::Run(options) => run(&options),
        cli::Command::Compare(options) => compare::run(&options),
        cli::Command::Soak(options) => soak(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("srs-load: {error}");
            ExitCode::from(2)
        }
    }
}

fn play(options: cli::Play) -> io::Result<ExitCode> {
    let title = format!("srs-load play {}", options.players.url);
    let scenario = Scenario { course: options.course, encoders: vec![], players: vec![options.players] };
    of_running_server(&title, &scenario)
}

fn publish(options: cli::Publish) -> io::Result<ExitCode> {
    let title = format!("srs-load publish {}", options.encoders.url);
    let scenario = Scenario { course: options.course, encoders: vec![options.encoders], players: vec![] };
    of_running_server(&title, &scenario)
}

fn run(options: &cli::Run) -> io::Result<ExitCode> {
    let scenario = Scenario::load(&options.scenario, &options.course)?;
    let title = format!("srs-load run {}", options.scenario.display());
    match &options.server {
        Some(server) => of_subject(&title, &scenario, server),
        None => {
            let addresses = Addresses { rtmp: options.rtmp.clone(), http: Some(options.http.clone()) };
            of_running_server(&title, &scenario.at(&addresses)?)
        }
    }
}

fn soak(options: &cli::Soak) -> io::Result<ExitCode> {
    let scenario = Scenario::parse("soak.toml", include_str!("../scenarios/soak.toml"), &options.course)?;
    of_subject("srs-load soak", &scenario, &options.server)
}

fn of_running_server(title: &str, scenario: &Scenario) -> io::Result<ExitCode> {
    net::catch_signals()?;
    tell(title, scenario, &conductor::conduct(scenario, &scenario.course.pid)?)
}

fn of_subject(title: &str, scenario: &Scenario, server: &str) -> io::Result<ExitCode> {
    net::catch_signals()?;
    tell(title, scenario, &compare::run_once(&Subject::parse(server)?, scenario)?)
}

fn tell(title: &str, scenario: &Scenario, report: &RunReport) -> io::Result<ExitCode> {
    report::write(report, scenario.course.json.as_deref())?;
    if let Some(folder) = &scenario.course.report {
        markdown::write_run(folder, title, report)?;
    }
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
