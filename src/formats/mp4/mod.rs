//! ISO base media files (ISO 14496-12): [`boxes`] that describe tracks, and [`fmp4`], files in fragments.

pub mod boxes;
pub mod fmp4;

/// A video track's sample entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoEntry {
    /// `avc1` with an `avcC`.
    Avc1,
    /// `hvc1` with an `hvcC`.
    Hvc1,
    /// `av01` with an `av1C`.
    Av01,
}

/// A video track. Its timescale is milliseconds, what RTMP counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Sample entry.
    pub entry: VideoEntry,
    /// Body of the decoder configuration box.
    pub config: Vec<u8>,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

/// An audio track's sample entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioEntry {
    /// `mp4a` with an AudioSpecificConfig.
    Aac(Vec<u8>),
    /// `mp4a` with the object type of MP3.
    Mp3 {
        /// ISO 13818-3 (0x69) rather than ISO 11172-3 (0x6B).
        low_rate: bool,
    },
    /// `Opus` with this `dOps` body.
    Opus(Vec<u8>),
}

/// An audio track. Its timescale is its sampling rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Sample entry.
    pub entry: AudioEntry,
    /// Sampling rate, never 0.
    pub rate_hz: u32,
    /// Channels; 0 if only the stream tells.
    pub channels: u8,
}
