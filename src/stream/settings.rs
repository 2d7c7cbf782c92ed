//! What a vhost's configuration means for its streams, in the core's own terms.

use super::metadata::Tracks;
use super::timeline::Jitter;
pub use crate::config::schema::OnDuplicate;
use crate::config::schema::{TimeJitter, Vhost};
use std::time::Duration;

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

impl From<&Vhost> for Settings {
    fn from(vhost: &Vhost) -> Settings {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let (play, publish, remux) = (&vhost.play, &vhost.publish, &vhost.http_remux);
        let cadence = match play.mw_latency {
            _ if vhost.min_latency => Cadence::MinLatency,
            None => Cadence::Auto,
            Some(time) => Cadence::Fixed { ms: ms(time) },
        };
        let jitter = match play.time_jitter {
            _ if play.atc => Jitter::Atc,
            TimeJitter::Full => Jitter::Full,
            TimeJitter::Zero => Jitter::Zero,
            TimeJitter::Off => Jitter::Off,
        };
        let told = Tracks { audio: remux.has_audio, video: remux.has_video };
        Settings {
            gop_cache: play.gop_cache,
            gop_cache_max_ms: ms(play.gop_cache_max),
            queue_length_ms: ms(play.queue_length),
            jitter,
            cadence,
            send_min_interval_ms: ms(play.send_min_interval),
            reduce_sequence_header: play.reduce_sequence_header,
            feed_max_bytes: usize::try_from(play.feed_max_bytes).unwrap_or(usize::MAX),
            stale_after_ms: ms(publish.stale_after),
            on_duplicate: publish.on_duplicate,
            hold_ms: ms(remux.hold),
            flv_tracks: (!remux.guess_has_av).then_some(told),
            atc_auto: play.atc_auto,
            fast_cache_ms: ms(remux.fast_cache),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        (&Vhost::default()).into()
    }
}
