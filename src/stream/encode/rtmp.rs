//! RTMP: each frame is one message in chunks.
//!
//! Every message starts with fmt 0 and an absolute time on a chunk stream of its kind, so that a viewer needs
//! no history to start, and the publisher's chunk stream ids never reach a player.

use super::{Encode, OpenBlock, Start, wire_time};
use crate::formats::message::{Frame, Kind, WireTime};
use crate::rtmp::chunk::reader::{ChunkReader, Limits};
use crate::rtmp::chunk::{MAX_CHUNK_BYTES, STREAM_ID, csid, writer::write_message};
use crate::stream::prelude::Prelude;
use bytes::Bytes;

/// Encodes for players with one chunk size.
#[derive(Debug)]
pub struct Rtmp {
    chunk_bytes: u32,
}

impl Rtmp {
    /// An encoder for chunks of this size.
    pub fn new(chunk_bytes: u32) -> Rtmp {
        Rtmp { chunk_bytes }
    }
}

fn write(out: &mut Vec<u8>, kind: Kind, time: WireTime, payload: &[u8], chunk_bytes: u32) {
    write_message(out, csid::of(kind), kind.type_id(), STREAM_ID, time, &[payload], chunk_bytes);
}

impl Encode for Rtmp {
    fn frame(&mut self, frame: &Frame, _prelude: &Prelude, out: &mut OpenBlock) {
        out.unit(frame.time, frame.kind, frame.is_key(), 0, |bytes| {
            write(bytes, frame.kind, wire_time(frame), &frame.payload, self.chunk_bytes);
        });
    }

    fn flush(&mut self, _prelude: &Prelude, _out: &mut OpenBlock) {}
}

/// The message in a unit's chunks.
pub fn message_of(mut unit: &[u8], chunk_bytes: u32) -> Option<Bytes> {
    let limits = Limits { max_script_bytes: MAX_CHUNK_BYTES, ..Limits::default() };
    let mut reader = ChunkReader::with_chunk_bytes(limits, chunk_bytes);
    Some(reader.read(&mut unit).ok()??.payload)
}

/// A viewer's prelude: metadata, then the headers, audio before video as SRS.
pub fn prelude(prelude: &Prelude, start: &Start, chunk_bytes: u32, out: &mut Vec<u8>) {
    let time = start.time.wire();
    if let Some(metadata) = &prelude.metadata {
        write(out, Kind::Data, WireTime(0), metadata, chunk_bytes);
    }
    for header in &prelude.headers {
        write(out, header.kind, time, &header.payload, chunk_bytes);
    }
}
