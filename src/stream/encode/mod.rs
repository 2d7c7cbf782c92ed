//! A stream's frames as the bytes of a live format: encoded once, on the owner shard.
//!
//! An encoder turns each [`Frame`] into zero or more *units*. A unit is what a viewer gets whole or not at
//! all: an RTMP message, an FLV tag, a PES with its PSI, an ADTS frame, a moof with its mdat. A viewer can
//! pause, stop and jump between two units, never inside one.

use crate::formats::message::{Frame, Kind, MediaTime};
use crate::stream::prelude::Prelude;

/// The live formats. One `(stream, Format)` has one log of bytes, shared by all its viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// RTMP chunks of this size; no history needed to join (every message starts with fmt 0).
    Rtmp {
        /// Payload bytes per chunk, Adobe RTMP §5.4.1.
        chunk_bytes: u32,
    },
    /// FLV tags, each in one HTTP/1.1 chunk.
    Flv,
    /// MPEG transport stream packets, one PES and its PSI in one HTTP/1.1 chunk.
    Ts,
    /// AAC as ADTS frames, each in one HTTP/1.1 chunk.
    Aac,
    /// MP3 frames, each in one HTTP/1.1 chunk.
    Mp3,
    /// Fragmented MP4, each fragment in one HTTP/1.1 chunk.
    Fmp4,
}

impl Format {
    /// Whether units carry HTTP/1.1 chunk framing.
    pub const fn is_http(self) -> bool {
        !matches!(self, Format::Rtmp { .. })
    }
}

/// Where a unit ends, and what a viewer's shard needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// End of the unit, in bytes from the start of its block (framing included).
    pub end: u32,
    /// Decoding time of its first frame.
    pub time: MediaTime,
    /// Audio, video or data (a header is of its track's kind).
    pub kind: Kind,
    /// A viewer may start here: a video keyframe.
    pub key: bool,
    /// TS only: the continuity counter that PAT, PMT, video and audio packets had *before* this unit, 4 bits
    /// each from the least significant; 0 in other formats.
    pub counters: u16,
}

/// Bytes that an encoder appends to: the open block of a format.
#[derive(Debug, Default)]
pub struct OpenBlock {
    /// The block's bytes so far.
    pub bytes: Vec<u8>,
    /// Its units so far.
    pub units: Vec<Unit>,
    http: bool,
}

/// Length of the HTTP/1.1 chunk head of a unit, `0000012a\r\n`: eight digits, so that the bare bytes of a
/// unit are always `start + CHUNK_HEAD .. end - CHUNK_TAIL` (RFC 9112 §7.1 allows leading zeros).
pub const CHUNK_HEAD: usize = 10;
/// Length of what follows the bytes of a unit, `\r\n`.
pub const CHUNK_TAIL: usize = 2;

impl OpenBlock {
    /// An empty block for a format.
    pub fn new(format: Format) -> OpenBlock {
        OpenBlock { http: format.is_http(), ..OpenBlock::default() }
    }

    /// Appends one unit: `write` appends its bytes. Nothing is kept if it writes none.
    pub fn unit(
        &mut self,
        time: MediaTime,
        kind: Kind,
        key: bool,
        counters: u16,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        if self.http {
            self.bytes.extend_from_slice(b"00000000\r\n");
        }
        let bare = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len() - bare;
        if length == 0 {
            self.bytes.truncate(start);
            return;
        }
        if self.http {
            chunk_head(&mut self.bytes[start..bare], length);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.units.push(Unit { end: self.bytes.len() as u32, time, kind, key, counters });
    }
}

/// Frames `bytes` as one HTTP/1.1 chunk, as [`OpenBlock::unit`] does: for a viewer's own prelude.
pub fn http_chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + CHUNK_HEAD + CHUNK_TAIL);
    out.extend_from_slice(b"00000000\r\n");
    chunk_head(&mut out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

fn chunk_head(at: &mut [u8], length: usize) {
    for (i, digit) in at.iter_mut().take(8).enumerate() {
        *digit = b"0123456789abcdef"[length >> (28 - 4 * i) & 15];
    }
}

/// Where in a stream a viewer starts or goes on: what its private prelude is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The viewer's very first bytes (FLV needs its file header), or a jump within the stream.
    pub first: bool,
    /// Time of the first media unit the viewer will get.
    pub time: MediaTime,
    /// [`Unit::counters`] of that unit.
    pub counters: u16,
}

/// Turns frames into units of one format. One per `(stream, Format)`, on the owner.
pub trait Encode {
    /// Appends what `frame` becomes. `prelude` is the one in force *with* this frame (a sequence header is
    /// already part of it).
    fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock);

    /// Appends whatever was held back (fMP4 gathers 100 ms of audio): the publisher left.
    fn flush(&mut self, prelude: &Prelude, out: &mut OpenBlock);
}

pub mod rtmp;
/// stand-in
pub struct Encoder(rtmp::Rtmp);
impl Encoder {
    /// new
    pub fn new(_format: Format) -> Encoder {
        Encoder(rtmp::Rtmp::new(60000))
    }
    /// frame
    pub fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock) {
        self.0.frame(frame, prelude, out)
    }
    /// flush
    pub fn flush(&mut self, prelude: &Prelude, out: &mut OpenBlock) {
        self.0.flush(prelude, out)
    }
    /// ended
    pub fn ended(&self) -> bool {
        false
    }
}
/// prelude
pub fn prelude(_f: Format, p: &Prelude, s: &Start, out: &mut Vec<u8>) {
    rtmp::prelude(p, s, 60000, out)
}
