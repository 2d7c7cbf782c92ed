//! The figures: a progress line each second on standard error, and the end report as text, as JSON, and as Markdown with
//! plots ([`markdown`], [`plot`]).

pub(crate) mod markdown;
pub(crate) mod plot;

use crate::cli::{self, Course};
use crate::procstat::Memory;
use crate::stage::{Act, Outcome};
use crate::times::{Percentiles, Point};
use crate::{encoders, players};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

/// What a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RunReport {
    /// The measured window.
    pub(crate) window_seconds: f64,
    pub(crate) players: Vec<PlayersReport>,
    pub(crate) encoders: Vec<EncodersReport>,
    /// Players that played at the window's end.
    pub(crate) playing: u64,
    /// Received by all players in the window.
    pub(crate) bytes: u64,
    /// From connect to the first key picture, of all players that were there from the start.
    pub(crate) first_picture: Percentiles,
    pub(crate) first_picture_curve: Vec<Point>,
    /// From publisher to player, of the samples, in the window.
    pub(crate) latency: Percentiles,
    pub(crate) latency_curve: Vec<Point>,
    pub(crate) server: Option<Server>,
    /// Own CPU time in the window, of players and encoders.
    pub(crate) own_cpu_seconds: f64,
    /// CPU time in the window of everything but this process and the server: on a busy machine no figure holds.
    pub(crate) other_cpu_seconds: f64,
    /// Kernel memory that all TCP sockets of the host hold for what they queue: before the first player, the window's mean,
    /// and the most in it.
    pub(crate) tcp_memory_before_bytes: u64,
    pub(crate) tcp_memory_bytes: u64,
    pub(crate) tcp_memory_greatest_bytes: u64,
    pub(crate) tcp_memory_bytes_per_player: f64,
    /// The run, second by second.
    pub(crate) seconds: Vec<Second>,
    /// What should not have been; empty if all went well.
    pub(crate) faults: Vec<String>,
}

/// What the server spent in the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Server {
    /// User plus system time of its processes.
    pub(crate) cpu_seconds: f64,
    /// The same per second of the window and player, in µs.
    pub(crate) cpu_us_per_player_second: f64,
    /// Memory at the window's end.
    pub(crate) memory: Memory,
    /// What came between the first player and the window's end.
    pub(crate) anonymous_bytes_per_player: Option<f64>,
    /// Resident after the window's first tenth.
    pub(crate) rss_at_tenth_bytes: Option<u64>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Second {
    /// Since the run's start.
    pub(crate) at_s: f64,
    /// It is part of the measured window.
    pub(crate) window: bool,
    pub(crate) playing: u64,
    /// Streams that are live.
    pub(crate) live: u64,
    /// Received by all players.
    pub(crate) mbit_per_s: f64,
    /// So far.
    pub(crate) gaps: u64,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
    pub(crate) server_cpu_percent: Option<f64>,
    pub(crate) server_rss_bytes: Option<u64>,
}

/// What a group of players saw.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PlayersReport {
    pub(crate) url: String,
    /// How they read: no figure means anything without it.
    pub(crate) readers: String,
    pub(crate) players: usize,
    pub(crate) sample: usize,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// Got bytes that are wrong.
    pub(crate) broken: u64,
    /// From the first connect until all had started.
    pub(crate) ramp_seconds: f64,
    /// From the first connect until all had a key picture; `None` if some never had.
    pub(crate) all_pictures_seconds: Option<f64>,
    pub(crate) first_picture: Percentiles,
    /// Of those who came while others left.
    pub(crate) later_first_picture: Percentiles,
    pub(crate) latency: Percentiles,
    /// Media messages that the sample received in the window.
    pub(crate) sample_messages: u64,
    /// Received by all since they connected.
    pub(crate) bytes: u64,
    /// Times that a player got nothing for over 2 s after its start; not told of slow and stuck ones.
    pub(crate) gaps_over_2s: Option<u64>,
    pub(crate) longest_gap_seconds: Option<f64>,
    #[serde(skip)]
    expendable: bool,
}

/// What a group of encoders did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EncodersReport {
    pub(crate) url: String,
    pub(crate) streams: usize,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// Media messages sent, preludes not counted.
    pub(crate) messages: u64,
    /// Their payloads.
    pub(crate) bytes: u64,
    /// By how much the latest message missed its time.
    pub(crate) latest_ms: f64,
}

impl PlayersReport {
    pub(crate) fn new(options: &cli::Players, tally: &players::Tally) -> PlayersReport {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let told = !options.readers.fall_behind();
        PlayersReport {
            url: options.url.clone(),
            readers: options.readers.to_string(),
            players: options.players,
            sample: options.sampled(),
            outcome: tally.outcome.clone(),
            broken: tally.broken,
            ramp_seconds: seconds(tally.ramp_ns),
            all_pictures_seconds: (tally.saw == options.players as u64).then(|| seconds(tally.last_saw_ns)),
            first_picture: tally.first_picture.percentiles(),
            later_first_picture: tally.later_picture.percentiles(),
            latency: tally.latency.percentiles(),
            sample_messages: tally.messages,
            bytes: tally.bytes,
            gaps_over_2s: told.then_some(tally.gaps),
            longest_gap_seconds: told.then(|| seconds(tally.longest_gap_ns)),
            expendable: options.expendable || options.readers.fall_behind(),
        }
    }
}

impl EncodersReport {
    pub(crate) fn new(options: &cli::Encoders, streams: usize, tally: &encoders::Tally) -> EncodersReport {
        EncodersReport {
            url: options.url.clone(),
            streams,
            outcome: tally.outcome.clone(),
            messages: tally.messages,
            bytes: tally.bytes,
            latest_ms: tally.latest_ns as f64 / 1e6,
        }
    }
}

impl RunReport {
    /// Gaps of the players that should have none.
    pub(crate) fn gaps(&self) -> u64 {
        self.players.iter().filter(|group| !group.expendable).filter_map(|group| group.gaps_over_2s).sum()
    }

    /// Notes what should not have been.
    pub(crate) fn find_faults(&mut self, course: &Course) {
        let mut faults = Vec::new();
        let players = self.players.iter().filter(|group| !group.expendable);
        let players = players.map(|group| (&group.url, "players", &group.outcome));
        let encoders = self.encoders.iter().map(|group| (&group.url, "streams", &group.outcome));
        for (url, what, outcome) in players.chain(encoders).filter(|(.., outcome)| !outcome.is_clean()) {
            faults.push(format!("{url}: {} {what} failed, {} were closed", outcome.failed, outcome.closed));
        }
        if course.no_gaps && self.gaps() > 0 {
            faults.push(format!("{} gaps of over 2 s", self.gaps()));
        }
        if let (Some(most), Some(server)) = (course.max_growth, self.server) {
            let (end, tenth) = (server.memory.rss_bytes, server.rss_at_tenth_bytes.unwrap_or(0));
            let growth = (end as f64 / tenth.max(1) as f64 - 1.0) * 100.0;
            if growth > most {
                faults
                    .push(format!("the server's memory grew by {growth:.1} %, from {tenth} to {end} bytes"));
            }
        }
        self.faults = faults;
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for PlayersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = &self.outcome;
        writeln!(
            f,
            "{} players of {} ({} readers, {} sampled)",
            self.players, self.url, self.readers, self.sample
        )?;
        writeln!(
            f,
            "  started       {} in {:.2} s, {} failed, {} closed, {} broken, {} left",
            came.started, self.ramp_seconds, came.failed, came.closed, self.broken, came.left
        )?;
        came.reasons.iter().try_for_each(|reason| writeln!(f, "                {reason}"))?;
        write!(f, "  first picture {}", self.first_picture)?;
        match self.all_pictures_seconds {
            Some(seconds) => writeln!(f, "; all have one after {seconds:.2} s")?,
            None => writeln!(f)?,
        }
        if self.later_first_picture.count > 0 {
            writeln!(f, "    of newcomers {}", self.later_first_picture)?;
        }
        writeln!(f, "  latency       {}, in {} messages", self.latency, self.sample_messages)?;
        match (self.gaps_over_2s, self.longest_gap_seconds) {
            (Some(gaps), Some(longest)) => writeln!(f, "  gaps over 2 s {gaps}, longest gap {longest:.2} s"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for EncodersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = &self.outcome;
        writeln!(f, "{} streams to {}", self.streams, self.url)?;
        writeln!(
            f,
            "  live          {} times, {} failed, {} closed, {} left",
            came.started, came.failed, came.closed, came.left
        )?;
        came.reasons.iter().try_for_each(|reason| writeln!(f, "                {reason}"))?;
        writeln!(
            f,
            "  sent          {} messages, {:.1} MiB, at most {:.1} ms late",
            self.messages,
            mib(self.bytes),
            self.latest_ms
        )
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encoders.iter().try_for_each(|group| write!(f, "{group}"))?;
        self.players.iter().try_for_each(|group| write!(f, "{group}"))?;
        let seconds = self.window_seconds.max(1e-9);
        let percent = |cpu_seconds: f64| 100.0 * cpu_seconds / seconds;
        writeln!(
            f,
            "window          {seconds:.1} s, {:.1} MiB, {:.1} kbit/s per player",
            mib(self.bytes),
            self.bytes as f64 / 125.0 / seconds / self.playing.max(1) as f64
        )?;
        if self.players.len() > 1 {
            writeln!(f, "first picture   {}", self.first_picture)?;
            writeln!(f, "latency         {}", self.latency)?;
        }
        if let Some(server) = self.server {
            writeln!(
                f,
                "server CPU      {:.2} s ({:.1} %), {:.1} µs per player and second",
                server.cpu_seconds,
                percent(server.cpu_seconds),
                server.cpu_us_per_player_second
            )?;
            let m = server.memory;
            let (rss, pss, anonymous) = (mib(m.rss_bytes), mib(m.pss_bytes), mib(m.anonymous_bytes));
            write!(f, "server memory   RSS {rss:.1} MiB, PSS {pss:.1} MiB, anonymous {anonymous:.1} MiB")?;
            match server.anonymous_bytes_per_player {
                Some(each) if self.playing > 0 => writeln!(f, ", {each:.0} bytes per player")?,
                _ => writeln!(f)?,
            }
        }
        writeln!(
            f,
            "own CPU         {:.2} s ({:.1} %), others' {:.2} s",
            self.own_cpu_seconds,
            percent(self.own_cpu_seconds),
            self.other_cpu_seconds
        )?;
        write!(
            f,
            "kernel TCP      {:.1} MiB before, {:.1} MiB in the window, {:.1} at most",
            mib(self.tcp_memory_before_bytes),
            mib(self.tcp_memory_bytes),
            mib(self.tcp_memory_greatest_bytes)
        )?;
        self.faults.iter().try_for_each(|fault| write!(f, "\nFAULT           {fault}"))
    }
}

/// What `limit` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LimitReport {
    pub(crate) accepted: u64,
    /// Clients that were there when it ended.
    pub(crate) clients: usize,
    /// Clients closed because they fell out of what is kept.
    pub(crate) overrun: u64,
    /// Messages of the stream.
    pub(crate) messages: u64,
    /// Bytes of the stream.
    pub(crate) stream_bytes: u64,
    /// Bytes that sockets took.
    pub(crate) sent_bytes: u64,
    /// send() calls.
    pub(crate) sends: u64,
    /// Of these, taken in part or not at all.
    pub(crate) short_sends: u64,
    pub(crate) own_cpu_seconds: f64,
}

impl fmt::Display for LimitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clients accepted, {} at the end, {} overrun; {} messages of {} bytes in all; \
             {} bytes sent in {} sends, {} of them short; own CPU {:.2} s",
            self.accepted,
            self.clients,
            self.overrun,
            self.messages,
            self.stream_bytes,
            self.sent_bytes,
            self.sends,
            self.short_sends,
            self.own_cpu_seconds
        )
    }
}

/// Writes a report: as JSON where `--json` says (text goes to standard error then, unless it names a file).
pub(crate) fn write<R: fmt::Display + Serialize>(report: &R, json: Option<&Path>) -> io::Result<()> {
    match json {
        Some(path) if path.as_os_str() == "-" => {
            eprintln!("{report}");
            let text = serde_json::to_string_pretty(report)?;
            writeln!(io::stdout().lock(), "{text}")
        }
        Some(path) => {
            std::fs::write(path, serde_json::to_string_pretty(report)? + "\n")?;
            writeln!(io::stdout().lock(), "{report}")
        }
        None => writeln!(io::stdout().lock(), "{report}"),
    }
}

/// A line on standard error.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The line of a second.
pub(crate) fn progress(second: &Second, act: Act, failed: u64, closed: u64, lost: u64) {
    let act = match act {
        Act::Ramp => "ramp",
        Act::Settling => "settling",
        Act::Window => "window",
        Act::Leaving | Act::Over => "over",
    };
    let mut line = format!(
        "{:4.0} s  {act}: {} live, {lost} lost; {} playing, {failed} failed, {closed} closed, {:.1} Mbit/s, {} gaps",
        second.at_s, second.live, second.playing, second.mbit_per_s, second.gaps
    );
    if let (Some(p50), Some(p99)) = (second.latency_p50_ms, second.latency_p99_ms) {
        line += &format!("; latency p50 {p50:.1} ms, p99 {p99:.1}");
    }
    if let (Some(cpu), Some(rss)) = (second.server_cpu_percent, second.server_rss_bytes) {
        line += &format!("; server {cpu:.0} % CPU, {:.0} MiB", mib(rss));
    }
    say(format_args!("{line}"));
}
