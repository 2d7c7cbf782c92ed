//! FLV files and HTTP-FLV bodies (Adobe FLV 10.1 §E.2, §E.3): written tag by tag, read incrementally.

use super::bits::{Reader, Short};
use super::message::{Kind, Message, WireTime};
use bytes::Bytes;

/// Length of a tag's header.
pub const TAG_HEADER_BYTES: usize = 11;
/// The tag's size again, behind it (FLV 10.1 §E.3).
pub const TAG_SIZE_BYTES: usize = 4;
/// The largest tag body: `DataSize` has 24 bits.
pub const MAX_BODY_BYTES: usize = 0xff_ffff;

/// Appends the file header and `PreviousTagSize0`.
pub fn write_header(has_audio: bool, has_video: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"FLV\x01");
    out.push(u8::from(has_audio) << 2 | u8::from(has_video));
    out.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0]);
}

/// Appends a tag and its `PreviousTagSize`; nothing if the body is longer than a tag can hold.
pub fn write_tag(kind: Kind, time: WireTime, body: &[u8], out: &mut Vec<u8>) {
    if body.len() > MAX_BODY_BYTES {
        return;
    }
    let [ms_31_24, ms_23_16, ms_15_8, ms_7_0] = time.0.to_be_bytes();
    let [_, size_23_16, size_15_8, size_7_0] = (body.len() as u32).to_be_bytes();
    out.reserve(TAG_HEADER_BYTES + body.len() + TAG_SIZE_BYTES);
    out.extend_from_slice(&[kind.type_id(), size_23_16, size_15_8, size_7_0]);
    out.extend_from_slice(&[ms_23_16, ms_15_8, ms_7_0, ms_31_24, 0, 0, 0]);
    out.extend_from_slice(body);
    out.extend_from_slice(&((TAG_HEADER_BYTES + body.len()) as u32).to_be_bytes());
}

/// A tag's header, also that of each part of an RTMP aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHead {
    /// The type, with the filter bit above it.
    pub type_id: u8,
    /// Length of the body that follows.
    pub body_bytes: usize,
    /// Timestamp.
    pub time: WireTime,
}

impl TagHead {
    /// Reads one.
    ///
    /// # Errors
    /// If there are not [`TAG_HEADER_BYTES`].
    pub fn read(r: &mut Reader<'_>) -> Result<TagHead, Short> {
        let (type_id, body_bytes, low, high) = (r.u8()?, r.u24()? as usize, r.u24()?, r.u8()?);
        r.u24()?; // StreamID
        Ok(TagHead { type_id, body_bytes, time: WireTime(u32::from(high) << 24 | low) })
    }
}

/// What an FLV file consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The file header, once, first.
    Header {
        /// The file says that it has audio.
        has_audio: bool,
        /// The file says that it has video.
        has_video: bool,
    },
    /// A tag.
    Message(Message),
}

/// What makes bytes no FLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The first three bytes are not `FLV`.
    #[error("byte 0: no FLV signature")]
    Signature,
    /// The header claims a length under 9, or an absurd one.
    #[error("byte 5: header length {0}")]
    HeaderLength(u32),
    /// A tag longer than the reader accepts.
    #[error("byte {at}: tag of {bytes} bytes, at most {limit} are accepted")]
    TooLong {
        /// Offset of the tag.
        at: u64,
        /// Its claimed body length.
        bytes: usize,
        /// The reader's limit.
        limit: usize,
    },
    /// A tag whose payload is encrypted (filter bit).
    #[error("byte {at}: encrypted tag")]
    Encrypted {
        /// Offset of the tag.
        at: u64,
    },
}

/// The messages of a file in memory. A last tag that is cut short is left out, as are tags of unknown types.
///
/// # Errors
/// If it is no FLV; see [`FlvError`].
pub fn messages(file: &[u8]) -> Result<Vec<Message>, FlvError> {
    let mut reader = FlvReader::new(MAX_BODY_BYTES);
    reader.push(file);
    let mut all = Vec::new();
    while let Some(event) = reader.poll()? {
        if let Event::Message(message) = event {
            all.push(message);
        }
    }
    Ok(all)
}

/// Reads FLV as it comes. [`push`](Self::push) bytes, then [`poll`](Self::poll) until it has nothing more.
///
/// Holds at most one tag and what was pushed. Tags of unknown types are skipped. An error is final: what
/// follows has no known boundary.
#[derive(Debug)]
pub struct FlvReader {
    buffer: Vec<u8>,
    read: usize,
    offset: u64,
    limit: usize,
    header_done: bool,
}

/// Longest header that is accepted; the format itself has 9 bytes.
const MAX_HEADER_BYTES: u32 = 1024;

impl FlvReader {
    /// A reader at the start of a file that refuses tag bodies over `max_body_bytes`.
    pub const fn new(max_body_bytes: usize) -> FlvReader {
        FlvReader { buffer: Vec::new(), read: 0, offset: 0, limit: max_body_bytes, header_done: false }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// If the bytes are no FLV; see [`FlvError`].
    pub fn poll(&mut self) -> Result<Option<Event>, FlvError> {
        if !self.header_done {
            return self.header();
        }
        while let Some((size, message)) = self.tag()? {
            self.consume(size);
            if message.is_some() {
                return Ok(message.map(Event::Message));
            }
        }
        Ok(None)
    }

    /// Whether the file ended between two tags, if it ends now.
    pub fn is_at_boundary(&self) -> bool {
        self.unread().is_empty()
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    fn consume(&mut self, size: usize) {
        self.read += size;
        self.offset += size as u64;
    }

    fn header(&mut self) -> Result<Option<Event>, FlvError> {
        let bytes = self.unread();
        if !b"FLV".starts_with(bytes.get(..3).unwrap_or(bytes)) {
            return Err(FlvError::Signature);
        }
        let mut r = Reader::new(bytes);
        let (Ok(_), Ok(flags), Ok(length)) = (r.take(4), r.u8(), r.u32()) else { return Ok(None) };
        if !(9..=MAX_HEADER_BYTES).contains(&length) {
            return Err(FlvError::HeaderLength(length));
        }
        let whole = length as usize + TAG_SIZE_BYTES;
        if bytes.len() < whole {
            return Ok(None);
        }
        self.consume(whole);
        self.header_done = true;
        Ok(Some(Event::Header { has_audio: flags & 4 != 0, has_video: flags & 1 != 0 }))
    }

    /// The tag at the read position: its whole length, and its message if the type is known.
    fn tag(&self) -> Result<Option<(usize, Option<Message>)>, FlvError> {
        let mut r = Reader::new(self.unread());
        let Ok(head) = TagHead::read(&mut r) else { return Ok(None) };
        let (at, bytes) = (self.offset, head.body_bytes);
        if bytes > self.limit {
            return Err(FlvError::TooLong { at, bytes, limit: self.limit });
        }
        let (Ok(body), Ok(_)) = (r.take(bytes), r.u32()) else { return Ok(None) };
        let kind = Kind::of_type_id(head.type_id & 0x1f);
        if kind.is_some() && head.type_id & 0x20 != 0 {
            return Err(FlvError::Encrypted { at });
        }
        let message =
            kind.map(|kind| Message { kind, time: head.time, payload: Bytes::copy_from_slice(body) });
        Ok(Some((r.position(), message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, FlvError> {
        let mut reader = FlvReader::new(MAX_BODY_BYTES);
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece);
            while let Some(event) = reader.poll()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn some_messages() -> impl Strategy<Value = Vec<Message>> {
        let kind = prop_oneof![Just(Kind::Audio), Just(Kind::Video), Just(Kind::Data)];
        let body = prop::collection::vec(any::<u8>(), 0..60);
        let message = (kind, any::<u32>(), body).prop_map(|(kind, time, body)| Message {
            kind,
            time: WireTime(time),
            payload: body.into(),
        });
        prop::collection::vec(message, 0..8)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(all in some_messages(), cut in any::<prop::sample::Index>()) {
            let mut file = Vec::new();
            write_header(true, false, &mut file);
            for m in &all {
                write_tag(m.kind, m.time, &m.payload, &mut file);
            }
            let mut expected = vec![Event::Header { has_audio: true, has_video: false }];
            expected.extend(all.into_iter().map(Event::Message));
            let at = cut.index(file.len());
            prop_assert_eq!(read(&[&file[..at], &file[at..]]).unwrap(), &expected[..]);
            let bytes: Vec<&[u8]> = file.chunks(1).collect();
            prop_assert_eq!(read(&bytes).unwrap(), expected);
        }

        #[test]
        fn a_file_cut_anywhere_has_the_whole_tags_before_the_cut(all in some_messages(), cut in any::<prop::sample::Index>()) {
            let (mut file, mut ends) = (Vec::new(), Vec::new());
            write_header(true, true, &mut file);
            for m in &all {
                write_tag(m.kind, m.time, &m.payload, &mut file);
                ends.push(file.len());
            }
            let at = cut.index(file.len() + 1);
            let whole = ends.iter().filter(|end| **end <= at).count();
            prop_assert_eq!(messages(&file[..at]).unwrap(), &all[..whole]);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&[&bytes]);
            let _ = read(&[b"FLV\x01\x05\0\0\0\x09\0\0\0\0", &bytes]);
        }
    }

    #[test]
    fn what_is_no_flv_is_refused_at_once() {
        assert_eq!(read(&[b"GI"]), Err(FlvError::Signature));
        assert_eq!(read(&[b"FLV\x01\x05\0\0\0\x08"]), Err(FlvError::HeaderLength(8)));
        let mut reader = FlvReader::new(100);
        reader.push(b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09\x00\x00\x65\0\0\0\0\0\0\0");
        assert!(matches!(reader.poll(), Ok(Some(Event::Header { .. }))));
        assert_eq!(reader.poll(), Err(FlvError::TooLong { at: 13, bytes: 101, limit: 100 }));
    }

    #[test]
    fn tags_of_other_types_are_skipped() {
        let mut file = Vec::new();
        write_header(true, true, &mut file);
        write_tag(Kind::Audio, WireTime(7), b"x", &mut file);
        let tag = file.len() - 16;
        file[tag] = 15;
        assert_eq!(read(&[&file]).unwrap().len(), 1);
    }
}
