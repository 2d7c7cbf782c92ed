//! The figures: progress lines on standard error, the end report as text or JSON on standard output.

use crate::procstat::Memory;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

/// Times of one kind, in microseconds up to an hour, to 0.1 %.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

/// What is told of [`Times`], in milliseconds; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// How many were measured.
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) max_ms: Option<f64>,
}

const MAX_US: u64 = 3_600_000_000;

impl Times {
    pub(crate) fn new() -> Times {
        Times(Histogram::new_with_bounds(1, MAX_US, 3).expect("bounds are in order and 3 digits are allowed"))
    }

    /// Adds one time.
    pub(crate) fn add_ns(&mut self, ns: u64) {
        self.0.saturating_record((ns / 1000).clamp(1, MAX_US));
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| (!self.0.is_empty()).then_some(us as f64 / 1000.0);
        Percentiles {
            count: self.0.len(),
            p50_ms: ms(self.0.value_at_quantile(0.5)),
            p99_ms: ms(self.0.value_at_quantile(0.99)),
            max_ms: ms(self.0.max()),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.p50_ms, self.p99_ms, self.max_ms) {
            (Some(p50), Some(p99), Some(max)) => {
                write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms ({} values)", self.count)
            }
            _ => f.write_str("not measured"),
        }
    }
}

/// What the server spent in the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// User plus system time of the given processes.
    pub(crate) cpu_seconds: f64,
    /// The same per second of the window and player, in µs.
    pub(crate) cpu_us_per_player_second: f64,
    /// Memory at the window's end.
    pub(crate) memory: Memory,
}

/// What `play` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlayReport {
    pub(crate) url: String,
    /// `prompt` or `late`: no figure means anything without it.
    pub(crate) readers: String,
    pub(crate) players: usize,
    /// How many of them read promptly and parse.
    pub(crate) sample: usize,
    /// Started to play.
    pub(crate) connected: usize,
    /// Never started.
    pub(crate) failed: usize,
    /// Started, and ended before the window did, the broken ones among them.
    pub(crate) closed: usize,
    /// Got bytes that are wrong.
    pub(crate) broken: usize,
    /// The first few reasons of failed, closed and broken players.
    pub(crate) reasons: Vec<String>,
    /// From the first connect until all had started.
    pub(crate) ramp_seconds: f64,
    /// The measured window.
    pub(crate) window_seconds: f64,
    /// Received by all players in the window.
    pub(crate) bytes: u64,
    /// Received by all players since they connected.
    pub(crate) bytes_total: u64,
    /// Media messages that the sample received in the window.
    pub(crate) sample_messages: u64,
    /// From connect to the first picture, of the sample.
    pub(crate) first_video_frame: Percentiles,
    /// From publisher to player, of the sample, in the window.
    pub(crate) latency: Percentiles,
    /// Times that a player got nothing for over 2 s after its start.
    pub(crate) gaps_over_2s: u64,
    pub(crate) longest_gap_seconds: f64,
    /// Own CPU time in the window.
    pub(crate) own_cpu_seconds: f64,
    /// CPU time in the window of everything but this process and the server: on a busy machine no figure holds.
    pub(crate) other_cpu_seconds: f64,
    pub(crate) server: Option<Server>,
    /// Kernel memory of all TCP sockets of the host, before the first connect and at the window's end.
    pub(crate) tcp_memory_before_bytes: u64,
    pub(crate) tcp_memory_bytes: u64,
}

impl std::fmt::Display for PlayReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{} players ({} readers, {} of them sampled) of {}",
            self.players, self.readers, self.sample, self.url
        )?;
        writeln!(
            f,
            "players       {} connected in {:.2} s, {} failed, {} closed early, {} broken",
            self.connected, self.ramp_seconds, self.failed, self.closed, self.broken
        )?;
        for reason in &self.reasons {
            writeln!(f, "              {reason}")?;
        }
        let seconds = self.window_seconds.max(1e-9);
        writeln!(
            f,
            "window        {seconds:.1} s, {:.1} MiB, {:.1} kbit/s per player",
            mib(self.bytes),
            self.bytes as f64 / 125.0 / seconds / self.connected.max(1) as f64
        )?;
        writeln!(f, "sample        {} messages", self.sample_messages)?;
        writeln!(f, "first picture {}", self.first_video_frame)?;
        writeln!(f, "latency       {}", self.latency)?;
        writeln!(f, "gaps over 2 s {}, longest gap {:.2} s", self.gaps_over_2s, self.longest_gap_seconds)?;
        writeln!(
            f,
            "own CPU       {:.2} s ({:.1} %)",
            self.own_cpu_seconds,
            100.0 * self.own_cpu_seconds / seconds
        )?;
        writeln!(f, "others' CPU   {:.2} s, publishers included", self.other_cpu_seconds)?;
        if let Some(server) = self.server {
            writeln!(
                f,
                "server CPU    {:.2} s ({:.1} %), {:.1} µs per player and second",
                server.cpu_seconds,
                100.0 * server.cpu_seconds / seconds,
                server.cpu_us_per_player_second
            )?;
            let m = server.memory;
            writeln!(
                f,
                "server memory RSS {:.1} MiB, PSS {:.1} MiB, anonymous {:.1} MiB",
                mib(m.rss_bytes),
                mib(m.pss_bytes),
                mib(m.anonymous_bytes)
            )?;
        }
        write!(
            f,
            "kernel TCP    {:.1} MiB before, {:.1} MiB at the end",
            mib(self.tcp_memory_before_bytes),
            mib(self.tcp_memory_bytes)
        )
    }
}

/// What `limit` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

impl std::fmt::Display for LimitReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// What `publish` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishReport {
    pub(crate) url: String,
    pub(crate) streams: usize,
    /// Were live.
    pub(crate) connected: usize,
    /// Never were.
    pub(crate) failed: usize,
    /// Were live and ended before the time was over.
    pub(crate) closed: usize,
    /// The first few reasons of failed and closed streams.
    pub(crate) reasons: Vec<String>,
    pub(crate) seconds: f64,
    /// Media messages sent, preludes not counted.
    pub(crate) messages: u64,
    /// Their payloads.
    pub(crate) bytes: u64,
    /// By how much the latest message missed its time.
    pub(crate) latest_ms: f64,
    pub(crate) own_cpu_seconds: f64,
}

impl std::fmt::Display for PublishReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} streams of {} live, {} failed, {} closed early; {} messages of {} bytes in {:.1} s, at most \
             {:.1} ms late; own CPU {:.2} s",
            self.connected,
            self.streams,
            self.url,
            self.failed,
            self.closed,
            self.messages,
            self.bytes,
            self.seconds,
            self.latest_ms,
            self.own_cpu_seconds
        )?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

/// Writes a report: as JSON where `--json` says (text goes to standard error then, unless it names a file).
pub(crate) fn write<R: std::fmt::Display + Serialize>(report: &R, json: Option<&Path>) -> io::Result<()> {
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

/// A progress line.
pub(crate) fn progress(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_times() {
        let mut times = Times::new();
        assert_eq!(times.percentiles(), Percentiles::default());
        for ms in 1..=1000u64 {
            times.add_ns(ms * 1_000_000);
        }
        let p = times.percentiles();
        let near = |found: Option<f64>, ms: f64| found.is_some_and(|f| (f - ms).abs() <= ms / 500.0);
        assert!(
            p.count == 1000 && near(p.p50_ms, 500.0) && near(p.p99_ms, 990.0) && near(p.max_ms, 1000.0),
            "{p}"
        );
    }

    #[test]
    fn a_time_beyond_the_scale_counts_as_the_longest() {
        let mut times = Times::new();
        times.add_ns(u64::MAX);
        times.add_ns(0);
        let p = times.percentiles();
        assert_eq!(p.count, 2);
        assert!(p.max_ms.is_some_and(|ms| ms >= 3_590_000.0), "{p}");
    }
}
