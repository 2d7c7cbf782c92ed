//! The command line, and how its durations, rates and addresses are written.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  The lower bound, read by 1000 players that acknowledge late:
    srs-load limit --protocol rtmp --time 1m &
    srs-load play --url rtmp://127.0.0.1:19350/live/s --players 1000 --readers late --pid $!

  Ten encoders and 5000 players of a server, with latency and the server's CPU:
    srs-load publish --url rtmp://127.0.0.1/live/s --streams 10 --flv film.flv &
    srs-load play --url 'rtmp://127.0.0.1/live/s[0-9]' --players 5000 --sources 4 --pid $SERVER

  What a viewer costs, against the lower bound, both merging 350 ms:
    srs-load cost --server 'srs-shard -c merged.toml' --flv film.flv --merge 350ms --readers late

Latency is measured where publisher and players share a host. The made-up stream of `limit` has 68 messages a
second: 25 pictures and 43 frames of audio.";

/// Loads RTMP and HTTP-FLV servers and says what a viewer costs them.
///
/// Every figure names its readers: players that acknowledge late let the kernel merge small sends (Nagle), which
/// makes a server that sends each message look up to three times cheaper than with prompt ones.
#[derive(Debug, Parser)]
#[command(name = "srs-load", version, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // What --help says of each stands at its options.
    Limit(Limit),
    Play(Play),
    Publish(Publish),
    Cost(Cost),
}

/// Serve the least a live server can do: the same bytes to every socket with plain send().
///
/// Every client that connects gets the stream from the next message on. A socket that takes only part of what it
/// is given gets the rest at the next tick, so its bytes stay whole; one that is 8 MiB behind is closed. What this
/// costs per viewer is the lower bound that other servers are compared with.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:19350", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// What clients speak: `raw` needs no request and frames each message with its number and send time.
    #[arg(long, value_enum, default_value_t = Protocol::Raw)]
    pub(crate) protocol: Protocol,
    /// Bit rate of the made-up stream, in kbit/s of message bytes.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(crate) kbps: u32,
    /// Take message sizes and times from an FLV file instead of making them up.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kbps", "rate"])]
    pub(crate) flv: Option<PathBuf>,
    /// Messages per second of the made-up stream: 25 of 68 are video, the rest audio.
    #[arg(long, default_value_t = 68, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// One send per message and socket (the default).
    #[arg(long, conflicts_with = "merge")]
    pub(crate) each: bool,
    /// One send per socket and interval, of all messages that became due in it.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) merge: Option<Duration>,
    /// Whether the kernel may hold small sends back while data is unacknowledged (`off` sets TCP_NODELAY).
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) nagle: Switch,
    /// Set TCP_NOTSENT_LOWAT to this many bytes, as the real server does (65536); 0 leaves it alone.
    #[arg(long, default_value_t = 65536, value_name = "BYTES")]
    pub(crate) notsent_lowat: u32,
    /// End after this time; without it, on SIGINT or SIGTERM.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Write the end report as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Play: N players over M streams, and measure what they get and what the server spends.
///
/// Players connect at the ramp's rate; when all play and the settling time has passed, the measured window begins.
/// A sample of players reads at once and parses every message: first video frame, latency and completeness come
/// from it. The others discard what they get once their protocol has started, most of it inside the kernel.
///
/// Exit status: 0 when all players played to the end, 1 when some failed or were closed, 2 on a usage error.
#[derive(Debug, Args)]
pub(crate) struct Play {
    /// What to play: `rtmp://HOST[:PORT]/APP/STREAM`, `http://HOST[:PORT]/PATH.flv` or `raw://HOST:PORT`. `[A-B]`
    /// in it stands for the numbers A to B, each player taking the next one: `rtmp://127.0.0.1/live/s[0-9]`.
    #[arg(long)]
    pub(crate) url: String,
    /// Play M streams: appends 0 to M-1 to the stream name (before `.flv`), instead of `[A-B]`.
    #[arg(long, value_name = "M")]
    pub(crate) streams: Option<u32>,
    /// Number of players.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) players: usize,
    /// New connections per second.
    #[arg(long, default_value = "500/s", value_name = "RATE", value_parser = rate)]
    pub(crate) ramp: f64,
    /// A player that has not started after this time has failed.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    #[command(flatten)]
    pub(crate) how: How,
    /// Process ids of the server, whose CPU time and memory are measured over the window.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Write the end report as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// How players play, and for how long.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct How {
    /// Length of the measured window.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration)]
    pub(crate) time: Duration,
    /// Time between the last player's start and the measured window.
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = duration)]
    pub(crate) settle: Duration,
    /// How players read: `prompt` within a millisecond of what came, `late` every 500 ms.
    #[arg(long, value_enum, default_value_t = Readers::Prompt)]
    pub(crate) readers: Readers,
    /// Receive buffer of late readers in bytes: at least one second of the stream (net.core.rmem_max bounds it).
    #[arg(long, default_value_t = 262_144, value_name = "BYTES")]
    pub(crate) rcvbuf: usize,
    /// Number of players that read promptly and parse everything, spread evenly over the players.
    #[arg(long, default_value_t = 10, value_name = "K")]
    pub(crate) sample: usize,
    /// Connect from this many source addresses, 127.0.0.1 and up (loopback only; each gives about 28,000 ports).
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) sources: u8,
}

impl How {
    /// The same on a command line.
    pub(crate) fn arguments(&self) -> [String; 6] {
        [
            format!("--time={}us", self.time.as_micros()),
            format!("--settle={}us", self.settle.as_micros()),
            format!("--readers={}", self.readers),
            format!("--rcvbuf={}", self.rcvbuf),
            format!("--sample={}", self.sample),
            format!("--sources={}", self.sources),
        ]
    }
}

/// Publish: N streams of an FLV file at real pace, looped, stamped for latency.
///
/// Timestamps go on through the loops. Each H.264 or HEVC picture carries the time at which it was sent, in an SEI
/// message of its own (user_data_unregistered), by which `play` on the same host knows its latency, whatever the
/// server does to timestamps and containers. Exit status as in `play`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Where to publish: `rtmp://HOST[:PORT]/APP/STREAM`, `[A-B]` in it for the numbers A to B.
    #[arg(long)]
    pub(crate) url: String,
    /// Publish N streams: appends 0 to N-1 to the stream name, instead of `[A-B]`.
    #[arg(long, value_name = "N")]
    pub(crate) streams: Option<u32>,
    /// The FLV file.
    #[arg(long, value_name = "FILE")]
    pub(crate) flv: PathBuf,
    /// New streams per second.
    #[arg(long, default_value = "100/s", value_name = "RATE", value_parser = rate)]
    pub(crate) ramp: f64,
    /// End after this time; without it, on SIGINT or SIGTERM.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Write the end report as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Measure what one more viewer costs a server, against what it costs `limit`.
///
/// In each round the server and `limit` are started, played by few and by many players, and ended, one after the
/// other; CPU per viewer is the slope between the two, (CPU at many - CPU at few) / (many - few), of the server's
/// process and its descendants. The report is a Markdown table with each round's ratio and the medians.
///
/// The server publishes nothing by itself: `publish` sends it the FLV file, whose sizes and pace `limit` takes too.
/// Give `limit` the cadence and the Nagle setting that the server is configured for.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Command line of the server, which must stay in the foreground; run by `sh -c`.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) server: String,
    /// What to play from it; the scheme decides what `limit` speaks (raw bytes for http).
    #[arg(long, default_value = "rtmp://127.0.0.1:1935/live/cost")]
    pub(crate) url: String,
    /// Where to publish, if that is another URL (always RTMP).
    #[arg(long, value_name = "URL")]
    pub(crate) publish_url: Option<String>,
    /// The stream: an FLV file, looped.
    #[arg(long, value_name = "FILE")]
    pub(crate) flv: PathBuf,
    /// Few and many: the two numbers of players.
    #[arg(long, default_value = "100,1000", value_name = "FEW,MANY", value_parser = pair)]
    pub(crate) players: (usize, usize),
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    #[command(flatten)]
    pub(crate) how: How,
    /// Merge `limit`'s sends to one per interval; without it, one per message.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) merge: Option<Duration>,
    /// Nagle's algorithm in `limit`.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) nagle: Switch,
    /// Where `limit` listens.
    #[arg(long, default_value = "127.0.0.1:19350", value_name = "ADDR")]
    pub(crate) limit_listen: SocketAddr,
    /// Run the measured server on this CPU only.
    #[arg(long, value_name = "CPU")]
    pub(crate) pin_server: Option<usize>,
    /// Run players and publisher on this CPU only.
    #[arg(long, value_name = "CPU")]
    pub(crate) pin_load: Option<usize>,
    /// Write the end report as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Numbered and timed messages, right after connect.
    Raw,
    /// Handshake, connect and play, then the messages as RTMP chunks.
    Rtmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Readers {
    /// Read within a millisecond of what came (epoll).
    Prompt,
    /// Read every 500 ms, discarding in the kernel.
    Late,
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readers::Prompt => "prompt",
            Readers::Late => "late",
        })
    }
}

/// Parses `350ms`, `30s`, `2m`, or a plain number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().map_err(|_| format!("'{text}' does not begin with a number"))?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("unknown unit '{unit}': use us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// Parses `500/s`, `30/m`, or a plain number per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, per_seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((_, unit)) => return Err(format!("unknown unit '/{unit}': use /s or /m")),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n.is_finite() => Ok(n / per_seconds),
        _ => Err(format!("'{text}' is not a rate above 0")),
    }
}

/// Parses two numbers, `100,1000`.
fn pair(text: &str) -> Result<(usize, usize), String> {
    let number = |n: &str| n.trim().parse::<usize>().map_err(|e| format!("'{n}': {e}"));
    let (few, many) = text.split_once(',').ok_or("give two numbers, FEW,MANY")?;
    Ok((number(few)?, number(many)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_rates() {
        assert_eq!(duration("350ms"), Ok(Duration::from_millis(350)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "3x", "-1s", "1e999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("500/s"), Ok(500.0));
        assert_eq!(rate("30/m"), Ok(0.5));
        assert_eq!(rate("7"), Ok(7.0));
        for bad in ["0/s", "x", "5/h", "-1"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
