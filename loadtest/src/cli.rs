//! The command line, and how its durations, rates and readers are written.
//!
//! A scenario file holds the same options, see [`crate::scenario`].

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const NOTES: &str = "\
READERS
  When a player acknowledges decides what a server's sends cost: with players that acknowledge late the kernel merges
  small sends (Nagle), which makes a server that sends each message up to three times cheaper than with prompt ones.
  So every figure names its readers, and figures of different readers cannot be compared.

FIGURES
  first picture  from a player's connect to its first key picture; of all players
  latency        from the publisher's send to the player, by a stamp inside each picture; of the sample, in the window, of
                 what was sent after the player connected. Publishers (srs-load's own) and players must share a host
  gap            a player got nothing for over 2 s after its start
  server CPU     user and system time of the server's processes in the window
  memory         anonymous memory, so not the program's text; per player: what came between the first player's connect
                 and the window's end, by the number of players
  kernel TCP     what all TCP sockets of the host queue, the players' own ends included: the window's mean

EXIT STATUS
  0  all players and encoders went through, and what was expected held
  1  some did not, or what was expected did not hold
  2  usage, a file that cannot be read, a server that cannot be started

EXAMPLES
  Ten encoders and 5000 players of a running server, with latency and the server's CPU:
    srs-load publish --url rtmp://127.0.0.1/live/s --streams 10 --flv film.flv &
    srs-load play --url 'rtmp://127.0.0.1/live/s[0-9]' --players 5000 --readers late --pid $(pidof srs-shard)

  A thousand players at once, then a hundred leaving and coming each second:
    srs-load play --url rtmp://127.0.0.1/live/s --players 1000 --ramp all --churn 100/s

  The lower bound, read by 1000 players:
    srs-load limit --protocol rtmp --time 1m &
    srs-load play --url rtmp://127.0.0.1:19350/live/s --players 1000 --readers late --pid $!

  A mixed load from a file against two servers in turn, three rounds, with a report and its plots:
    srs-load compare mixed.toml ours.toml nginx.toml --rounds 3 --report out/
    srs-load compare mixed.toml ours.toml limit:350ms --few 100

  Half an hour with encoders and players that come and go, and whether the server's memory stays where it was:
    srs-load soak ours.toml --time 30m";

/// Loads RTMP and HTTP-FLV servers, and says what they deliver and what it costs them.
///
/// Encoders publish a file or a made-up stream at real pace; players come at a rate or all at once, read promptly, late,
/// slowly or not at all, and come and go. One process carries 10,000 connections without any tuning.
#[derive(Debug, Parser)]
#[command(name = "srs-load", version, after_long_help = NOTES)]
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
    Run(Run),
    Compare(Compare),
    Soak(Soak),
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
    #[command(flatten)]
    pub(crate) source: Source,
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

/// Play: many players, and what they get.
///
/// Players connect at the ramp's rate; when all play and the settling time has passed, the measured window begins. Every
/// player parses what it gets until its first key picture; then all but a sample discard it, most of it in the kernel.
#[derive(Debug, Args)]
pub(crate) struct Play {
    #[command(flatten)]
    pub(crate) players: Players,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// Publish: many encoders, each sending a stream at real pace, looped, stamped for latency.
///
/// Timestamps go on through the loops. Each H.264 or HEVC picture carries the time at which it was sent, in an SEI
/// message of its own (user_data_unregistered), by which players on the same host know its latency, whatever the
/// server does to timestamps and containers. Without `--time` it goes on until SIGINT or SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) encoders: Encoders,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// Run a scenario: groups of encoders and players from a TOML file.
///
/// The file holds options of this command at its top, and any number of tables `[[encoders]]` and `[[players]]` with the
/// options of `publish` and `play`, spelled as there, with or without their dashes:
///
///     time = "1m"
///
///     [[encoders]]
///     url = "{rtmp}/live/s"
///     streams = 10
///     kbps = 250
///
///     [[players]]
///     url = "{http}/live/s[0-9].flv"
///     players = 900
///     readers = "late"
///
///     [[players]]
///     url = "{rtmp}/live/s[0-9]"
///     players = 100
///     readers = "64kbit/s"
///
/// `{rtmp}` and `{http}` stand for the server's URLs. Encoders come first; players begin when all streams are live and
/// `lead` has passed, the window when all players have started and `settle` has passed. Options on the command line
/// outrank the file's.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Run {
    /// The scenario.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// Start this server and end it afterwards, see `compare`.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["rtmp", "http", "pid"])]
    pub(crate) server: Option<String>,
    /// `{rtmp}` of a server that runs.
    #[arg(long, default_value = "rtmp://127.0.0.1:1935", value_name = "URL")]
    pub(crate) rtmp: String,
    /// `{http}` of a server that runs.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) http: String,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// Compare two servers: a scenario against each in turn, in rounds.
///
/// In each round both are started, loaded and ended, one after the other, and who goes first alternates. What is told is
/// the median of the rounds' ratios with their range, because a machine's speed drifts by more than servers differ.
///
/// A server is a TOML file with `command` (run by `sh -c`, it must stay in the foreground), `rtmp` and, if it has one,
/// `http`, the URLs; `name` and `pin`, the CPU it is to run on, may be there too:
///
///     command = "srs-shard --cores 1 -c ours.conf"
///     rtmp = "rtmp://127.0.0.1:19351"
///     http = "http://127.0.0.1:18081"
///     pin = 0
///
/// Or it is `limit`, which sends each message, `limit:350ms`, which merges, and `limit:nodelay` or `limit:350ms:nodelay`:
/// the lower bound, with the first encoders' stream. It runs on the other server's CPU.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Compare {
    /// The scenario, see `run`.
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// The server in question.
    #[arg(value_name = "SERVER")]
    pub(crate) server: String,
    /// What it is compared with.
    #[arg(value_name = "OTHER")]
    pub(crate) other: String,
    /// Run this scenario, instead of the first, against the other server: the same server in two ways, for instance.
    #[arg(long, value_name = "SCENARIO")]
    pub(crate) other_scenario: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Run each time with this many players too, and take CPU and memory per player as the slope between the two: what
    /// a server spends without players drops out. Groups shrink in proportion.
    #[arg(long, value_name = "N")]
    pub(crate) few: Option<usize>,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// Soak: a mixed load for a long time, and whether the server comes through it unharmed.
///
/// Streams whose encoders stay and streams whose encoders come and go (some cut off, some in good order); players that
/// stay, come and go, read slowly or not at all, over RTMP and HTTP-FLV. The steady players of the steady streams must
/// have no gap, and memory at the end must be that of the window's first tenth plus `--max-growth`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// The server, see `compare`.
    #[arg(value_name = "SERVER")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// Players, all of one kind.
#[derive(Clone, Debug, Args)]
pub(crate) struct Players {
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
    /// New connections per second, or `all` at once.
    #[arg(long, default_value = "500/s", value_name = "RATE", value_parser = rate_or_all)]
    pub(crate) ramp: f64,
    /// Once all have started, so many leave and as many come each second.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) churn: Option<f64>,
    /// A player that has not started after this time has failed.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// How they read: `prompt` within a millisecond of what came, `late` every 500 ms, at most so much per second
    /// (`64kbit/s`, `1Mbit/s`), or, once started, never (`stuck`).
    #[arg(long, default_value = "prompt", value_name = "READERS")]
    pub(crate) readers: Readers,
    /// Receive buffer in bytes (net.core.rmem_max bounds it). Late readers have 262144 unless told: it must hold a
    /// second of the stream; the others have what the kernel gives them.
    #[arg(long, value_name = "BYTES")]
    pub(crate) rcvbuf: Option<usize>,
    /// Number of players that read promptly and parse everything, spread evenly over the players: 10 unless told, none
    /// among slow and stuck readers.
    #[arg(long, value_name = "K")]
    pub(crate) sample: Option<usize>,
    /// Connect from this many source addresses, 127.0.0.1 and up, each with about 28,000 ports (loopback only). Without
    /// it as many as the number of players needs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) sources: Option<u8>,
    /// May be closed by the server, and may have gaps: nothing is wrong then. So it is for `stuck` and slow readers.
    #[arg(long)]
    pub(crate) expendable: bool,
}

/// Encoders, all of one kind.
#[derive(Clone, Debug, Args)]
pub(crate) struct Encoders {
    /// Where to publish: `rtmp://HOST[:PORT]/APP/STREAM`, `[A-B]` in it for the numbers A to B.
    #[arg(long)]
    pub(crate) url: String,
    /// Publish N streams: appends 0 to N-1 to the stream name, instead of `[A-B]`.
    #[arg(long, value_name = "N")]
    pub(crate) streams: Option<u32>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// New streams per second, or `all` at once.
    #[arg(long, default_value = "100/s", value_name = "RATE", value_parser = rate_or_all)]
    pub(crate) ramp: f64,
    /// Publish so long, then leave and come again; the encoders take turns.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) on: Option<Duration>,
    /// Stay away so long before coming again.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = duration, requires = "on")]
    pub(crate) off: Duration,
    /// How they leave: in good order, or cut off as by a crash (a reset, nothing said).
    #[arg(long, value_enum, default_value_t = Leave::Close, requires = "on")]
    pub(crate) leave: Leave,
}

/// Where a stream comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// An FLV file, looped.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kbps", "rate"])]
    pub(crate) flv: Option<PathBuf>,
    /// Without a file: bit rate of the made-up stream, in kbit/s of message bytes.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(crate) kbps: u32,
    /// Messages per second of the made-up stream: 25 of 68 are video, the rest audio.
    #[arg(long, default_value_t = 68, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
}

/// How a run goes, and what becomes of its figures.
#[derive(Clone, Debug, Args)]
pub(crate) struct Course {
    /// Length of the measured window (30s; that of `soak` is 1m).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// Time between the last player's start and the measured window (3s).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) settle: Option<Duration>,
    /// Time between the last stream's start and the first player (3s).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) lead: Option<Duration>,
    /// Run players and encoders on this CPU only.
    #[arg(long, value_name = "CPU")]
    pub(crate) pin: Option<usize>,
    /// Process ids of a server that runs, whose CPU time and memory are measured.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Fail if the server's memory at the window's end is so many percent above that after its first tenth.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) max_growth: Option<f64>,
    /// Fail if a player that is not expendable has a gap of over 2 s.
    #[arg(long)]
    pub(crate) no_gaps: bool,
    /// Write the end report as JSON to a file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the end report as Markdown, with its plots as SVG, into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) report: Option<PathBuf>,
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

/// How an encoder leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Leave {
    /// FCUnpublish and deleteStream, then the connection's end.
    Close,
    /// A reset of the connection.
    Cut,
}

/// How a player reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Within a millisecond of what came (epoll).
    Prompt,
    /// Every 500 ms, discarding in the kernel.
    Late,
    /// At most so many bytes a second.
    Slow {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Never, once started.
    Stuck,
}

/// Sampled players of a group, unless told.
const SAMPLE: usize = 10;

impl Players {
    /// How many of them parse everything.
    pub(crate) fn sampled(&self) -> usize {
        let usual = if self.readers.fall_behind() { 0 } else { SAMPLE };
        self.sample.unwrap_or(usual).min(self.players)
    }
}

impl Readers {
    /// Whether a server may close them for it, in good order.
    pub(crate) fn fall_behind(self) -> bool {
        matches!(self, Readers::Slow { .. } | Readers::Stuck)
    }
}

impl FromStr for Readers {
    type Err = String;

    fn from_str(text: &str) -> Result<Readers, String> {
        let rate = |unit: &str, bits: f64| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            let bytes = number * bits / 8.0;
            (1.0..=1e12).contains(&bytes).then_some(Readers::Slow { bytes_per_second: bytes as u64 })
        };
        match text {
            "prompt" => Ok(Readers::Prompt),
            "late" => Ok(Readers::Late),
            "stuck" => Ok(Readers::Stuck),
            _ => rate("kbit/s", 1e3).or_else(|| rate("Mbit/s", 1e6)).ok_or_else(|| {
                format!("'{text}' is not prompt, late, stuck, or a rate as 64kbit/s or 1Mbit/s")
            }),
        }
    }
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Readers::Prompt => f.write_str("prompt"),
            Readers::Late => f.write_str("late"),
            Readers::Slow { bytes_per_second } => write!(f, "{}kbit/s", *bytes_per_second as f64 / 125.0),
            Readers::Stuck => f.write_str("stuck"),
        }
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
fn rate(text: &str) -> Result<f64, String> {
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

/// The same, or `all`, which is infinitely fast.
fn rate_or_all(text: &str) -> Result<f64, String> {
    if text == "all" { Ok(f64::INFINITY) } else { rate(text) }
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
        assert_eq!(rate_or_all("all"), Ok(f64::INFINITY));
        for bad in ["0/s", "x", "5/h", "-1", "all", "inf"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn readers_are_told_as_they_are_written() {
        for text in ["prompt", "late", "stuck", "64kbit/s", "12.8kbit/s"] {
            assert_eq!(text.parse::<Readers>().map(|r| r.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("2Mbit/s".parse(), Ok(Readers::Slow { bytes_per_second: 250_000 }));
        for bad in ["", "slow", "64", "0kbit/s", "-1kbit/s", "infMbit/s"] {
            assert!(bad.parse::<Readers>().is_err(), "{bad}");
        }
    }
}
