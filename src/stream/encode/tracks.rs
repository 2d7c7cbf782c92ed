//! The main video and audio track of a stream, as far as formats other than FLV and RTMP can carry them:
//! parsed from the prelude once per change.

use crate::formats::codec::Codec;
use crate::formats::message::{Frame, Kind};
use crate::formats::{aac, av1, h264, hevc, mp3, opus};
use crate::stream::prelude::Prelude;

/// A video track whose sequence header could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Video {
    /// With its avcC.
    H264(h264::Config, Vec<u8>),
    /// With its hvcC.
    Hevc(hevc::Config, Vec<u8>),
    /// With its av1C.
    Av1(av1::Config, Vec<u8>),
}

impl Video {
    /// The codec.
    pub const fn codec(&self) -> Codec {
        match self {
            Video::H264(..) => Codec::H264,
            Video::Hevc(..) => Codec::Hevc,
            Video::Av1(..) => Codec::Av1,
        }
    }
}

/// An audio track whose sequence header, or in MP3 whose first frame, could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Audio {
    /// With its AudioSpecificConfig.
    Aac(aac::Config, Vec<u8>),
    /// As a frame describes it.
    Mp3(mp3::Header),
    /// With its `OpusHead`.
    Opus(opus::Config),
}

impl Audio {
    /// The codec.
    pub const fn codec(&self) -> Codec {
        match self {
            Audio::Aac(..) => Codec::Aac,
            Audio::Mp3(_) => Codec::Mp3,
            Audio::Opus(_) => Codec::Opus,
        }
    }
}

/// The main tracks in force.
#[derive(Debug, Default)]
pub struct Tracks {
    /// The main video track.
    pub video: Option<Video>,
    /// The main audio track.
    pub audio: Option<Audio>,
    version: Option<u32>,
}

impl Tracks {
    /// The tracks that a prelude describes.
    pub fn of(prelude: &Prelude) -> Tracks {
        let header = |kind| {
            let header = prelude.header(kind)?;
            Some((header.tag.codec, header.payload.get(header.tag.body_at..)?))
        };
        let video = header(Kind::Video).and_then(|(codec, body)| match codec {
            Codec::H264 => h264::Config::parse(body).ok().map(|c| Video::H264(c, body.to_vec())),
            Codec::Hevc => hevc::Config::parse(body).ok().map(|c| Video::Hevc(c, body.to_vec())),
            Codec::Av1 => av1::Config::parse(body).ok().map(|c| Video::Av1(c, body.to_vec())),
            _ => None,
        });
        let audio = match header(Kind::Audio) {
            Some((Codec::Aac, body)) => aac::Config::parse(body).ok().map(|c| Audio::Aac(c, body.to_vec())),
            Some((Codec::Opus, body)) => opus::Config::parse(body).ok().map(Audio::Opus),
            Some(_) => None,
            None => prelude.mp3.map(Audio::Mp3),
        };
        Tracks { video, audio, version: Some(prelude.version) }
    }

    /// Looks at the prelude again if it changed. Returns whether it did.
    pub fn follow(&mut self, prelude: &Prelude) -> bool {
        if self.version == Some(prelude.version) {
            return false;
        }
        *self = Tracks::of(prelude);
        true
    }

    /// Whether a frame is coded media of one of the tracks.
    pub fn carries(&self, frame: &Frame) -> bool {
        let codec = match frame.kind {
            Kind::Video => self.video.as_ref().map(Video::codec),
            Kind::Audio => self.audio.as_ref().map(Audio::codec),
            Kind::Data => None,
        };
        let coded = frame.tag.role.is_coded() && !frame.tag.multitrack;
        coded && codec == Some(frame.tag.codec) && !frame.body().is_empty()
    }
}
