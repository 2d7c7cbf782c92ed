//! What a vhost's configuration means for its streams, in the core's own terms.

use super::metadata::Tracks;
use super::timeline::Jitter;

/// How long a feed waits before it sends what came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// As the shard's load allows; see [`super::cadence`].
    Auto,
    /// Always this many milliseconds.
    Fixed {
        /// Interval in ms; 0 sends at the end of every turn.
        ms: u32,
    },
    /// At the end of every turn, and audio does not wait for a picture.
    MinLatency,
}

/// What happens to the second publisher of a live stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It is refused, unless nothing came from the first for [`Settings::stale_after_ms`].
    Refuse,
    /// The first one is closed.
    Takeover,
}

/// Settings of one vhost's streams. Times in ms, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Viewers start at the newest keyframe kept, rather than at the live end.
    pub gop_cache: bool,
    /// A GOP longer than this is no start point.
    pub gop_cache_max_ms: u32,
    /// How far a viewer may fall behind live before it jumps.
    pub queue_length_ms: u32,
    /// How timestamps are repaired.
    pub jitter: Jitter,
    /// How often viewers are written to.
    pub cadence: Cadence,
    /// Lower bound of the interval between two writes to a viewer, 0 for none.
    pub send_min_interval_ms: u32,
    /// Sequence headers that repeat the one in force byte for byte are not sent again.
    pub reduce_sequence_header: bool,
    /// All kept bytes of one stream in one format on one shard.
    pub feed_max_bytes: usize,
    /// A publisher that was silent for so long gives way to the next.
    pub stale_after_ms: u32,
    /// What a second publisher meets.
    pub on_duplicate: OnDuplicate,
    /// How long HTTP viewers are kept after the publisher left.
    pub hold_ms: u32,
    /// What an FLV header says of audio and video; None: what the stream has.
    pub flv_tracks: Option<Tracks>,
    /// Metadata with `bravo_atc` passes the encoder's absolute time on.
    pub atc_auto: bool,
    /// AAC and MP3 viewers start with so much recent audio.
    pub fast_cache_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            gop_cache: true,
            gop_cache_max_ms: 30_000,
            queue_length_ms: 30_000,
            jitter: Jitter::Full,
            cadence: Cadence::Auto,
            send_min_interval_ms: 0,
            reduce_sequence_header: false,
            feed_max_bytes: 32 << 20,
            stale_after_ms: 3_000,
            on_duplicate: OnDuplicate::Refuse,
            hold_ms: 0,
            flv_tracks: None,
            atc_auto: false,
            fast_cache_ms: 0,
        }
    }
}
