//! A player of HTTP-FLV: one GET, a response head, chunked or plain, and the FLV file that never ends.

use super::{Error, Event, Wire};
use crate::stamp;
use crate::target::Target;
use srs_shard::formats::flv::{self, Role};
use srs_shard::formats::flv_file::{self, FlvReader};
use srs_shard::formats::message::Kind;

/// A longer response head is an error.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// A longer line with a chunk's length is an error (RFC 9112 §7.1 allows extensions in it).
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// The player's side of HTTP-FLV.
#[derive(Debug)]
pub(crate) struct HttpFlv {
    request: String,
    body: Body,
    /// A response head or chunk line that is not whole yet.
    line: Vec<u8>,
    flv: FlvReader,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Head,
    Plain,
    ChunkLine,
    /// Bytes of the chunk that are missing.
    Chunk(u64),
    /// The line end behind a chunk: bytes of it that are missing.
    ChunkEnd(u8),
}

impl HttpFlv {
    pub(crate) fn new(target: &Target) -> HttpFlv {
        let path = if target.path.is_empty() { "/" } else { &target.path };
        let (authority, version) = (&target.authority, env!("CARGO_PKG_VERSION"));
        HttpFlv {
            request: format!(
                "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: srs-load/{version}\r\n\r\n"
            ),
            body: Body::Head,
            line: Vec::new(),
            flv: FlvReader::new(flv_file::MAX_BODY_BYTES),
            total: 0,
        }
    }

    /// Takes bytes of the response head; says whether it is whole.
    fn head(&mut self, bytes: &mut &[u8]) -> Result<bool, Error> {
        let had = self.line.len();
        self.line.extend_from_slice(bytes);
        let Some(end) = self.line.windows(4).position(|w| w == b"\r\n\r\n") else {
            *bytes = &[];
            let long = self.line.len() > MAX_HEAD_BYTES;
            return if long { Err(Error::Refused("endless response head".into())) } else { Ok(false) };
        };
        let head = String::from_utf8_lossy(&self.line[..end]).into_owned();
        *bytes = &bytes[end + 4 - had..];
        self.line.clear();
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            return Err(Error::Refused(status.into()));
        }
        let chunked = head.lines().skip(1).any(|line| {
            let line = line.to_ascii_lowercase();
            line.starts_with("transfer-encoding:") && line.ends_with("chunked")
        });
        self.body = if chunked { Body::ChunkLine } else { Body::Plain };
        Ok(true)
    }

    /// Takes bytes of the line before a chunk.
    fn chunk_line(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
        let (line, rest) = bytes.split_at(end);
        self.line.extend_from_slice(line);
        *bytes = rest;
        if self.line.len() > MAX_CHUNK_LINE_BYTES {
            return Err("endless chunk line".into());
        }
        if self.line.last() == Some(&b'\n') {
            let line = String::from_utf8_lossy(&self.line).into_owned();
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16).map_err(|_| format!("chunk length '{digits}'"))?;
            self.body = Body::Chunk(length);
            self.line.clear();
        }
        Ok(())
    }

    fn take(&mut self, bytes: &mut &[u8], on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let broken = |at: u64, what: String| Error::Broken { at, what };
        match self.body {
            Body::Head => {
                if self.head(bytes)? {
                    on(Event::Started);
                }
            }
            Body::Plain => self.flv(std::mem::take(bytes), on)?,
            Body::ChunkLine => self.chunk_line(bytes).map_err(|what| broken(self.total, what))?,
            Body::Chunk(0) => return Err(Error::Ended),
            Body::Chunk(missing) => {
                let here = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
                let (data, rest) = bytes.split_at(here);
                *bytes = rest;
                let missing = missing - here as u64;
                self.body = if missing == 0 { Body::ChunkEnd(2) } else { Body::Chunk(missing) };
                self.flv(data, on)?;
            }
            Body::ChunkEnd(missing) => {
                let expected = if missing == 2 { b'\r' } else { b'\n' };
                if bytes.first() != Some(&expected) {
                    return Err(broken(self.total, "a chunk is longer than it said".into()));
                }
                *bytes = &bytes[1..];
                self.body = if missing == 2 { Body::ChunkEnd(1) } else { Body::ChunkLine };
            }
        }
        Ok(())
    }

    fn flv(&mut self, bytes: &[u8], on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        self.flv.push(bytes);
        let broken = |e: flv_file::FlvError| Error::Broken { at: self.total, what: e.to_string() };
        while let Some(event) = self.flv.poll().map_err(broken)? {
            if let flv_file::Event::Message(message) = event {
                on(media(message.kind, &message.payload));
            }
        }
        Ok(())
    }
}

/// What a media message tells.
pub(crate) fn media(kind: Kind, payload: &[u8]) -> Event {
    let role = if kind == Kind::Video { flv::inspect(kind, payload).role } else { Role::Other };
    let picture = matches!(role, Role::Key | Role::Coded);
    Event::Message { key: role == Role::Key, sent_ns: if picture { stamp::read(payload) } else { None } }
}

impl Wire for HttpFlv {
    fn connected(&mut self, out: &mut Vec<u8>, _: &mut dyn FnMut(Event)) -> Result<(), Error> {
        out.extend_from_slice(self.request.as_bytes());
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8], _: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let fed = bytes.len();
        while !bytes.is_empty() {
            self.take(&mut bytes, on)?;
            // An empty chunk ends the body, whether or not the line behind it has come.
            if self.body == Body::Chunk(0) {
                return Err(Error::Ended);
            }
        }
        self.total += fed as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::targets;
    use proptest::prelude::*;
    use srs_shard::formats::message::WireTime;

    fn player() -> HttpFlv {
        let all = targets("http://127.0.0.1:8080/live/s.flv", None).expect("a good URL");
        HttpFlv::new(&all[0])
    }

    fn file() -> Vec<u8> {
        let mut out = Vec::new();
        flv_file::write_header(true, true, &mut out);
        flv_file::write_tag(Kind::Video, WireTime(0), b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1", &mut out);
        flv_file::write_tag(Kind::Audio, WireTime(0), b"\xaf\x01abc", &mut out);
        let stamped = [&b"\x17\x01\0\0\0"[..], &stamp::UUID, b"00000000000000ff"].concat();
        flv_file::write_tag(Kind::Video, WireTime(0), &stamped, &mut out);
        out
    }

    fn chunked(body: &[u8], each: usize) -> Vec<u8> {
        let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.chunks(each) {
            out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn play(parts: &[&[u8]]) -> (Vec<Event>, Result<(), Error>) {
        let (mut player, mut events) = (player(), Vec::new());
        let mut all =
            || parts.iter().try_for_each(|p| player.feed(p, &mut Vec::new(), &mut |e| events.push(e)));
        let result = all();
        (events, result)
    }

    const EXPECTED: [Event; 4] = [
        Event::Started,
        Event::Message { key: false, sent_ns: None },
        Event::Message { key: false, sent_ns: None },
        Event::Message { key: true, sent_ns: Some(255) },
    ];

    proptest! {
        #[test]
        fn cut_anywhere_it_reads_the_same(each in 1usize..80, cut in 0usize..400) {
            let bytes = chunked(&file(), each);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(play(&[a, b]), (EXPECTED.to_vec(), Ok(())));
        }
    }

    #[test]
    fn a_plain_body_and_its_end() {
        let plain = [&b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n"[..], &file()].concat();
        assert_eq!(play(&[&plain]), (EXPECTED.to_vec(), Ok(())));
        let ended = [&chunked(&file(), 50)[..], b"0\r\n\r\n"].concat();
        assert_eq!(play(&[&ended]), (EXPECTED.to_vec(), Err(Error::Ended)));
    }

    #[test]
    fn refusals_and_broken_bodies_are_told() {
        let refused = play(&[b"HTTP/1.1 404 Not Found\r\n\r\n"]).1;
        assert_eq!(refused, Err(Error::Refused("HTTP/1.1 404 Not Found".into())));
        for body in [&b"zz\r\n"[..], b"3\r\nFLVx", b"3\r\nXYZ\r\n"] {
            let bytes = [&chunked(&[], 1)[..], body].concat();
            assert!(matches!(play(&[&bytes]).1, Err(Error::Broken { .. })), "{body:?}");
        }
    }
}
