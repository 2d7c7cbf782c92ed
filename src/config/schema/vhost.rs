//! The keys of a vhost: `[vhost."name"]`, and `[vhost_defaults]`, where what several share stands.

use super::Reload::{AtOnce, NextClient, NextPublish};
use super::{
    Auth, CHUNK_SIZES, DEFAULT_OUT_ACK_SIZE, DEFAULT_SEND_TIMEOUT, HOUR, HttpHooks, MILLISECOND, MINUTE,
    SECOND, VHOST_NAMES, ZERO, is_vhost_name,
};
use crate::access::Rule;
use crate::config::load::{Reader, Section};
use crate::config::mount::{LiveFormat, Mount, mount};
use crate::config::units::{
    any_number_of, duration, integer, millis, one_or_more, or_auto, rule, seconds, size, switch, text, word,
};
use std::time::Duration;

/// `[vhost."name"]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vhost {
    /// Whether it takes clients; a disabled one refuses them, also where there is a default vhost.
    /// Its clients are closed. Default true. Reload: at once.
    pub enabled: bool,
    /// Other names of it. Default none. Reload: next client.
    pub aliases: Vec<String>,
    /// Publishers and players together. Default `"auto"` (`None`): as many as come. Reload: next client.
    pub max_clients: Option<u32>,
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
    /// `[vhost."name".http_hooks]`: the backend that decides about clients and is told of them.
    pub http_hooks: HttpHooks,
    /// `[vhost."name".auth]`: what clients must show.
    pub auth: Auth,
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
            max_clients: r.key("max_clients", NextClient, or_auto(integer(1..=10_000_000)), None),
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
            http_hooks: r.section("http_hooks"),
            auth: r.section("auth"),
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

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        super::word_of(Self::WORDS, self)
    }
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
