//! The keys: what each means, its default, unit, cost, and when a change takes effect.
//!
//! A struct per table; beside it, in the same order, the one place that names each key's unit, range and
//! default. [`Default`] reads an empty table, so there is no second list of defaults.
//!
//! "Reload" says when a changed value takes effect once a reload hands out a new configuration: *at once*,
//! with the *next* client or publish, or after a *restart* only. "Memory" is what a value can cost; keys without it cost nothing worth naming.

use super::load::{Reader, Section};
use super::mount::{LiveFormat, Mount, mount};
use super::units::{
    ListenAddr, MemoryLimit, any_number_of, duration, integer, listen_addr, memory_limit, millis,
    one_or_more, or_auto, path, rule, seconds, size, switch, text, word,
};
use super::vhosts::Vhosts;
use crate::access::Rule;
use std::path::PathBuf;
use std::time::Duration;

/// The vhost that serves every name which has no table of its own.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// More executors than this are refused: ids carry their shard in a few low bits.
pub const MAX_CORES: u32 = 256;

/// The RTMP specification's smallest sensible chunk, and the largest SRS takes without a warning.
const CHUNK_SIZES: std::ops::RangeInclusive<u32> = 128..=65_536;

/// `chunk_size`, unless it is configured.
pub const DEFAULT_CHUNK_SIZE: u32 = 60_000;
/// `play.send_timeout`, unless it is configured.
pub const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// `out_ack_size`, unless it is configured.
pub const DEFAULT_OUT_ACK_SIZE: u32 = 2_500_000;

/// When a changed value takes effect, once a reload hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At once.
    AtOnce,
    /// For clients that come from then on.
    NextClient,
    /// With each stream's next publish.
    NextPublish,
    /// After a restart only.
    Restart,
}
use Reload::{AtOnce, NextClient, NextPublish, Restart};

impl Reload {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            AtOnce => "at once",
            NextClient => "next client",
            NextPublish => "next publish",
            Restart => "restart",
        }
    }
}

const ZERO: Duration = Duration::ZERO;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What vhosts may be called, in words.
const VHOST_NAMES: &str = "a name of 1 to 255 printable bytes without '/' or '?'";

fn is_vhost_name(name: &str) -> bool {
    let printable = !name.contains(|c: char| c.is_whitespace() || c.is_control() || "/?".contains(c));
    (1..=255).contains(&name.len()) && printable
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where RTMP is served: an address or a list. Default 1935, on every address.
    /// Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// Connections of all kinds together; the one above is closed after accept. Default `"auto"` (`None`):
    /// what the limit of open files carries, which a number cannot exceed. Memory: a few KiB each.
    /// Reload: at once.
    pub max_connections: Option<u32>,
    /// RTMP chunks that we send, in bytes, 128 to 65536. Default 60000. Larger ones cost players memory,
    /// smaller ones headers. Reload: next client.
    pub chunk_size: u32,
    /// Where the log goes: `"console"` (standard error, the default) or `"file"`. Reload: restart.
    pub srs_log_tank: LogTank,
    /// What is logged, in SRS's words. Default `"trace"`, which is one line per session and event;
    /// `RUST_LOG` overrides it. Reload: at once.
    pub srs_log_level: LogLevel,
    /// The log's file, if `srs_log_tank` is `"file"`; opened anew on SIGUSR1. Default `./objs/srs.log`.
    /// Reload: restart.
    pub srs_log_file: PathBuf,
    /// Executors, one per core. Default `"auto"` (`None`): the cores that affinity and cgroup quota
    /// allow. Memory: a few MiB each, and a copy of each stream's newest GOPs on every one with viewers
    /// of it (shared where the bytes are the same). Reload: restart.
    pub cores: Option<u32>,
    /// Whether each executor stays on its core. Default true; false permits more executors than cores.
    /// Reload: restart.
    pub pin: bool,
    /// Memory for the blocks of all streams together: `"25%"` of what the machine or its cgroup has
    /// (the default), or a size. Above it the coldest streams lose their older GOP, and new viewers are
    /// refused. Reload: at once.
    pub feed_memory: MemoryLimit,
    /// Whether the built-in demo stream is published as `live/demo`. Default false.
    /// Memory: its few seconds are part of the program. Reload: restart.
    pub demo: bool,
    /// `[http_api]`: the HTTP API and the metrics.
    pub http_api: HttpApi,
    /// `[http_server]`: live streams and files over HTTP.
    pub http_server: HttpServer,
    /// `[vhost_defaults]`: what holds in vhosts that don't say it themselves; it has all keys of a vhost.
    pub vhost_defaults: Vhost,
    /// `[vhost."name"]`: virtual hosts. Without any, every publish and play is refused, as in SRS.
    pub vhosts: Vhosts,
}

impl Section for Config {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        use {LogLevel as Level, LogTank as Tank};
        Self {
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(1935)]),
            max_connections: r.key("max_connections", AtOnce, or_auto(integer(1..=10_000_000)), None),
            chunk_size: r.key("chunk_size", NextClient, integer(CHUNK_SIZES), DEFAULT_CHUNK_SIZE),
            srs_log_tank: r.key("srs_log_tank", Restart, word(Tank::WORDS), Tank::Console),
            srs_log_level: r.key("srs_log_level", AtOnce, word(Level::WORDS), Level::Trace),
            srs_log_file: r.key("srs_log_file", Restart, path(), "./objs/srs.log".into()),
            cores: r.key("cores", Restart, or_auto(integer(1..=MAX_CORES)), None),
            pin: r.key("pin", Restart, switch(), true),
            feed_memory: r.key("feed_memory", AtOnce, memory_limit(), MemoryLimit::Percent(25)),
            demo: r.key("demo", Restart, switch(), false),
            http_api: r.section("http_api"),
            http_server: r.section("http_server"),
            vhost_defaults: r.shared_section("vhost_defaults"),
            vhosts: r.named_sections("vhost", "vhost_defaults", VHOST_NAMES, is_vhost_name).into(),
        }
    }
}

/// `[http_api]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpApi {
    /// Whether there is an API. Default false. Reload: at once.
    pub enabled: bool,
    /// Where it is served. Default 1985, on every address. Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// Whether pages of other origins may read it (CORS). Default true. Reload: at once.
    pub crossdomain: bool,
    /// Whether ids are strings as in SRS 4 and later, rather than the integers of SRS 3. Default false.
    /// Reload: at once.
    pub string_ids: bool,
}

impl Section for HttpApi {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(1985)]),
            crossdomain: r.key("crossdomain", AtOnce, switch(), true),
            string_ids: r.key("string_ids", AtOnce, switch(), false),
        }
    }
}

/// `[http_server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpServer {
    /// Whether there is an HTTP server; the mounts of `http_remux` need it. Default false.
    /// Reload: at once.
    pub enabled: bool,
    /// Where it is served. Default 8080, on every address. Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// The directory of files to serve. Default `./objs/nginx/html`. Reload: at once.
    pub dir: PathBuf,
    /// Whether pages of other origins may play from it (CORS). Default true. Reload: at once.
    pub crossdomain: bool,
}

impl Section for HttpServer {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(8080)]),
            dir: r.key("dir", AtOnce, path(), "./objs/nginx/html".into()),
            crossdomain: r.key("crossdomain", AtOnce, switch(), true),
        }
    }
}

/// `[vhost."name"]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vhost {
    /// Whether it takes clients; a disabled one refuses them, also where there is a default vhost.
    /// Its clients are closed. Default true. Reload: at once.
    pub enabled: bool,
    /// Other names of it. Default none. Reload: next client.
    pub aliases: Vec<String>,
    /// Whether each message goes out at once, audio alone too: the lowest latency, at the highest CPU per
    /// viewer. Overrides `play.mw_latency`. Default false. Reload: at once.
    pub min_latency: bool,
    /// Whether the kernel sends small writes at once instead of merging them (Nagle). Default false.
    /// Reload: next client.
    pub tcp_nodelay: bool,
    /// RTMP chunks that we send, in bytes. Default `"auto"` (`None`): the top level's `chunk_size`. Every
    /// size in use is an encoding of its own. Reload: next client.
    pub chunk_size: Option<u32>,
    /// The window that we assume for incoming data, in bytes: we acknowledge each time that much came.
    /// Default 0: what the peer asks for. Reload: next client.
    pub in_ack_size: u32,
    /// The window that we tell peers (Window Acknowledgement Size), in bytes; 0 tells none.
    /// Default 2500000. Reload: next client.
    pub out_ack_size: u32,
    /// `[vhost."name".play]`: what viewers get.
    pub play: Play,
    /// `[vhost."name".publish]`: what encoders may do.
    pub publish: Publish,
    /// `[vhost."name".http_remux]`: live streams over HTTP.
    pub http_remux: HttpRemux,
    /// `[vhost."name".security]`: from where clients may publish and play.
    pub security: Security,
    /// `[vhost."name".refer]`: on which pages players may be.
    pub refer: Refer,
}

impl Section for Vhost {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let window = || size(0..=i32::MAX as u64);
        // The range keeps both within 31 bits.
        let window_bytes = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            enabled: r.key("enabled", AtOnce, switch(), true),
            aliases: r.key(
                "aliases",
                NextClient,
                any_number_of(text(VHOST_NAMES, is_vhost_name)),
                Vec::new(),
            ),
            min_latency: r.key("min_latency", AtOnce, switch(), false),
            tcp_nodelay: r.key("tcp_nodelay", NextClient, switch(), false),
            chunk_size: r.key("chunk_size", NextClient, or_auto(integer(CHUNK_SIZES)), None),
            in_ack_size: window_bytes(r.key("in_ack_size", NextClient, window(), 0)),
            out_ack_size: window_bytes(r.key(
                "out_ack_size",
                NextClient,
                window(),
                DEFAULT_OUT_ACK_SIZE.into(),
            )),
            play: r.section("play"),
            publish: r.section("publish"),
            http_remux: r.section("http_remux"),
            security: r.section("security"),
            refer: r.section("refer"),
        }
    }
}

/// `[vhost."name".play]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Whether a viewer starts at the last keyframe rather than at the live end: a picture at once, later
    /// by up to a GOP. Default true. Memory: none, the blocks are kept either way. Reload: next client.
    pub gop_cache: bool,
    /// The longest GOP that is kept for viewers to start with, and the longest one before it. Default
    /// `"30s"`. Memory: up to twice that of each stream's bitrate. Reload: at once.
    pub gop_cache_max: Duration,
    /// How far a viewer may fall behind live before it jumps to a keyframe; seconds, or with a unit.
    /// Default `"30s"`. Memory: that much of a stream's bitrate, once per stream and not per viewer.
    /// Reload: at once.
    pub queue_length: Duration,
    /// How timestamps are repaired. Default `"full"`. Reload: next publish.
    pub time_jitter: TimeJitter,
    /// Whether the encoder's absolute time is passed on; switches `time_jitter` off. Default false.
    /// Reload: next publish.
    pub atc: bool,
    /// Whether a stream whose metadata has `bravo_atc` turns `atc` on. Default false.
    /// Reload: next publish.
    pub atc_auto: bool,
    /// How long messages are gathered for one write; milliseconds, or with a unit. Default `"auto"`
    /// (`None`): at once while the core is idle, longer as it gets busy, up to 350 ms. Reload: at once.
    pub mw_latency: Option<Duration>,
    /// The least time between two writes to a viewer, in whole milliseconds, or with a unit: what came
    /// meanwhile goes out in one write. Default 0. Reload: at once.
    pub send_min_interval: Duration,
    /// Whether a sequence header that repeats the one before is left out. Default false.
    /// Reload: at once.
    pub reduce_sequence_header: bool,
    /// How long one message may take to be sent to a viewer before the viewer is closed. Default `"30s"`.
    /// Memory: up to that much of a stream's bitrate while a viewer is stuck. Reload: next client.
    pub send_timeout: Duration,
    /// What is kept of one stream at most, whatever the times above say. Default `"32MiB"`. Memory: that,
    /// per stream, format and shard with viewers, within `feed_memory`. Reload: at once.
    pub feed_max_bytes: u64,
}

impl Section for Play {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            gop_cache: r.key("gop_cache", NextClient, switch(), true),
            gop_cache_max: r.key("gop_cache_max", AtOnce, duration(SECOND..=10 * MINUTE), 30 * SECOND),
            queue_length: r.key("queue_length", AtOnce, seconds(SECOND..=10 * MINUTE), 30 * SECOND),
            time_jitter: r.key("time_jitter", NextPublish, word(TimeJitter::WORDS), TimeJitter::Full),
            atc: r.key("atc", NextPublish, switch(), false),
            atc_auto: r.key("atc_auto", NextPublish, switch(), false),
            mw_latency: r.key("mw_latency", AtOnce, or_auto(millis(ZERO..=10 * SECOND)), None),
            send_min_interval: r.key("send_min_interval", AtOnce, millis(ZERO..=10 * SECOND), ZERO),
            reduce_sequence_header: r.key("reduce_sequence_header", AtOnce, switch(), false),
            send_timeout: r.key(
                "send_timeout",
                NextClient,
                duration(SECOND..=10 * MINUTE),
                DEFAULT_SEND_TIMEOUT,
            ),
            feed_max_bytes: r.key("feed_max_bytes", AtOnce, size(64 << 10..=16 << 30), 32 << 20),
        }
    }
}

/// `[vhost."name".publish]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// How long an encoder may take from publish to its first media message; milliseconds, or with a
    /// unit. Default `"20s"`. Reload: next publish.
    pub firstpkt_timeout: Duration,
    /// How long an encoder may be silent after that; milliseconds, or with a unit. Default `"5s"`.
    /// Reload: next publish.
    pub normal_timeout: Duration,
    /// An encoder that has been silent for this long gives way to another one that publishes the same
    /// stream, so that one which lost its connection need not wait. Default `"3s"`. Reload: at once.
    pub stale_after: Duration,
    /// What happens to the second publisher of a live stream. Default `"refuse"`. Reload: at once.
    pub on_duplicate: OnDuplicate,
}

impl Section for Publish {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            firstpkt_timeout: r.key("firstpkt_timeout", NextPublish, millis(MILLISECOND..=HOUR), 20 * SECOND),
            normal_timeout: r.key("normal_timeout", NextPublish, millis(MILLISECOND..=HOUR), 5 * SECOND),
            stale_after: r.key("stale_after", AtOnce, duration(ZERO..=HOUR), 3 * SECOND),
            on_duplicate: r.key("on_duplicate", AtOnce, word(OnDuplicate::WORDS), OnDuplicate::Refuse),
        }
    }
}

/// `[vhost."name".http_remux]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRemux {
    /// Whether the vhost's streams are served over HTTP; needs `http_server`. Default false.
    /// Reload: next client.
    pub enabled: bool,
    /// How much audio an .aac or .mp3 viewer starts with; seconds, or with a unit. Default 0.
    /// Memory: none, the blocks are kept either way. Reload: next client.
    pub fast_cache: Duration,
    /// Where streams are found: a template or a list, one per format. Default
    /// `"[vhost]/[app]/[stream].flv"`. Memory: each format with viewers is an encoding of its own.
    /// Reload: next client.
    pub mount: Vec<Mount>,
    /// How long viewers are kept when the publisher has left, for one that comes back. Default 0: the
    /// body ends at once. Reload: at once.
    pub hold: Duration,
    /// Whether a request for a stream not yet published waits for it rather than getting a 404.
    /// Default true. Reload: next client.
    pub wait: bool,
    /// Whether an FLV header says that there is audio, where that is not guessed. Default true.
    /// Reload: next client.
    pub has_audio: bool,
    /// Whether an FLV header says that there is video, where that is not guessed. Default true.
    /// Reload: next client.
    pub has_video: bool,
    /// Whether an FLV header says what the stream has so far, rather than the two above. Default true.
    /// Reload: next client.
    pub guess_has_av: bool,
}

impl HttpRemux {
    /// The mount where streams are found in a format, if they are served in it.
    pub fn mount_of(&self, format: LiveFormat) -> Option<&Mount> {
        self.mount.iter().find(|mount| self.enabled && mount.format == format)
    }
}

impl Section for HttpRemux {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let flv = Mount::parse("[vhost]/[app]/[stream].flv").ok();
        Self {
            enabled: r.key("enabled", NextClient, switch(), false),
            fast_cache: r.key("fast_cache", NextClient, seconds(ZERO..=MINUTE), ZERO),
            mount: r.key("mount", NextClient, one_or_more(mount()), flv.into_iter().collect()),
            hold: r.key("hold", AtOnce, duration(ZERO..=HOUR), ZERO),
            wait: r.key("wait", NextClient, switch(), true),
            has_audio: r.key("has_audio", NextClient, switch(), true),
            has_video: r.key("has_video", NextClient, switch(), true),
            guess_has_av: r.key("guess_has_av", NextClient, switch(), true),
        }
    }
}

/// `[vhost."name".security]`. What is denied is denied; of the rest what is allowed is allowed; of the rest everything if
/// nothing at all is allowed, else nothing. Without any rule all is denied. Over RTMP and HTTP (SRS 3: RTMP alone).
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// Whether the rules hold. Default false. Reload: next client.
    pub enabled: bool,
    /// Who may: `"play all"`, `"publish 10.0.0.0/8"`. Default none. Reload: next client.
    pub allow: Vec<Rule>,
    /// Who may not, whatever is allowed. Default none. Reload: next client.
    pub deny: Vec<Rule>,
}

impl Section for Security {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", NextClient, switch(), false),
            allow: r.key("allow", NextClient, any_number_of(rule()), Vec::new()),
            deny: r.key("deny", NextClient, any_number_of(rule()), Vec::new()),
        }
    }
}

/// `[vhost."name".refer]`: the host of the client's page (RTMP's pageUrl, HTTP's Referer) must end with one of the
/// domains. An empty list permits every page. It keeps honest pages from embedding a player; others can lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Refer {
    /// Whether pages are looked at. Default false. Reload: next client.
    pub enabled: bool,
    /// For players and encoders alike. Default none. Reload: next client.
    pub all: Vec<String>,
    /// For players. Default none. Reload: next client.
    pub play: Vec<String>,
    /// For encoders. Default none. Reload: next client.
    pub publish: Vec<String>,
}

impl Section for Refer {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let domains = || any_number_of(text(DOMAINS, is_domain));
        Self {
            enabled: r.key("enabled", NextClient, switch(), false),
            all: r.key("all", NextClient, domains(), Vec::new()),
            play: r.key("play", NextClient, domains(), Vec::new()),
            publish: r.key("publish", NextClient, domains(), Vec::new()),
        }
    }
}

const DOMAINS: &str = "a domain like \"example.com\", without scheme, port and path";

fn is_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c))
}

/// How timestamps are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeJitter {
    /// The stream starts at 0 and breaks are closed.
    Full,
    /// The first timestamp is subtracted, no more.
    Zero,
    /// They pass as they come.
    Off,
}

impl TimeJitter {
    const WORDS: &[(&str, Self)] = &[("full", Self::Full), ("zero", Self::Zero), ("off", Self::Off)];
}

/// What happens to a second publisher of a live stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It is refused, unless the first is stale.
    Refuse,
    /// The first is closed and the second goes on in its place.
    Takeover,
}

impl OnDuplicate {
    const WORDS: &[(&str, Self)] = &[("refuse", Self::Refuse), ("takeover", Self::Takeover)];
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTank {
    /// Standard error.
    Console,
    /// `srs_log_file`.
    File,
}

impl LogTank {
    const WORDS: &[(&str, Self)] = &[("console", Self::Console), ("file", Self::File)];
}

/// What is logged, in SRS's words, whose "trace" is what others call "info".
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Verbose,
    /// What a developer wants to see.
    Info,
    /// Sessions and events, the default.
    Trace,
    /// What needs attention.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    const WORDS: &[(&str, Self)] = &[
        ("verbose", Self::Verbose),
        ("info", Self::Info),
        ("trace", Self::Trace),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];

    /// The same in the words of the `log` crate.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Verbose => log::LevelFilter::Trace,
            Self::Info => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Info,
            Self::Warn => log::LevelFilter::Warn,
            Self::Error => log::LevelFilter::Error,
        }
    }
}

/// The default of a table is what reading an empty one gives.
macro_rules! default_is_empty {
    ($($section:ty),*) => {$(
        impl Default for $section {
            fn default() -> Self {
                super::load::read_empty()
            }
        }
    )*};
}
default_is_empty!(Config, HttpApi, HttpServer, Vhost, Play, Publish, HttpRemux, Security, Refer);

impl Config {
    /// Whether the API is on a port of the HTTP server, as SRS 5 and later permit.
    pub fn shares_http_port(&self) -> bool {
        let mut api = self.http_api.listen.iter().flat_map(|at| at.sockets());
        let http = || self.http_server.listen.iter().flat_map(|at| at.sockets());
        self.http_api.enabled && self.http_server.enabled && api.any(|at| http().any(|other| other == at))
    }

    /// The size of the RTMP chunks that we send to a vhost's clients, in bytes.
    pub fn chunk_size_of(&self, vhost: &Vhost) -> u32 {
        vhost.chunk_size.unwrap_or(self.chunk_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_srs_defaults() {
        let config = Config::default();
        assert_eq!(config.listen, [ListenAddr::Port(1935)]);
        assert_eq!(config.chunk_size, 60_000);
        assert!(!config.http_api.enabled && !config.http_server.enabled && !config.demo);
        assert!(config.vhosts.is_empty());
        let vhost = Vhost::default();
        assert!(vhost.enabled && vhost.play.gop_cache && !vhost.tcp_nodelay && !vhost.http_remux.enabled);
        assert_eq!(vhost.play.queue_length, Duration::from_secs(30));
        assert_eq!(vhost.publish.firstpkt_timeout, Duration::from_secs(20));
        assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(5));
        assert_eq!((vhost.in_ack_size, vhost.out_ack_size), (0, 2_500_000));
        assert_eq!(config.chunk_size_of(&vhost), 60_000);
        assert_eq!(config.chunk_size_of(&Vhost { chunk_size: Some(4096), ..vhost }), 4096);
        let mounts = HttpRemux::default().mount;
        assert_eq!(mounts, [Mount::parse("[vhost]/[app]/[stream].flv").expect("a good template")]);
    }

    #[test]
    fn srs_words_for_levels_are_those_of_srs() {
        let levels = LogLevel::WORDS.iter().map(|(word, level)| (*word, level.filter()));
        let expected = [
            ("verbose", log::LevelFilter::Trace),
            ("info", log::LevelFilter::Debug),
            ("trace", log::LevelFilter::Info),
            ("warn", log::LevelFilter::Warn),
            ("error", log::LevelFilter::Error),
        ];
        assert!(levels.eq(expected));
    }
}
