//! FLV: every frame is a tag, whatever its codec.

use super::{Encode, OpenBlock, Start};
use crate::formats::flv::Role;
use crate::formats::flv_file::{write_header, write_tag};
use crate::formats::message::{Frame, Kind, WireTime};
use crate::stream::metadata::is_metadata;
use crate::stream::prelude::Prelude;

/// How an encoder asks a server to remember metadata: an AMF0 string that does not belong into files.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// The encoder.
#[derive(Debug, Default)]
pub struct Flv;

impl Encode for Flv {
    fn frame(&mut self, frame: &Frame, _: &Prelude, out: &mut OpenBlock) {
        let body = match frame.kind {
            Kind::Data => frame.payload.strip_prefix(SET_DATA_FRAME).unwrap_or(&frame.payload),
            Kind::Audio | Kind::Video => &frame.payload,
        };
        let key = frame.kind == Kind::Video && frame.tag.role == Role::Key;
        let metadata = frame.kind == Kind::Data && is_metadata(body);
        let time = if metadata { WireTime(0) } else { frame.time.wire() };
        out.unit(frame.time, frame.kind, key, 0, |out| write_tag(frame.kind, time, body, out));
    }

    fn flush(&mut self, _: &Prelude, _: &mut OpenBlock) {}
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
