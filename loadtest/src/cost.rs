//! `srs-load cost`: what one more viewer costs a server, against what it costs `limit`.
//!
//! CPU per viewer is the slope between few and many players, so what a server costs without viewers drops out.
//! Server and `limit` alternate, each freshly started in each round, with the same stream, cadence and readers; what
//! is told is the median of the rounds' ratios, because a machine's speed drifts by more than servers differ.

use crate::cli::{self, Switch};
use crate::net;
use crate::procstat;
use crate::report::{self, PlayReport};
use crate::target::{self, Scheme};
use serde::Serialize;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A server that does not listen after this time has failed.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// A process that does not end after this time is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// From the publisher's start to the first player.
const PUBLISH_LEAD: Duration = Duration::from_secs(3);

/// Measures and reports.
pub(crate) fn run(options: &cli::Cost) -> io::Result<ExitCode> {
    net::catch_signals();
    let (few, many) = options.players;
    if few >= many {
        return Err(io::Error::other(format!("--players {few},{many}: the first number is the smaller one")));
    }
    let target = target::targets(&options.url, None)?.swap_remove(0);
    if target.scheme != Scheme::Rtmp && options.publish_url.is_none() {
        return Err(io::Error::other("--url is not RTMP: say with --publish-url where to publish"));
    }
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        let mut server = None;
        let mut limit = None;
        // Who goes first alternates too.
        for is_server in [round % 2 == 1, round % 2 == 0] {
            let name = if is_server { "server" } else { "limit" };
            let at =
                |players: usize| format!("round {round} of {}, {name}, {players} players", options.rounds);
            let mut runs = Vec::new();
            for players in [few, many] {
                if net::stopped() {
                    return Err(io::Error::from(io::ErrorKind::Interrupted));
                }
                report::progress(format_args!("{}", at(players)));
                let subject = if is_server {
                    Subject::server(options, &target)?
                } else {
                    Subject::limit(options, target.scheme)?
                };
                let run = subject.measure(options, players)?;
                if run.connected < players || run.closed > 0 {
                    let why = run.reasons.join("; ");
                    return Err(io::Error::other(format!(
                        "{}: {} played: {why}",
                        at(players),
                        run.connected
                    )));
                }
                runs.push(run);
            }
            let slope =
                slope(&runs[0], &runs[1]).ok_or_else(|| io::Error::other("a measured server is gone"))?;
            *(if is_server { &mut server } else { &mut limit }) = Some(slope);
        }
        let (Some(server), Some(limit)) = (server, limit) else { continue };
        report::progress(format_args!(
            "round {round}: server {:.1} µs, limit {:.1} µs per viewer-second",
            server.cpu_us, limit.cpu_us
        ));
        rounds.push(Round { server, limit, ratio: server.cpu_us / limit.cpu_us });
    }
    let report = CostReport::new(options, rounds);
    report::write(&report, options.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// What one more viewer costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Slope {
    /// µs of CPU per viewer and second.
    cpu_us: f64,
    /// Anonymous memory per viewer.
    anonymous_bytes: f64,
    /// Kernel memory of TCP per viewer, both ends.
    kernel_bytes: f64,
    /// Latency p99 with many viewers.
    latency_p99_ms: Option<f64>,
    /// What the load generator itself spent per viewer and second, with many viewers.
    load_cpu_us: f64,
    gaps_over_2s: u64,
    /// CPUs that others kept busy meanwhile, the publisher included: the figures hold if this is small.
    other_cpus: f64,
}

/// From a run with few players and one with many; `None` if the server was not seen in both.
fn slope(few: &PlayReport, many: &PlayReport) -> Option<Slope> {
    let (a, b) = (few.server?, many.server?);
    let viewers = many.players as f64 - few.players as f64;
    let per_second = |cpu: f64, run: &PlayReport| cpu / run.window_seconds.max(1e-9);
    let between = |a: f64, b: f64| (b - a) / viewers;
    Some(Slope {
        cpu_us: between(per_second(a.cpu_seconds, few), per_second(b.cpu_seconds, many)) * 1e6,
        anonymous_bytes: between(a.memory.anonymous_bytes as f64, b.memory.anonymous_bytes as f64),
        kernel_bytes: between(few.tcp_memory_bytes as f64, many.tcp_memory_bytes as f64),
        latency_p99_ms: many.latency.p99_ms,
        load_cpu_us: per_second(many.own_cpu_seconds, many) * 1e6 / many.players as f64,
        gaps_over_2s: few.gaps_over_2s + many.gaps_over_2s,
        other_cpus: per_second(few.other_cpu_seconds, few).max(per_second(many.other_cpu_seconds, many)),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Round {
    server: Slope,
    limit: Slope,
    /// CPU of the server's viewer to that of limit's.
    ratio: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct CostReport {
    server: String,
    url: String,
    readers: String,
    cadence: String,
    nagle: bool,
    players: (usize, usize),
    seconds: f64,
    rounds: Vec<Round>,
    median_ratio: Option<f64>,
    median_server_cpu_us: Option<f64>,
    median_limit_cpu_us: Option<f64>,
}

impl CostReport {
    fn new(options: &cli::Cost, rounds: Vec<Round>) -> CostReport {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        CostReport {
            server: options.server.clone(),
            url: options.url.clone(),
            readers: options.how.readers.to_string(),
            cadence: options
                .merge
                .map_or("each message".into(), |m| format!("merged at {} ms", m.as_millis())),
            nagle: options.nagle == Switch::On,
            players: options.players,
            seconds: options.how.time.as_secs_f64(),
            median_ratio: of(|r| r.ratio),
            median_server_cpu_us: of(|r| r.server.cpu_us),
            median_limit_cpu_us: of(|r| r.limit.cpu_us),
            rounds,
        }
    }
}

impl fmt::Display for CostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (few, many) = self.players;
        writeln!(
            f,
            "CPU per viewer: slope from {few} to {many} players, windows of {:.0} s, {} readers;",
            self.seconds, self.readers
        )?;
        let nagle = if self.nagle { "Nagle" } else { "TCP_NODELAY" };
        writeln!(f, "`limit` sends {}, {nagle}. Server: `{}`\n", self.cadence, self.server)?;
        writeln!(
            f,
            "| round | server µs | limit µs | ratio | server p99 ms | limit p99 ms | user B/viewer | kernel B/viewer | load µs | other CPUs |"
        )?;
        writeln!(f, "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        let ms = |p: Option<f64>| p.map_or("–".into(), |p| format!("{p:.1}"));
        for (i, round) in self.rounds.iter().enumerate() {
            let (server, limit) = (&round.server, &round.limit);
            writeln!(
                f,
                "| {} | {:.1} | {:.1} | {:.2} | {} | {} | {:.0} | {:.0} | {:.1} | {:.2} |",
                i + 1,
                server.cpu_us,
                limit.cpu_us,
                round.ratio,
                ms(server.latency_p99_ms),
                ms(limit.latency_p99_ms),
                server.anonymous_bytes,
                server.kernel_bytes,
                server.load_cpu_us,
                server.other_cpus.max(limit.other_cpus)
            )?;
        }
        let number = |n: Option<f64>, digits| n.map_or("–".into(), |n| format!("{n:.digits$}"));
        write!(
            f,
            "| **median** | **{}** | **{}** | **{}** | | | | | | |",
            number(self.median_server_cpu_us, 1),
            number(self.median_limit_cpu_us, 1),
            number(self.median_ratio, 2)
        )
    }
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// A server that runs, with its publisher if it needs one.
struct Subject {
    publisher: Option<Ended>,
    server: Ended,
    url: String,
}

impl Subject {
    fn server(options: &cli::Cost, target: &target::Target) -> io::Result<Subject> {
        // `exec`: the process that is measured is the server, not the shell.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {}", options.server)]);
        let server = start(command, options.pin_server)?;
        await_listener(target.address)?;
        let publish_url = options.publish_url.as_deref().unwrap_or(&options.url);
        let mut publish = own_command("publish")?;
        publish.args(["--url", publish_url]).arg("--flv").arg(&options.flv);
        let publisher = start(publish, options.pin_load)?;
        sleep(PUBLISH_LEAD);
        Ok(Subject { publisher: Some(publisher), server, url: options.url.clone() })
    }

    fn limit(options: &cli::Cost, scheme: Scheme) -> io::Result<Subject> {
        let mut command = own_command("limit")?;
        let listen = options.limit_listen;
        command.args(["--listen", &listen.to_string()]).arg("--flv").arg(&options.flv);
        let (protocol, url) = match scheme {
            Scheme::Rtmp => ("rtmp", format!("rtmp://{listen}/live/limit")),
            Scheme::Http | Scheme::Raw => ("raw", format!("raw://{listen}")),
        };
        command.args(["--protocol", protocol]);
        if let Some(merge) = options.merge {
            command.args(["--merge", &format!("{}us", merge.as_micros())]);
        }
        command.args(["--nagle", if options.nagle == Switch::On { "on" } else { "off" }]);
        let server = start(command, options.pin_server)?;
        await_listener(listen)?;
        Ok(Subject { publisher: None, server, url })
    }

    fn measure(mut self, options: &cli::Cost, players: usize) -> io::Result<PlayReport> {
        let pids: Vec<String> = procstat::family(self.server.0.id()).iter().map(u32::to_string).collect();
        let mut play = own_command("play")?;
        play.args(["--url", &self.url, "--players", &players.to_string()]).args(options.how.arguments());
        play.args(["--pid", &pids.join(","), "--json", "-"]);
        play.stdout(Stdio::piped());
        let mut play = start(play, options.pin_load)?;
        let mut text = String::new();
        if let Some(mut out) = play.0.stdout.take() {
            io::Read::read_to_string(&mut out, &mut text)?;
        }
        for process in [self.publisher.as_mut(), Some(&mut self.server)].into_iter().flatten() {
            if let Some(status) = process.0.try_wait()? {
                return Err(io::Error::other(format!("a measured process ended by itself: {status}")));
            }
        }
        serde_json::from_str(&text).map_err(|e| io::Error::other(format!("play told nothing: {e}")))
    }
}

fn own_command(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name);
    Ok(command)
}

fn start(mut command: Command, cpu: Option<usize>) -> io::Result<Ended> {
    if let Some(cpu) = cpu {
        net::pin(&mut command, cpu);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    if command.get_args().next().is_some_and(|a| a != "play") {
        command.stdout(Stdio::null());
    }
    let child = command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{command:?}: {e}")))?;
    Ok(Ended(child))
}

fn await_listener(at: SocketAddr) -> io::Result<()> {
    let until = Instant::now() + START_TIMEOUT;
    loop {
        match TcpStream::connect_timeout(&at, START_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > until || net::stopped() => {
                return Err(io::Error::new(e.kind(), format!("nothing listens on {at}: {e}")));
            }
            Err(_) => sleep(TRY_EVERY),
        }
    }
}

/// A process that is ended when this is dropped: asked first, killed if it does not listen.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let until = Instant::now() + STOP_TIMEOUT;
        if matches!(self.0.try_wait(), Ok(None)) {
            net::terminate(self.0.id());
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            sleep(TRY_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procstat::Memory;
    use crate::report::{Percentiles, Server};

    fn play(players: usize, window_seconds: f64, cpu_seconds: f64, anonymous_bytes: u64) -> PlayReport {
        let memory = Memory { anonymous_bytes, ..Memory::default() };
        PlayReport {
            players,
            window_seconds,
            server: Some(Server { cpu_seconds, cpu_us_per_player_second: 0.0, memory }),
            latency: Percentiles { p99_ms: Some(7.0), ..Percentiles::default() },
            own_cpu_seconds: 0.5,
            ..PlayReport::default()
        }
    }

    #[test]
    fn a_slope_leaves_out_what_is_spent_without_viewers() {
        // 0.1 s of CPU a second idle, and 100 µs per viewer and second; windows of different length.
        let few = play(100, 10.0, (0.1 + 100.0 * 100e-6) * 10.0, 1_000_000 + 100 * 4096);
        let many = play(1000, 20.0, (0.1 + 1000.0 * 100e-6) * 20.0, 1_000_000 + 1000 * 4096);
        let found = slope(&few, &many).expect("both saw the server");
        assert!((found.cpu_us - 100.0).abs() < 1e-6, "{found:?}");
        assert!((found.anonymous_bytes - 4096.0).abs() < 1e-6, "{found:?}");
        assert!((found.load_cpu_us - 25.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.latency_p99_ms, Some(7.0));
        assert_eq!(slope(&PlayReport { server: None, ..few }, &many), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
