//! What a shard says of itself when the API asks: plain data, sent to the shard that asked and merged there.

use super::ids::ClientId;
pub use crate::formats::describe::{AudioInfo, VideoInfo};
use crate::stats::rates::LagHistogram;
use crate::stats::reason::{ApiRefusal, CloseReason, DropReason, Tally};
use crate::stream::encode::Format;

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
}

impl ClientKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientKind::Play => "Play",
            ClientKind::FlashPublish => "flash-publish",
            ClientKind::FmlePublish => "fmle-publish",
            ClientKind::HaivisionPublish => "haivision-publish",
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
    /// Attempts to accept one that failed.
    pub accept_errors: u64,
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
    /// Turns that took longer than they may, or came late.
    pub loop_stalls: u64,
    /// The longest turn, or delay of one, µs.
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
    /// Calls of the API that were refused.
    pub api_refusals: Tally<ApiRefusal>,
}
