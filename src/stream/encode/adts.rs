//! AAC: each frame behind an ADTS header made from the audio sequence header.

use super::tracks::{Audio, Tracks};
use super::{Encode, OpenBlock};
use crate::formats::codec::Codec;
use crate::formats::message::{Frame, Kind};
use crate::stream::prelude::Prelude;

/// The encoder.
#[derive(Debug, Default)]
pub struct Adts {
    tracks: Tracks,
}

impl Encode for Adts {
    fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock) {
        self.tracks.follow(prelude);
        let Some(Audio::Aac(config, _)) = &self.tracks.audio else { return };
        if !self.tracks.carries(frame) || frame.tag.codec != Codec::Aac {
            return;
        }
        let body = frame.body();
        let Some(header) = config.adts_header(body.len()) else { return };
        out.unit(frame.time, Kind::Audio, false, 0, |out| {
            out.extend_from_slice(&header);
            out.extend_from_slice(body);
        });
    }

    fn flush(&mut self, _: &Prelude, _: &mut OpenBlock) {}
}
