//! A stream's frames as the bytes of a live format: encoded once, on the owner shard.
//!
//! An encoder turns each [`Frame`] into zero or more *units*. A unit is what a viewer gets whole or not at
//! all: an RTMP message, an FLV tag, a PES with its PSI, an ADTS frame, a moof with its mdat. A viewer can
//! pause, stop and jump between two units, never inside one.

pub mod adts;
pub mod flv;
pub mod fmp4;
pub mod mp3;
pub mod rtmp;
pub mod tracks;
pub mod ts;

use crate::config::mount::LiveFormat;
use crate::formats::flv::is_metadata;
use crate::formats::message::{Frame, Kind, MediaTime, WireTime};
use crate::stream::prelude::Prelude;
use crate::stream::wire::Wire;
use bytes::Bytes;

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

impl From<LiveFormat> for Format {
    fn from(live: LiveFormat) -> Format {
        match live {
            LiveFormat::Flv => Format::Flv,
            LiveFormat::Ts => Format::Ts,
            LiveFormat::Aac => Format::Aac,
            LiveFormat::Mp3 => Format::Mp3,
            LiveFormat::Mp4 => Format::Fmp4,
        }
    }
}

impl Format {
    /// Whether each unit is one message of the publisher, which can be had back from it.
    pub const fn holds_messages(self) -> bool {
        matches!(self, Format::Rtmp { .. } | Format::Flv)
    }

    /// A word for the API, the log and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Rtmp { .. } => "rtmp",
            Format::Flv => "flv",
            Format::Ts => "ts",
            Format::Aac => "aac",
            Format::Mp3 => "mp3",
            Format::Fmp4 => "mp4",
        }
    }

    /// Whether pictures can be in it; without them nobody waits for a keyframe.
    pub const fn carries_video(self) -> bool {
        !matches!(self, Format::Aac | Format::Mp3)
    }

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

/// A block of so many bytes is copied out of where it grew: that is kept for the next one. To let each grow anew, and
/// cut it to size in the end, takes longer. What is larger is moved, so that no stream keeps a keyframe's room for good.
const COPIED_BYTES: usize = 8 << 10;

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

    /// Fetches ahead what came last, which the next unit goes behind. Not all there is: that may be a second of a fast
    /// stream.
    pub(in crate::stream) fn fetch_tail<W: Wire>(&self) {
        const TAIL_BYTES: usize = 1 << 10;
        const TAIL_UNITS: usize = 4;
        W::fetch(&self.bytes[self.bytes.len().saturating_sub(TAIL_BYTES)..]);
        W::fetch(&self.units[self.units.len().saturating_sub(TAIL_UNITS)..]);
    }

    /// Takes out what there is, in no more memory than it needs, and begins anew.
    pub fn take(&mut self) -> (Bytes, Box<[Unit]>) {
        let bytes = if self.bytes.len() <= COPIED_BYTES {
            let bytes = Bytes::copy_from_slice(&self.bytes);
            self.bytes.clear();
            bytes
        } else {
            Bytes::from(std::mem::take(&mut self.bytes).into_boxed_slice())
        };
        (bytes, self.units.drain(..).collect())
    }
}

/// A frame's time in RTMP and FLV. Metadata goes at 0 as from SRS: ffmpeg takes one with another time for a text
/// track.
fn wire_time(frame: &Frame) -> WireTime {
    let metadata = frame.kind == Kind::Data && is_metadata(&frame.payload);
    if metadata { WireTime(0) } else { frame.time.wire() }
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

/// The encoder of a format, dispatched statically.
#[derive(Debug)]
pub enum Encoder {
    /// See [`rtmp::Rtmp`].
    Rtmp(rtmp::Rtmp),
    /// See [`flv::Flv`].
    Flv(flv::Flv),
    /// See [`ts::Ts`].
    Ts(Box<ts::Ts>),
    /// See [`adts::Adts`].
    Aac(adts::Adts),
    /// See [`mp3::Mp3`].
    Mp3(mp3::Mp3),
    /// See [`fmp4::Fmp4`].
    Fmp4(Box<fmp4::Fmp4>),
}

impl Encoder {
    /// A fresh encoder for a format.
    pub fn new(format: Format) -> Encoder {
        match format {
            Format::Flv => Encoder::Flv(flv::Flv),
            Format::Ts => Encoder::Ts(Box::default()),
            Format::Aac => Encoder::Aac(adts::Adts::default()),
            Format::Mp3 => Encoder::Mp3(mp3::Mp3),
            Format::Fmp4 => Encoder::Fmp4(Box::default()),
            Format::Rtmp { chunk_bytes } => Encoder::Rtmp(rtmp::Rtmp::new(chunk_bytes)),
        }
    }

    /// Whether the format cannot go on within the same body: fMP4 whose set of tracks changed. Its viewers
    /// are to be ended and may come back for another body, which takes a fresh encoder.
    pub fn ended(&self) -> bool {
        matches!(self, Encoder::Fmp4(fmp4) if fmp4.ended())
    }

    /// Appends what was held back of frames to which the prelude so far belongs: another comes into force.
    pub fn before_change(&mut self, out: &mut OpenBlock) {
        if let Encoder::Fmp4(fmp4) = self {
            fmp4.before_change(out);
        }
    }
}

impl Encode for Encoder {
    fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock) {
        match self {
            Encoder::Rtmp(e) => e.frame(frame, prelude, out),
            Encoder::Flv(e) => e.frame(frame, prelude, out),
            Encoder::Ts(e) => e.frame(frame, prelude, out),
            Encoder::Aac(e) => e.frame(frame, prelude, out),
            Encoder::Mp3(e) => e.frame(frame, prelude, out),
            Encoder::Fmp4(e) => e.frame(frame, prelude, out),
        }
    }

    fn flush(&mut self, prelude: &Prelude, out: &mut OpenBlock) {
        match self {
            Encoder::Rtmp(e) => e.flush(prelude, out),
            Encoder::Flv(e) => e.flush(prelude, out),
            Encoder::Ts(e) => e.flush(prelude, out),
            Encoder::Aac(e) => e.flush(prelude, out),
            Encoder::Mp3(e) => e.flush(prelude, out),
            Encoder::Fmp4(e) => e.flush(prelude, out),
        }
    }
}

/// Appends what a viewer needs before the unit at `start`, as bare bytes without HTTP
/// framing; nothing if the format needs nothing, or can carry nothing of the stream.
pub fn prelude(format: Format, prelude: &Prelude, start: &Start, out: &mut Vec<u8>) {
    match format {
        Format::Flv => flv::prelude(prelude, start, out),
        Format::Ts => ts::prelude(prelude, start, out),
        Format::Fmp4 => fmp4::prelude(prelude, start, out),
        Format::Rtmp { chunk_bytes } => rtmp::prelude(prelude, start, chunk_bytes, out),
        // ADTS and MP3 frames each say all about themselves.
        Format::Aac | Format::Mp3 => {}
    }
}

/// The message that a unit holds, where the format [holds messages](Format::holds_messages).
pub fn message_of(format: Format, unit: &[u8]) -> Option<Bytes> {
    match format {
        Format::Rtmp { chunk_bytes } => rtmp::message_of(unit, chunk_bytes),
        Format::Flv => flv::message_of(unit.get(CHUNK_HEAD..unit.len().checked_sub(CHUNK_TAIL)?)?),
        Format::Ts | Format::Aac | Format::Mp3 | Format::Fmp4 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::flv::{Role, inspect};
    use bytes::Bytes;
    use proptest::prelude::*;

    const HTTP_FORMATS: [Format; 5] = [Format::Flv, Format::Ts, Format::Aac, Format::Mp3, Format::Fmp4];

    /// Payloads that begin like something and go on like anything.
    fn payload() -> impl Strategy<Value = (Kind, Vec<u8>)> {
        let heads: Vec<(Kind, &[u8])> = vec![
            (Kind::Video, b""),
            (Kind::Video, b"\x17\0\0\0\0"),
            (Kind::Video, b"\x17\x01\0\0\0"),
            (Kind::Video, b"\x27\x01\xff\xff\xd8\0\0\0\x02"),
            (Kind::Video, b"\x90hvc1"),
            (Kind::Video, b"\x93hvc1\0\0"),
            (Kind::Video, b"\x90av01\x81\0\0\0"),
            (Kind::Video, b"\x96\x00avc1\x01"),
            (Kind::Audio, b""),
            (Kind::Audio, b"\xaf\0\x12\x10"),
            (Kind::Audio, b"\xaf\0"),
            (Kind::Audio, b"\xaf\x01"),
            (Kind::Audio, b"\x2f\xff\xfb\x90\x64"),
            (Kind::Audio, b"\x90OpusOpusHead\x01"),
            (Kind::Audio, b"\x91Opus"),
            (Kind::Data, b"\x02\0\x0d@setDataFrame"),
        ];
        let tail = prop::collection::vec(any::<u8>(), 0..300);
        (prop::sample::select(heads), tail).prop_map(|((kind, head), tail)| (kind, [head, &tail].concat()))
    }

    proptest! {
        #[test]
        fn no_stream_panics_any_encoder_and_units_stay_whole(
            payloads in prop::collection::vec((payload(), any::<i64>(), any::<bool>()), 0..40),
            first: bool,
        ) {
            // A good header first, so that what follows reaches the muxers.
            let avc = [&b"\x17\0\0\0\0"[..], &crate::formats::h264::tests::avcc_1080()].concat();
            for format in HTTP_FORMATS {
                let (mut in_force, mut out) = (Prelude::default(), OpenBlock::new(format));
                let mut encoder = Encoder::new(format);
                let start = ((Kind::Video, avc.clone()), 0, true);
                let mut time = 0i64;
                for ((kind, payload), any_time, wild) in [start].iter().chain(&payloads) {
                    time = if *wild { *any_time } else { time.saturating_add(any_time & 63) };
                    let payload = Bytes::from(payload.clone());
                    let tag = inspect(*kind, &payload);
                    match tag.role {
                        Role::SequenceHeader => _ = in_force.remember(*kind, tag, &payload),
                        _ => in_force.saw_frame(*kind, &tag, &payload),
                    }
                    let frame = Frame { kind: *kind, time: MediaTime(time), tag, payload };
                    encoder.frame(&frame, &in_force, &mut out);
                }
                encoder.flush(&in_force, &mut out);
                let ends: Vec<u32> = out.units.iter().map(|unit| unit.end).collect();
                prop_assert!(ends.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(ends.last().map_or(0, |end| *end as usize), out.bytes.len());
                let start = Start { first, time: MediaTime(time), counters: 0x1234 };
                prelude(format, &in_force, &start, &mut Vec::new());
            }
        }
    }
}
