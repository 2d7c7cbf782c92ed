//! What a shard says of itself when the API asks: plain data, sent to the shard that asked and merged there.

pub use crate::formats::describe::{AudioInfo, VideoInfo};
use crate::stats::rates::LagHistogram;
use crate::stats::reason::{CloseReason, DropReason, Tally};
use crate::stream::encode::Format;
use std::fmt;

/// A client's number, unique in the process. Its low bits are the shard that has the connection, so that a kick or
/// a look-up goes straight there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// How ids are written: as in SRS 3, or as in SRS 4 and later (`http_api.string_ids`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdStyle {
    /// Clients are decimal numbers, streams and vhosts `vid-<number>-<0..999>`.
    #[default]
    Numeric,
    /// Clients are 8 characters of `[0-9a-z]`, streams and vhosts `vid-` and 7 of them.
    String,
}

/// 36^8: client numbers below have 8 characters.
const EIGHT_CHARS: u64 = 36u64.pow(8);
/// Coprime with 36, so that multiplying modulo 36^8 is a permutation: neighbours look nothing alike.
const SCATTER: u64 = 1_973_318_475_689;
/// The inverse of [`SCATTER`] modulo 36^8.
const GATHER: u64 = inverse(SCATTER, EIGHT_CHARS);
const _: () = assert!((SCATTER as u128 * GATHER as u128) % EIGHT_CHARS as u128 == 1);

impl ClientId {
    /// The `counter`-th client of a shard; `shard_bits` is the same for all of them.
    pub const fn new(counter: u64, shard: u16, shard_bits: u32) -> Self {
        Self((counter << shard_bits) | shard as u64)
    }

    /// Bits that the shard numbers of so many shards need.
    pub const fn shard_bits(shards: u16) -> u32 {
        u16::BITS - shards.saturating_sub(1).leading_zeros()
    }

    /// The shard that has it.
    pub const fn shard(self, shard_bits: u32) -> u16 {
        (self.0 & ((1 << shard_bits) - 1)) as u16
    }

    /// As the API writes it.
    pub fn to_text(self, style: IdStyle) -> String {
        match style {
            IdStyle::Numeric => self.0.to_string(),
            IdStyle::String if self.0 < EIGHT_CHARS => base36(multiply(self.0, SCATTER), 8),
            // Too big to scatter: longer, so it cannot be mistaken for one that is.
            IdStyle::String => base36(self.0, 9),
        }
    }

    /// Reads what [`ClientId::to_text`] wrote, and nothing else.
    pub fn parse(text: &str, style: IdStyle) -> Option<Self> {
        let id = match style {
            IdStyle::Numeric => text.parse().ok()?,
            IdStyle::String => match u64::from_str_radix(text, 36).ok()? {
                n if n < EIGHT_CHARS => multiply(n, GATHER),
                n => n,
            },
        };
        Some(Self(id)).filter(|id| id.to_text(style) == text)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A vhost's id: the same on every shard, and in every run.
pub fn vhost_id(vhost: &str, style: IdStyle) -> String {
    key_id(&[vhost], style)
}

/// A stream's id: the same on every shard, and in every run. Of 10,000 streams two share a string id with a chance
/// of one in 1500; then a look-up by id finds the first.
pub fn stream_id(vhost: &str, app: &str, stream: &str, style: IdStyle) -> String {
    key_id(&[vhost, app, stream], style)
}

/// Everything a shard was asked for.
#[derive(Clone, Debug, Default)]
pub struct ShardSnapshot {
    /// Who answers.
    pub shard: u16,
    /// Vhosts that had traffic on this shard since start.
    pub vhosts: Vec<VhostSnapshot>,
    /// Streams that this shard owns.
    pub streams: Vec<StreamSnapshot>,
    /// Streams that have viewers here, one entry per format.
    pub feeds: Vec<FeedSnapshot>,
    /// Clients whose connections are here.
    pub clients: Vec<ClientSnapshot>,
    /// Counters since start, and gauges.
    pub counters: ShardCounters,
}

/// Which parts of a [`ShardSnapshot`] a query needs; the counters always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Vhosts, streams and feeds.
    pub streams: bool,
    /// Clients: all, or one, which only its own shard need be asked for.
    pub clients: WantedClients,
}

/// Which clients a query needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WantedClients {
    None,
    One(ClientId),
    All,
}

/// Traffic of a vhost through one shard.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct VhostSnapshot {
    pub name: String,
    pub send_bytes: u64,
    pub recv_bytes: u64,
    pub send_kbps_30s: u32,
    pub recv_kbps_30s: u32,
}

/// A stream, as its owner knows it.
#[derive(Clone, Debug, Default)]
pub struct StreamSnapshot {
    /// Vhost name.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// Who publishes it now.
    pub publisher: Option<PublisherSnapshot>,
    /// Video frames received since the stream began.
    pub frames: u64,
    /// Bytes received from publishers.
    pub recv_bytes: u64,
    /// Bytes sent to viewers of shards that have none any more.
    pub past_send_bytes: u64,
    /// Receiving rate over 30 s.
    pub recv_kbps_30s: u32,
    /// Bitrate of the media now.
    pub bitrate_kbps: u32,
    /// Video frames per second now.
    pub fps: f64,
    /// Length of the last whole group of pictures; 0 if unknown.
    pub gop_ms: u32,
    /// For how long it has been published, ms; 0 while it is not.
    pub since_ms: u64,
    /// Codecs as RFC 6381 writes them, comma-separated; empty until the headers are there.
    pub codecs: String,
    /// Since the last keyframe came; `None` without video.
    pub keyframe_age_ms: Option<u64>,
    /// What its video header says.
    pub video: Option<VideoInfo>,
    /// What its audio header says.
    pub audio: Option<AudioInfo>,
}

/// A stream's publisher.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PublisherSnapshot {
    pub client: ClientId,
    pub tc_url: String,
}

/// A stream's viewers of one format on one shard.
#[derive(Clone, Debug)]
pub struct FeedSnapshot {
    /// Vhost name.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub stream: String,
    /// Format.
    pub format: Format,
    /// Viewers now.
    pub viewers: u32,
    /// Bytes sent to viewers since the first of those here came, those who left meanwhile included.
    pub send_bytes: u64,
    /// Sending rate over 30 s.
    pub send_kbps_30s: u32,
    /// How far viewers are behind live.
    pub lag: LagHistogram,
    /// Media that viewers did not get.
    pub drops: Tally<DropReason>,
}

/// What a client does, in SRS 3's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClientKind {
    /// RTMP or HTTP viewer.
    Play,
    FlashPublish,
    FmlePublish,
    HaivisionPublish,
    /// Neither yet.
    Unknown,
}

impl ClientKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientKind::Play => "Play",
            ClientKind::FlashPublish => "flash-publish",
            ClientKind::FmlePublish => "fmle-publish",
            ClientKind::HaivisionPublish => "haivision-publish",
            ClientKind::Unknown => "Unknown",
        }
    }

    /// Whether it sends media to us.
    pub const fn is_publish(self) -> bool {
        matches!(self, ClientKind::FlashPublish | ClientKind::FmlePublish | ClientKind::HaivisionPublish)
    }
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientSnapshot {
    /// Its number.
    pub id: ClientId,
    /// Vhost name.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub stream: String,
    /// Its address, without port: as a proxy before us names it, if one does.
    pub ip: String,
    /// Page that embeds the player (RTMP), or Referer.
    pub page_url: String,
    /// Player (RTMP).
    pub swf_url: String,
    /// What it connected to.
    pub tc_url: String,
    /// What it does.
    pub kind: ClientKind,
    /// In which format a viewer is served.
    pub format: Option<Format>,
    /// Since it connected.
    pub alive_ms: u64,
    /// Bytes sent to it.
    pub send_bytes: u64,
    /// Bytes received from it.
    pub recv_bytes: u64,
    /// Sending rate over 30 s.
    pub send_kbps_30s: u32,
    /// Receiving rate over 30 s.
    pub recv_kbps_30s: u32,
    /// How far behind the live end a viewer is; `None` for others, and before the first frame.
    pub lag_ms: Option<u64>,
    /// Bytes of its stream that are here and not yet sent to it.
    pub queued_bytes: u64,
    /// Messages it did not get.
    pub drops: u64,
    /// Jumps forward to a keyframe.
    pub jumps: u64,
}

/// Counters (since start) and gauges of a shard.
#[derive(Clone, Debug, Default)]
pub struct ShardCounters {
    /// Open connections of all protocols.
    pub connections: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Open connections that play or publish.
    pub clients: u64,
    /// Clients that ever played or published.
    pub clients_total: u64,
    /// Bytes received.
    pub recv_bytes: u64,
    /// Bytes sent.
    pub send_bytes: u64,
    /// Media messages received from publishers.
    pub recv_messages: u64,
    /// Writes to viewers; each may carry several messages.
    pub sends: u64,
    /// Interval at which the pumps run now; 0 at the end of each turn.
    pub tick_ms: u32,
    /// Turns that took longer than they may.
    pub loop_stalls: u64,
    /// The longest turn, µs.
    pub loop_stall_max_us: u64,
    /// Share of the last 250 ms that the shard was at work, in thousandths.
    pub busy_permille: u32,
    /// Bytes that all feeds hold.
    pub feed_bytes: u64,
    /// Panics that were caught.
    pub panics: u64,
    /// Media dropped.
    pub drops: Tally<DropReason>,
    /// Connections, publishes and plays ended or refused.
    pub closes: Tally<CloseReason>,
}

/// FNV-1a-64 over the parts, each ended by a NUL (which no name has), then a finalising mix.
fn key_id(parts: &[&str], style: IdStyle) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    match style {
        IdStyle::Numeric => format!("vid-{}-{}", hash / 1000, hash % 1000),
        IdStyle::String => format!("vid-{}", base36(hash % 36u64.pow(7), 7)),
    }
}

fn base36(mut n: u64, width: usize) -> String {
    let mut digits = Vec::with_capacity(13);
    while n > 0 || digits.len() < width {
        digits.push(char::from_digit((n % 36) as u32, 36).unwrap_or('0'));
        n /= 36;
    }
    digits.iter().rev().collect()
}

const fn multiply(a: u64, b: u64) -> u64 {
    (a as u128 * b as u128 % EIGHT_CHARS as u128) as u64
}

/// Extended Euclid.
const fn inverse(a: u64, modulus: u64) -> u64 {
    let (mut r0, mut r1) = (modulus as i128, a as i128);
    let (mut t0, mut t1) = (0i128, 1i128);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - q * t1);
    }
    t0.rem_euclid(modulus as i128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_clients_name_their_shard() {
        for (shards, bits) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)] {
            assert_eq!(ClientId::shard_bits(shards), bits, "{shards}");
        }
        let id = ClientId::new(1000, 5, 3);
        assert_eq!((id.0, id.shard(3)), (8005, 5));
        assert_eq!(ClientId::new(7, 0, 0).shard(0), 0);
        assert_eq!(id.to_text(IdStyle::Numeric), "8005");
    }

    #[test]
    fn only_our_own_writing_is_an_id() {
        for text in ["", "+1", "01", "-1", "1 ", "x", "18446744073709551616", "１"] {
            assert_eq!(ClientId::parse(text, IdStyle::Numeric), None, "{text:?}");
        }
        let text = ClientId(8005).to_text(IdStyle::String);
        assert_eq!(text.len(), 8);
        for wrong in [text.to_uppercase() + "z", format!("0{text}"), text[1..].to_owned(), "+1234567".into()]
        {
            assert_eq!(ClientId::parse(&wrong, IdStyle::String), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_of_streams_never_change() {
        let numeric = stream_id("__defaultVhost__", "live", "livestream", IdStyle::Numeric);
        assert_eq!(numeric, stream_id("__defaultVhost__", "live", "livestream", IdStyle::Numeric));
        let parts: Vec<&str> = numeric.split('-').collect();
        assert!(
            matches!(parts[..], ["vid", a, b] if a.parse::<u64>().is_ok() && b.parse::<u64>().unwrap() < 1000)
        );
        assert_ne!(stream_id("a", "b", "cd", IdStyle::Numeric), stream_id("a", "bc", "d", IdStyle::Numeric));
        assert_ne!(vhost_id("a", IdStyle::Numeric), vhost_id("b", IdStyle::Numeric));
        assert_eq!(vhost_id("a", IdStyle::String).len(), 11);
    }

    proptest! {
        #[test]
        fn ids_of_clients_are_read_back(n in any::<u64>(), small in 0..2 * EIGHT_CHARS) {
            for id in [ClientId(n), ClientId(small), ClientId(small % 5000)] {
                for style in [IdStyle::Numeric, IdStyle::String] {
                    prop_assert_eq!(ClientId::parse(&id.to_text(style), style), Some(id));
                }
            }
        }
    }
}
