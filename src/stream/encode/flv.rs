//! FLV: every frame is a tag, whatever its codec.

use super::{Encode, OpenBlock, Start, wire_time};
use crate::formats::flv_file::{TAG_HEADER_BYTES, TAG_SIZE_BYTES, write_header, write_tag};
use crate::formats::message::{Frame, Kind, WireTime};
use crate::stream::prelude::Prelude;
use bytes::Bytes;

/// The encoder.
#[derive(Debug, Default)]
pub struct Flv;

impl Encode for Flv {
    fn frame(&mut self, frame: &Frame, _: &Prelude, out: &mut OpenBlock) {
        let time = wire_time(frame);
        out.unit(frame.time, frame.kind, frame.is_key(), 0, |out| {
            write_tag(frame.kind, time, &frame.payload, out)
        });
    }

    fn flush(&mut self, _: &Prelude, _: &mut OpenBlock) {}
}

/// The message in a tag.
pub fn message_of(tag: &[u8]) -> Option<Bytes> {
    let body = tag.get(TAG_HEADER_BYTES..tag.len().checked_sub(TAG_SIZE_BYTES)?)?;
    Some(Bytes::copy_from_slice(body))
}

/// Metadata and sequence headers; at first the file header before them.
pub fn prelude(prelude: &Prelude, start: &Start, out: &mut Vec<u8>) {
    if start.first {
        write_header(prelude.has_audio, prelude.has_video, out);
    }
    if let Some(metadata) = &prelude.metadata {
        write_tag(Kind::Data, WireTime(0), metadata, out);
    }
    for header in &prelude.headers {
        write_tag(header.kind, start.time.wire(), &header.payload, out);
    }
}
