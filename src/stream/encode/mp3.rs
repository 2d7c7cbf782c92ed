//! MP3 frames as they are.

use super::{Encode, OpenBlock};
use crate::formats::codec::Codec;
use crate::formats::flv::Role;
use crate::formats::message::{Frame, Kind};
use crate::stream::prelude::Prelude;

/// The encoder.
#[derive(Debug, Default)]
pub struct Mp3;

impl Encode for Mp3 {
    fn frame(&mut self, frame: &Frame, _: &Prelude, out: &mut OpenBlock) {
        let tag = &frame.tag;
        if frame.kind != Kind::Audio || tag.codec != Codec::Mp3 || tag.role != Role::Coded || tag.multitrack {
            return;
        }
        out.unit(frame.time, frame.kind, false, 0, |out| out.extend_from_slice(frame.body()));
    }

    fn flush(&mut self, _: &Prelude, _: &mut OpenBlock) {}
}
