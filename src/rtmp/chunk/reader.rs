//! Takes chunks apart into messages.
//!
//! The reader is given slices of what arrived and keeps only what is incomplete: at most one chunk header
//! and the payloads of messages that are still under way. A payload's buffer grows with the bytes that have
//! arrived, never with the length that was claimed. Set Chunk Size and Abort act here, before the next chunk
//! is read; all other messages are handed out.
//!
//! Where peers differ from the specification, SRS's reading is followed: a first chunk with fmt 1 is taken,
//! an extended timestamp may be missing in the later chunks of a message. Unlike SRS, timestamps keep all
//! their 32 bits, an extended delta is a delta (§5.3.1.2.2) unless it is plainly the time itself, and any chunk
//! size from 1 byte on is taken.

use super::{DEFAULT_CHUNK_BYTES, EXTENDED_TIME, MAX_CHUNK_BYTES, type_id};
use crate::formats::message::WireTime;
use bytes::Bytes;
use smallvec::SmallVec;

/// Basic header, message header and extended timestamp at their longest (§5.3.1).
const MAX_HEADER_BYTES: usize = 3 + 11 + 4;
/// Protocol control and user control messages are a few bytes long (§5.4, §7.1.7).
const MAX_CONTROL_BYTES: u32 = 1024;

/// So many chunk streams are in the reader itself: ffmpeg uses five to publish (2, 3, 4, 6 and 8), players fewer.
const STREAMS_INLINE: usize = 5;

/// What one peer may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest audio, video or aggregate message, in bytes.
    pub max_message_bytes: u32,
    /// Longest command or data message, in bytes.
    pub max_script_bytes: u32,
    /// Chunk streams in one connection. Encoders use less than ten.
    pub max_chunk_streams: usize,
    /// Bytes held for all messages under way together.
    pub max_partial_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Limits {
            max_message_bytes: 16 * MIB - 1, // all that 24 bits of length can say
            max_script_bytes: MIB,
            max_chunk_streams: 64,
            max_partial_bytes: 24 * MIB as usize,
        }
    }
}

/// What is wrong with a chunk. `at` is the offset in the connection's bytes, the handshake not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// fmt 2 or 3 on a chunk stream that had no header yet (SRS: error 2001).
    #[error("chunk: csid {csid}, byte {at}: fmt {fmt} without a header before it")]
    NoHeader {
        /// Chunk stream.
        csid: u32,
        /// Format of the header.
        fmt: u8,
        /// Offset.
        at: u64,
    },
    /// A new message begins inside another one of its chunk stream (SRS: errors 2001, 2013).
    #[error(
        "chunk: csid {csid}, byte {at}: fmt {fmt} inside a message of which {missing_bytes} bytes are missing"
    )]
    Interrupted {
        /// Chunk stream.
        csid: u32,
        /// Format of the header.
        fmt: u8,
        /// What the message under way still lacks.
        missing_bytes: u32,
        /// Offset.
        at: u64,
    },
    /// A message is longer than its kind may be.
    #[error("chunk: csid {csid}, byte {at}: message of type {type_id} with {bytes} bytes, limit {limit}")]
    TooLong {
        /// Chunk stream.
        csid: u32,
        /// Message type.
        type_id: u8,
        /// Claimed length.
        bytes: u32,
        /// The limit.
        limit: u32,
        /// Offset.
        at: u64,
    },
    /// More chunk streams than [`Limits::max_chunk_streams`].
    #[error("chunk: csid {csid}, byte {at}: more than {limit} chunk streams")]
    Streams {
        /// The one too many.
        csid: u32,
        /// The limit.
        limit: usize,
        /// Offset.
        at: u64,
    },
    /// Messages under way hold more than [`Limits::max_partial_bytes`].
    #[error("chunk: csid {csid}, byte {at}: messages under way hold more than {limit} bytes")]
    Partial {
        /// The chunk stream that grew.
        csid: u32,
        /// The limit.
        limit: usize,
        /// Offset.
        at: u64,
    },
    /// Set Chunk Size with 0, or shorter than its four bytes (SRS: error 2010).
    #[error("chunk: byte {at}: set chunk size without a size")]
    ChunkSize {
        /// Offset.
        at: u64,
    },
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Chunk stream it came on.
    pub csid: u32,
    /// Message type id.
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Timestamp.
    pub time: WireTime,
    /// Payload.
    pub payload: Bytes,
}

/// Reads the chunks of one direction of one connection.
#[derive(Debug)]
pub struct ChunkReader {
    limits: Limits,
    chunk_bytes: u32,
    streams: SmallVec<[ChunkStream; STREAMS_INLINE]>,
    /// Index of the chunk stream whose chunk is open, and what of that chunk is missing.
    open: Option<(usize, u32)>,
    /// An incomplete chunk header.
    stash: [u8; MAX_HEADER_BYTES],
    stashed: u8,
    partial_bytes: usize,
    position: u64,
}

#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    time: u32,
    /// What a message that begins with fmt 3 adds to `time`.
    delta: u32,
    length: u32,
    received: u32,
    stream_id: u32,
    /// The extended timestamp field of the last header that had one.
    extended: Option<u32>,
    /// Whether that field was an absolute time (fmt 0).
    absolute: bool,
    type_id: u8,
    /// A message is under way: its header is there, its payload not whole.
    under_way: bool,
    payload: Vec<u8>,
}

/// A chunk header, taken from the bytes but not applied yet.
struct Header {
    fmt: u8,
    csid: u32,
    known: Option<usize>,
    time: u32,
    extended: Option<u32>,
    length: u32,
    type_id: u8,
    stream_id: u32,
    bytes: usize,
}

impl ChunkReader {
    /// A reader at the start of a connection's chunks.
    pub fn new(limits: Limits) -> ChunkReader {
        ChunkReader {
            limits,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            streams: SmallVec::new(),
            open: None,
            stash: [0; MAX_HEADER_BYTES],
            stashed: 0,
            partial_bytes: 0,
            position: 0,
        }
    }

    /// A reader of chunks whose size is known, without a Set Chunk Size before them.
    pub fn with_chunk_bytes(limits: Limits, chunk_bytes: u32) -> ChunkReader {
        ChunkReader { chunk_bytes, ..ChunkReader::new(limits) }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The peer's chunk size.
    pub const fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Memory held besides the reader itself, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let streams = if self.streams.spilled() { self.streams.capacity() } else { 0 };
        streams * size_of::<ChunkStream>() + self.partial_bytes
    }

    /// Changes what the peer may use up, from the next chunk on.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes bytes from the front of `input` up to the end of a message and returns it; `None` when all were
    /// taken and no message is whole yet. After an error the connection is of no more use.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, ChunkError> {
        loop {
            let (index, mut left) = match self.open {
                Some(open) => open,
                None => match self.next_header(input) {
                    Some(header) => self.begin(&header)?,
                    None => return Ok(None),
                },
            };
            if self.stashed > 0 {
                left = self.stashed_payload(index, left)?;
            }
            left = self.payload(index, left, input)?;
            if left > 0 {
                self.open = Some((index, left));
                return Ok(None);
            }
            self.open = None;
            if let Some(message) = self.finish(index)? {
                return Ok(Some(message));
            }
        }
    }

    /// A header from the stash and the input together; what there is of an incomplete one goes to the stash.
    fn next_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        let stashed = usize::from(self.stashed);
        let fresh = input.len().min(MAX_HEADER_BYTES - stashed);
        let parsed = if stashed == 0 {
            self.parse_header(input)
        } else {
            self.stash[stashed..stashed + fresh].copy_from_slice(&input[..fresh]);
            self.parse_header(&self.stash[..stashed + fresh])
        };
        let taken = match &parsed {
            Some(header) => {
                let from_stash = header.bytes.min(stashed);
                self.stash.copy_within(from_stash..stashed, 0);
                self.stashed = (stashed - from_stash) as u8;
                header.bytes - from_stash
            }
            None => {
                self.stash[stashed..stashed + fresh].copy_from_slice(&input[..fresh]);
                self.stashed = (stashed + fresh) as u8;
                fresh
            }
        };
        self.position += taken as u64;
        *input = &input[taken..];
        parsed
    }

    /// Bytes that might have been an extended timestamp and turned out to be payload, or even the next
    /// header, which then stays in the stash.
    fn stashed_payload(&mut self, index: usize, left: u32) -> Result<u32, ChunkError> {
        let stash = self.stash;
        let mut spill = stash.get(..usize::from(self.stashed)).unwrap_or_default();
        self.position -= spill.len() as u64; // counted when they were stashed
        let left = self.payload(index, left, &mut spill)?;
        self.position += spill.len() as u64;
        self.stash[..spill.len()].copy_from_slice(spill);
        self.stashed = spill.len() as u8;
        Ok(left)
    }

    /// `None` if `b` ends inside the header.
    fn parse_header(&self, b: &[u8]) -> Option<Header> {
        let mut r = crate::formats::bits::Reader::new(b);
        let first = r.u8().ok()?;
        let fmt = first >> 6;
        let csid = match first & 0x3f {
            0 => 64 + u32::from(r.u8().ok()?),
            1 => 64 + u32::from(r.u16().ok()?.swap_bytes()),
            csid => u32::from(csid),
        };
        let known = self.streams.iter().position(|s| s.csid == csid);
        let last = known.and_then(|index| self.streams.get(index));
        let mut h = Header {
            fmt,
            csid,
            known,
            time: last.map_or(0, |s| s.delta),
            extended: None,
            length: last.map_or(0, |s| s.length),
            type_id: last.map_or(0, |s| s.type_id),
            stream_id: last.map_or(0, |s| s.stream_id),
            bytes: 0,
        };
        if fmt <= 2 {
            h.time = r.u24().ok()?;
            if fmt <= 1 {
                h.length = r.u24().ok()?;
                h.type_id = r.u8().ok()?;
                if fmt == 0 {
                    h.stream_id = r.u32().ok()?.swap_bytes();
                }
            }
            if h.time >= EXTENDED_TIME {
                h.time = r.u32().ok()?;
                h.extended = Some(h.time);
            }
        } else if let Some((last, extended)) = last.and_then(|s| Some((s, s.extended?))) {
            if !last.under_way {
                h.extended = Some(r.u32().ok()?);
            } else {
                // Older ffmpeg and librtmp leave the field out, others repeat it, as they sent it or as the
                // absolute time. If it is none of both it is payload; so is a chunk too short to hold it.
                let here = r.clone().rest();
                let is_field = |value: u32| {
                    let field = value.to_be_bytes();
                    let n = here.len().min(4);
                    field[..n] == here[..n]
                };
                if is_field(extended) || is_field(last.time) {
                    r.u32().ok()?;
                }
            }
        }
        h.bytes = r.position();
        Some(h)
    }

    /// Applies a header: opens its chunk, and with it a message if none was under way.
    fn begin(&mut self, h: &Header) -> Result<(usize, u32), ChunkError> {
        let (fmt, csid, at) = (h.fmt, h.csid, self.position);
        let index = match h.known {
            Some(index) => index,
            None if fmt > 1 => return Err(ChunkError::NoHeader { csid, fmt, at }),
            None if self.streams.len() >= self.limits.max_chunk_streams => {
                return Err(ChunkError::Streams { csid, limit: self.limits.max_chunk_streams, at });
            }
            None => {
                self.streams.push(ChunkStream::new(csid));
                self.streams.len() - 1
            }
        };
        let limit = match h.type_id {
            1..=6 => MAX_CONTROL_BYTES,
            type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => self.limits.max_message_bytes,
            _ => self.limits.max_script_bytes,
        };
        let s = &mut self.streams[index];
        if s.under_way {
            // fmt 1 and 2 inside a message are taken for a clumsy fmt 3, as in SRS, if they agree with it.
            if fmt == 0 || (fmt == 1 && (h.length, h.type_id) != (s.length, s.type_id)) {
                let missing_bytes = s.length - s.received;
                return Err(ChunkError::Interrupted { csid, fmt, missing_bytes, at });
            }
        } else {
            if h.length > limit {
                return Err(ChunkError::TooLong { csid, type_id: h.type_id, bytes: h.length, limit, at });
            }
            s.start(h);
        }
        Ok((index, self.chunk_bytes.min(s.length - s.received)))
    }

    /// Takes payload of the open chunk; what of it is still missing.
    fn payload(&mut self, index: usize, left: u32, input: &mut &[u8]) -> Result<u32, ChunkError> {
        let s = &mut self.streams[index];
        let here = (left as usize).min(input.len());
        let (taken, rest) = input.split_at(here);
        let want = s.payload.len() + here;
        if want > s.payload.capacity() {
            // One exact buffer if the rest of the message is here already, doubling otherwise.
            let arrived = s.payload.len() + ((s.length - s.received) as usize).min(input.len());
            let room = arrived.max(2 * s.payload.capacity()).min(s.length as usize).max(want);
            self.partial_bytes -= s.payload.capacity();
            s.payload.reserve_exact(room - s.payload.len());
            self.partial_bytes += s.payload.capacity();
            if self.partial_bytes > self.limits.max_partial_bytes {
                let (csid, limit, at) = (s.csid, self.limits.max_partial_bytes, self.position);
                return Err(ChunkError::Partial { csid, limit, at });
            }
        }
        s.payload.extend_from_slice(taken);
        s.received += here as u32;
        self.position += here as u64;
        *input = rest;
        Ok(left - here as u32)
    }

    /// A chunk is whole: if its message is too, hands it out, or acts on it.
    fn finish(&mut self, index: usize) -> Result<Option<RawMessage>, ChunkError> {
        let s = &mut self.streams[index];
        if s.received < s.length {
            return Ok(None);
        }
        s.under_way = false;
        s.received = 0;
        self.partial_bytes -= s.payload.capacity();
        let payload = Bytes::from(std::mem::take(&mut s.payload));
        let message = RawMessage {
            csid: s.csid,
            type_id: s.type_id,
            stream_id: s.stream_id,
            time: WireTime(s.time),
            payload,
        };
        match message.type_id {
            type_id::SET_CHUNK_SIZE => self.set_chunk_size(&message.payload)?,
            type_id::ABORT => self.abort(&message.payload),
            _ => return Ok(Some(message)),
        }
        Ok(None)
    }

    /// §5.4.1: 31 bits, at least 1; more than a message can be long is the same as that.
    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        match payload.first_chunk().map(|b| u32::from_be_bytes(*b) & 0x7fff_ffff) {
            None | Some(0) => Err(ChunkError::ChunkSize { at: self.position }),
            Some(bytes) => {
                self.chunk_bytes = bytes.min(MAX_CHUNK_BYTES);
                Ok(())
            }
        }
    }

    /// §5.4.2: forgets the message under way on the chunk stream that is named.
    fn abort(&mut self, payload: &[u8]) {
        let csid = payload.first_chunk().map(|b| u32::from_be_bytes(*b));
        if let Some(s) = self.streams.iter_mut().find(|s| Some(s.csid) == csid) {
            self.partial_bytes -= s.payload.capacity();
            s.payload = Vec::new();
            s.under_way = false;
            s.received = 0;
        }
    }
}

impl ChunkStream {
    const fn new(csid: u32) -> ChunkStream {
        ChunkStream {
            csid,
            time: 0,
            delta: 0,
            length: 0,
            received: 0,
            stream_id: 0,
            extended: None,
            absolute: true,
            type_id: 0,
            under_way: false,
            payload: Vec::new(),
        }
    }

    /// The time that an extended timestamp behind fmt 1, 2 or 3 gives. By §5.3.1.2.2 it is a delta, but a delta
    /// of over 4.6 hours is none: there are senders that put the time itself there, and SRS reads it as such.
    const fn after(&self, value: u32) -> u32 {
        if value.wrapping_sub(self.time) < NEAR_MS { value } else { self.time.wrapping_add(value) }
    }

    /// A message begins.
    fn start(&mut self, h: &Header) {
        match h.fmt {
            // A message that follows with fmt 3 advances by this time again (§5.3.1.2.4, the FMLE way).
            0 => (self.time, self.delta, self.absolute) = (h.time, h.time, true),
            1 | 2 => {
                let time =
                    if h.extended.is_some() { self.after(h.time) } else { self.time.wrapping_add(h.time) };
                (self.delta, self.absolute) = (time.wrapping_sub(self.time), false);
                self.time = time;
            }
            _ => match h.extended {
                // After an absolute time the field is read as one: a second step of over 4.6 hours is none.
                Some(time) if self.absolute => self.time = time,
                Some(value) => self.time = self.after(value),
                None => self.time = self.time.wrapping_add(self.delta),
            },
        }
        self.extended = h.extended;
        (self.length, self.type_id, self.stream_id) = (h.length, h.type_id, h.stream_id);
        self.received = 0;
        self.under_way = true;
    }
}

/// An extended timestamp of fmt 1 and 2 so little ahead of the last time is one itself.
const NEAR_MS: u32 = 3_600_000;

#[cfg(test)]
mod tests;
