//! Takes chunks apart into messages.
//!
//! The reader is given slices of what arrived and keeps only what is incomplete: at most one chunk header
//! and the payloads of messages that are still under way. A payload's buffer grows with the bytes that have
//! arrived, never with the length that was claimed. Set Chunk Size and Abort act here, before the next chunk
//! is read; all other messages are handed out.
//!
//! Where peers differ from the specification, SRS's reading is followed: a first chunk with fmt 1 is taken,
//! an extended timestamp may be missing in the later chunks of a message. Unlike SRS, timestamps keep all
//! their 32 bits, an extended delta is a delta (§5.3.1.2.2), and any chunk size from 1 byte on is taken.

use super::{DEFAULT_CHUNK_BYTES, EXTENDED_TIME, MAX_CHUNK_BYTES, type_id};
use crate::formats::message::WireTime;
use bytes::Bytes;

/// Basic header, message header and extended timestamp at their longest (§5.3.1).
const MAX_HEADER_BYTES: usize = 3 + 11 + 4;
/// What a skimmed payload keeps of itself: FLV tag header, FourCC, and the first bytes of the body.
pub const HEAD_BYTES: usize = 40;
/// Protocol control and user control messages are a few bytes long (§5.4, §7.1.7).
const MAX_CONTROL_BYTES: u32 = 1024;

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
    #[error("chunk: csid {csid}, byte {at}: fmt {fmt} inside a message of which {missing_bytes} bytes are missing")]
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

/// What a reader does with payloads of audio, video and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// Hands them out.
    #[default]
    Whole,
    /// Hands out only the first [`HEAD_BYTES`] and the length: for a player that only measures.
    Head,
}

/// A message's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All of it, in a buffer of its size.
    Whole(Bytes),
    /// Its first bytes, under [`Keep::Head`].
    Head(Head),
}

/// The first bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    kept: u8,
    /// Length of the whole payload in bytes.
    pub length: u32,
}

impl Head {
    fn new(payload: &[u8], length: u32) -> Head {
        let mut bytes = [0; HEAD_BYTES];
        let kept = payload.len().min(HEAD_BYTES);
        bytes[..kept].copy_from_slice(&payload[..kept]);
        Head { bytes, kept: kept as u8, length }
    }

    /// The bytes that were kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.kept)]
    }
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
    pub payload: Payload,
}

/// Reads the chunks of one direction of one connection.
#[derive(Debug)]
pub struct ChunkReader {
    limits: Limits,
    keep: Keep,
    chunk_bytes: u32,
    streams: Vec<ChunkStream>,
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
    pub fn new(limits: Limits, keep: Keep) -> ChunkReader {
        ChunkReader {
            limits,
            keep,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            streams: Vec::new(),
            open: None,
            stash: [0; MAX_HEADER_BYTES],
            stashed: 0,
            partial_bytes: 0,
            position: 0,
        }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The peer's chunk size.
    pub const fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Changes what audio, video and aggregate messages may be long, from the next message on.
    pub const fn set_max_message_bytes(&mut self, bytes: u32) {
        self.limits.max_message_bytes = bytes;
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
        let kept = match self.keep {
            Keep::Head if is_media(s.type_id) => here.min(HEAD_BYTES.saturating_sub(s.payload.len())),
            _ => here,
        };
        let want = s.payload.len() + kept;
        if want > s.payload.capacity() {
            // One exact buffer if the rest of the message is here already, doubling otherwise.
            let arrived = s.payload.len() + ((s.length - s.received) as usize).min(input.len());
            let room = match self.keep {
                Keep::Head if is_media(s.type_id) => HEAD_BYTES,
                _ => arrived.max(2 * s.payload.capacity()).min(s.length as usize).max(want),
            };
            self.partial_bytes -= s.payload.capacity();
            s.payload.reserve_exact(room - s.payload.len());
            self.partial_bytes += s.payload.capacity();
            if self.partial_bytes > self.limits.max_partial_bytes {
                let (csid, limit, at) = (s.csid, self.limits.max_partial_bytes, self.position);
                return Err(ChunkError::Partial { csid, limit, at });
            }
        }
        s.payload.extend_from_slice(&taken[..kept]);
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
        let payload = match self.keep {
            Keep::Head if is_media(s.type_id) => {
                let head = Head::new(&s.payload, s.length);
                s.payload.clear(); // its buffer serves the next message
                Payload::Head(head)
            }
            _ => {
                self.partial_bytes -= s.payload.capacity();
                Payload::Whole(Bytes::from(std::mem::take(&mut s.payload)))
            }
        };
        let message = RawMessage {
            csid: s.csid,
            type_id: s.type_id,
            stream_id: s.stream_id,
            time: WireTime(s.time),
            payload,
        };
        match (&message.payload, message.type_id) {
            (Payload::Whole(payload), type_id::SET_CHUNK_SIZE) => self.set_chunk_size(payload)?,
            (Payload::Whole(payload), type_id::ABORT) => self.abort(payload),
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

    /// A message begins.
    fn start(&mut self, h: &Header) {
        match h.fmt {
            // A message that follows with fmt 3 advances by this time again (§5.3.1.2.4, the FMLE way).
            0 => (self.time, self.delta, self.absolute) = (h.time, h.time, true),
            1 | 2 => {
                self.time = self.time.wrapping_add(h.time);
                (self.delta, self.absolute) = (h.time, false);
            }
            _ => match h.extended {
                // After an absolute time the field is read as one: a second step of over 4.6 hours is none.
                Some(time) if self.absolute => self.time = time,
                Some(delta) => self.time = self.time.wrapping_add(delta),
                None => self.time = self.time.wrapping_add(self.delta),
            },
        }
        self.extended = h.extended;
        (self.length, self.type_id, self.stream_id) = (h.length, h.type_id, h.stream_id);
        self.received = 0;
        self.under_way = true;
    }
}

const fn is_media(type_id: u8) -> bool {
    matches!(type_id, type_id::AUDIO | type_id::VIDEO)
}

#[cfg(test)]
mod tests {
    use super::super::writer::{basic_header, write_message};
    use super::*;
    use proptest::prelude::*;

    fn reader() -> ChunkReader {
        ChunkReader::new(Limits::default(), Keep::Whole)
    }

    fn read_all(r: &mut ChunkReader, mut input: &[u8]) -> Result<Vec<RawMessage>, ChunkError> {
        let mut messages = Vec::new();
        while let Some(m) = r.read(&mut input)? {
            messages.push(m);
        }
        assert!(input.is_empty());
        Ok(messages)
    }

    fn brief(messages: &[RawMessage]) -> Vec<(u32, u32, String)> {
        let text = |p: &Payload| match p {
            Payload::Whole(b) => String::from_utf8_lossy(b).into_owned(),
            Payload::Head(h) => format!("{}: {}", h.length, String::from_utf8_lossy(h.bytes())),
        };
        messages.iter().map(|m| (m.csid, m.time.0, text(&m.payload))).collect()
    }

    fn read(input: &[u8]) -> Result<Vec<(u32, u32, String)>, ChunkError> {
        read_all(&mut reader(), input).map(|m| brief(&m))
    }

    /// A message as the test below writes it: one of the four headers where they say the same.
    #[derive(Clone, Debug)]
    struct Sent {
        csid: u32,
        time: u32,
        payload: Vec<u8>,
        type_id: u8,
    }

    /// What the writing end remembers of a chunk stream.
    #[derive(Clone, Debug, Default)]
    struct Past {
        csid: u32,
        time: u32,
        delta: u32,
        length: usize,
        type_id: u8,
    }

    /// Writes messages with the shortest header that `fmt` allows, their chunks taking turns.
    fn write_interleaved(batch: &[(Sent, u8)], chunk: usize, repeat: bool, past: &mut Vec<Past>) -> Vec<u8> {
        let mut chunks: Vec<std::collections::VecDeque<Vec<u8>>> = Vec::new();
        for (m, shortest) in batch {
            let known = past.iter().position(|p| p.csid == m.csid);
            let p = known.map(|i| past[i].clone()).unwrap_or_default();
            let delta = m.time.wrapping_sub(p.time);
            let same = p.length == m.payload.len() && p.type_id == m.type_id;
            let mut fmt = match known {
                None => 0,
                Some(_) if same && delta == p.delta && delta < EXTENDED_TIME => 3,
                Some(_) if same => 2,
                Some(_) => 1,
            };
            fmt = fmt.min(*shortest);
            let field = match fmt {
                0 => m.time,
                _ => delta,
            };
            let extended = field >= EXTENDED_TIME;
            let mut queue = std::collections::VecDeque::new();
            for (i, part) in
                if m.payload.is_empty() { vec![&[][..]] } else { m.payload.chunks(chunk).collect() }
                    .into_iter()
                    .enumerate()
            {
                let mut out = Vec::new();
                basic_header(&mut out, if i == 0 { fmt } else { 3 }, m.csid);
                if i == 0 && fmt < 3 {
                    out.extend_from_slice(&field.min(EXTENDED_TIME).to_be_bytes()[1..]);
                    if fmt < 2 {
                        out.extend_from_slice(&(m.payload.len() as u32).to_be_bytes()[1..]);
                        out.push(m.type_id);
                    }
                    if fmt == 0 {
                        out.extend_from_slice(&1u32.to_le_bytes());
                    }
                }
                if extended && (i == 0 || repeat) {
                    out.extend_from_slice(&field.to_be_bytes());
                }
                out.extend_from_slice(part);
                queue.push_back(out);
            }
            chunks.push(queue);
            let new = Past {
                csid: m.csid,
                time: m.time,
                delta: field,
                length: m.payload.len(),
                type_id: m.type_id,
            };
            match known {
                Some(i) => past[i] = new,
                None => past.push(new),
            }
        }
        let mut out = Vec::new();
        while chunks.iter().any(|q| !q.is_empty()) {
            chunks.iter_mut().for_each(|q| out.extend(q.pop_front().unwrap_or_default()));
        }
        out
    }

    fn any_batches() -> impl Strategy<Value = Vec<Vec<(Sent, u8)>>> {
        // Deltas repeat, wrap and cross the extended limit; payloads never look like a timestamp.
        let times = prop::sample::select(vec![0u32, 40, 40, 40, 0xff_fffe, 0xff_ffff, 0x0100_0000, 0xffff_fff0]);
        let sent = (times, prop::sample::select(vec![0usize, 1, 5, 5, 5, 200, 300]), 8u8..10, 0u8..4);
        let csids = prop::sample::subsequence(vec![2u32, 6, 63, 64, 319, 320, 65599], 1..5);
        let batch = csids.prop_flat_map(move |csids| {
            let n = csids.len();
            prop::collection::vec(sent.clone(), n).prop_map(move |sent| {
                let of = |(i, (time, length, type_id, fmt)): (usize, (u32, usize, u8, u8))| {
                    (Sent { csid: csids[i], time, payload: vec![0xee; length], type_id }, fmt)
                };
                sent.into_iter().enumerate().map(of).collect::<Vec<_>>()
            })
        });
        prop::collection::vec(batch, 1..8)
    }

    proptest! {
        #[test]
        fn any_headers_interleaving_and_cutting_give_the_same_messages(
            mut batches in any_batches(), chunk in 1usize..200, repeat: bool, cut in 1usize..40,
        ) {
            let (mut past, mut clocks) = (Vec::new(), std::collections::HashMap::new());
            let (mut stream, mut sent) = (Vec::new(), Vec::new());
            stream.extend_from_slice(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0");
            stream.extend_from_slice(&(chunk as u32).to_be_bytes());
            for batch in &mut batches {
                for (m, _) in batch.iter_mut() {
                    // The times drawn are steps of each chunk stream's clock.
                    let clock = clocks.entry(m.csid).or_insert(0u32);
                    *clock = clock.wrapping_add(m.time);
                    m.time = *clock;
                }
                stream.extend(write_interleaved(batch, chunk, repeat, &mut past));
                sent.extend(batch.iter().map(|(m, _)| m.clone()));
            }
            let whole = read_all(&mut reader(), &stream).unwrap();
            let mut pieces = Vec::new();
            let mut r = reader();
            for piece in stream.chunks(cut) {
                pieces.extend(read_all(&mut r, piece).unwrap());
            }
            prop_assert_eq!(&whole, &pieces);
            prop_assert_eq!(r.position(), stream.len() as u64);
            // Messages end in another order than they began; compare per chunk stream.
            for csid in [2u32, 6, 63, 64, 319, 320, 65599] {
                let got: Vec<_> = whole.iter().filter(|m| m.csid == csid)
                    .map(|m| (m.time.0, m.type_id, m.payload.clone())).collect();
                let want: Vec<_> = sent.iter().filter(|m| m.csid == csid)
                    .map(|m| (m.time, m.type_id, Payload::Whole(m.payload.clone().into()))).collect();
                prop_assert_eq!(got, want, "csid {}", csid);
            }
        }

        #[test]
        fn what_the_writer_writes_is_read(
            csid in prop::sample::select(vec![2u32, 7, 63, 64, 319, 320, 65599]), time: u32,
            payload in prop::collection::vec(any::<u8>(), 0..600), chunk_bytes in 1u32..300, at in 0usize..600,
        ) {
            let mut out = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0".to_vec();
            out.extend_from_slice(&chunk_bytes.to_be_bytes());
            let (a, b) = payload.split_at(at.min(payload.len()));
            write_message(&mut out, csid, 9, 1, WireTime(time), &[a, b], chunk_bytes);
            let read = read_all(&mut reader(), &out).unwrap();
            let payload = Payload::Whole(payload.clone().into());
            prop_assert_eq!(read, [RawMessage { csid, type_id: 9, stream_id: 1, time: WireTime(time), payload }]);
        }

        #[test]
        fn garbage_never_panics_and_stays_within_the_limits(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..8, 0xc0u8..0xc8], 0..2000), cut in 1usize..50,
        ) {
            let limits = Limits { max_partial_bytes: 1000, ..Limits::default() };
            let mut r = ChunkReader::new(limits, Keep::Whole);
            for piece in bytes.chunks(cut) {
                if read_all(&mut r, piece).is_err() {
                    break;
                }
                prop_assert!(r.partial_bytes <= 1000);
                prop_assert_eq!(r.partial_bytes, r.streams.iter().map(|s| s.payload.capacity()).sum::<usize>());
            }
        }
    }

    #[test]
    fn fmt_3_starts_messages_with_the_last_delta() {
        let first = b"\x04\0\0\x0a\0\0\x01\x08\x01\0\0\0A";
        let expect = |times: [u32; 4]| {
            let texts = ["A", "B", "C", "D"];
            Ok(times.iter().zip(texts).map(|(t, s)| (4, *t, s.to_owned())).collect::<Vec<_>>())
        };
        // fmt 0 at 10, then fmt 3 twice: 10 is the delta as well. Then fmt 2 sets another.
        assert_eq!(read(&[&first[..], b"\xc4B\xc4C\x84\0\0\x05D"].concat()), expect([10, 20, 30, 35]));
        assert_eq!(read(&[&first[..], b"\x84\0\0\x05B\xc4C\xc4D"].concat()), expect([10, 15, 20, 25]));
        assert_eq!(
            read(&[&first[..], b"\x44\0\0\x07\0\0\x01\x08B\xc4C\x04\0\0\x01\0\0\x01\x08\x01\0\0\0D"].concat()),
            expect([10, 17, 24, 1])
        );
    }

    #[test]
    fn an_extended_time_may_be_repeated_or_not() {
        let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x04";
        let head = b"\x06\xff\xff\xff\0\0\x06\x09\x01\0\0\0\x01\0\0\x05abcd";
        let want = Ok(vec![(6, 0x0100_0005, "abcdef".to_owned())]);
        assert_eq!(read(&[&set[..], head, b"\xc6\x01\0\0\x05ef"].concat()), want);
        assert_eq!(read(&[&set[..], head, b"\xc6ef"].concat()), want, "payload shorter than the field");
        // A payload that begins like the field is not taken for it, in one piece or in two.
        let mut r = reader();
        let parts = [&set[..], head, b"\xc6\x01"].concat();
        assert_eq!(read_all(&mut r, &parts), Ok(vec![]));
        assert_eq!(brief(&read_all(&mut r, b"z\xc6\x01\0\0\x0aA").unwrap()).len(), 1);
        let got = read(&[&set[..], head, b"\xc6\x01z"].concat()).unwrap();
        assert_eq!(got[0].2, "abcd\x01z");
        // A delta may be extended, and is one.
        let delta = b"\x46\xff\xff\xff\0\0\x01\x09\x01\0\0\0X\xc6\x01\0\0\0Y";
        let got = read(&[&b"\x06\0\0\x05\0\0\x01\x09\x01\0\0\0W"[..], delta].concat()).unwrap();
        let times: Vec<u32> = got.iter().map(|m| m.1).collect();
        assert_eq!(times, [5, 0x0100_0005, 0x0200_0005]);
    }

    #[test]
    fn times_wrap_at_32_bits() {
        let bytes = b"\x06\xff\xff\xff\0\0\x01\x09\x01\0\0\0\xff\xff\xff\xf0A\x86\0\0\x28B\xc6C";
        let times: Vec<u32> = read(bytes).unwrap().iter().map(|m| m.1).collect();
        assert_eq!(times, [0xffff_fff0, 0x18, 0x40]);
    }

    #[test]
    fn a_first_chunk_may_have_fmt_1_but_not_less() {
        // librtmp's ping on chunk stream 2.
        assert_eq!(read(b"\x42\0\0\x01\0\0\x01\x04P").unwrap(), [(2, 1, "P".to_owned())]);
        assert_eq!(read(b"\x86\0\0\0"), Err(ChunkError::NoHeader { csid: 6, fmt: 2, at: 4 }));
        assert_eq!(read(b"\xc6x"), Err(ChunkError::NoHeader { csid: 6, fmt: 3, at: 1 }));
    }

    #[test]
    fn a_message_cannot_be_interrupted_in_its_own_chunk_stream() {
        let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x02";
        let head = b"\x06\0\0\0\0\0\x05\x09\x01\0\0\0ab";
        let error = |fmt, at| Err(ChunkError::Interrupted { csid: 6, fmt, missing_bytes: 3, at });
        assert_eq!(read(&[&set[..], head, head].concat()), error(0, 42));
        assert_eq!(read(&[&set[..], head, b"\x46\0\0\0\0\0\x04\x09cd"].concat()), error(1, 38));
        let ok = Ok(vec![(6, 0, "abcde".to_owned())]);
        assert_eq!(read(&[&set[..], head, b"\x46\0\0\x09\0\0\x05\x09cd\xc6e"].concat()), ok);
    }

    #[test]
    fn abort_forgets_the_message_under_way() {
        let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x04";
        let head = b"\x06\0\0\0\0\0\x06\x09\x01\0\0\0abcd";
        let abort = b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x06";
        let next = b"\x06\0\0\x07\0\0\x02\x09\x01\0\0\0xy";
        let mut r = reader();
        let got = read_all(&mut r, &[&set[..], head, abort, next].concat()).unwrap();
        assert_eq!((brief(&got), r.partial_bytes), (vec![(6, 7, "xy".to_owned())], 0));
    }

    #[test]
    fn lengths_streams_and_chunk_sizes_are_bounded() {
        let at = 12;
        let long = b"\x03\0\0\0\xff\xff\xff\x14\0\0\0\0";
        let limit = Limits::default().max_script_bytes;
        assert_eq!(
            read(long),
            Err(ChunkError::TooLong { csid: 3, type_id: 20, bytes: 0xff_ffff, limit, at })
        );
        let mut r = reader();
        assert_eq!(read_all(&mut r, b"\x06\0\0\0\xff\xff\xff\x09\0\0\0\0abc"), Ok(vec![]));
        assert!(r.partial_bytes < 10, "{} bytes for 3 that arrived", r.partial_bytes);
        assert_eq!(read(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\0"), Err(ChunkError::ChunkSize { at: 16 }));
        assert_eq!(read(b"\x02\0\0\0\0\0\x02\x01\0\0\0\0\0\0"), Err(ChunkError::ChunkSize { at: 14 }));
        let many: Vec<u8> = (0..65u8).flat_map(|i| [0, i, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]).collect();
        assert!(matches!(read(&many), Err(ChunkError::Streams { csid: 128, limit: 64, .. })));
    }

    #[test]
    fn a_skimming_reader_keeps_only_heads_and_no_more_memory() {
        let mut r = ChunkReader::new(Limits::default(), Keep::Head);
        let body = vec![b'x'; 5000];
        for _ in 0..3 {
            let mut out = Vec::new();
            write_message(&mut out, 6, 9, 1, WireTime(40), &[b"head", &body], 128);
            write_message(&mut out, 3, 20, 0, WireTime(0), &[b"command"], 128);
            let got = read_all(&mut r, &out).unwrap();
            let Payload::Head(head) = &got[0].payload else { panic!("{got:?}") };
            assert_eq!((head.length, head.bytes().len(), &head.bytes()[..5]), (5004, HEAD_BYTES, &b"headx"[..]));
            assert_eq!(got[1].payload, Payload::Whole("command".into()));
            assert_eq!(r.partial_bytes, HEAD_BYTES);
        }
    }
}
