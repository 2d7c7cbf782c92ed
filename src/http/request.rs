//! Requests, read incrementally (RFC 9112 §2–§7).
//!
//! [`Parser::feed`] takes what a socket gave, [`Parser::poll`] gives a request's head, its body in pieces and its
//! end, one event per call, until it says `None`: then it needs more bytes. A connection that waits for a request
//! holds no buffer. Whatever two servers could read in two ways (RFC 9112 §11.2, request smuggling) is refused.

use super::url::{PathError, Query, clean_path, split_host_port};
use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// A head (request line and headers) longer than this is answered with 431.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A request target longer than this is answered with 414.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// A head with more headers than this is answered with 431.
pub const MAX_HEADERS: usize = 64;
/// The usual limit of a body, whether kept or dropped; above it 413.
pub const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// A chunk's size line with extensions (RFC 9112 §7.1.1).
const MAX_CHUNK_LINE_BYTES: usize = 256;
/// All trailer lines of a chunked body together.
const MAX_TRAILER_BYTES: usize = 4 * 1024;

/// What to send to a client that waits for leave to send its body ([`Request::expects_continue`]).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    /// None of these, so nothing here takes it: 405.
    Other,
}

impl Method {
    /// Reads the name of a method that we know; they are case-sensitive (RFC 9110 §9.1).
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            "PATCH" => Method::Patch,
            _ => return None,
        })
    }

    /// The method as in the request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Other => "OTHER",
        }
    }
}

/// The protocol version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closes unless asked to keep alive.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Headers in the order sent. Values that are no UTF-8 have U+FFFD in place of the bad bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header, its name in any case.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Names and values as sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether a header whose value is a comma list has this token, in any case.
    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// `Content-Length`, in bytes, above 0.
    Fixed(u64),
    /// Chunked: known at its end.
    Chunked,
}

/// A request's head, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The protocol version.
    pub version: Version,
    /// Host in lower case, without port and brackets: of an absolute target, else of `Host`; empty if neither
    /// names one (HTTP/1.0).
    pub host: String,
    /// The port named with the host.
    pub port: Option<u16>,
    /// Decoded, clean path ([`clean_path`]); `*` for `OPTIONS *`.
    pub path: String,
    /// The query.
    pub query: Query,
    /// All headers.
    pub headers: Headers,
    /// Whether the connection may take another request after this one (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// How its body is framed.
    pub body: BodyLength,
    /// The client waits for [`CONTINUE`], or a final answer, before it sends the body.
    pub expects_continue: bool,
}

/// What [`Parser::poll`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request's head.
    Request(Box<Request>),
    /// Bytes of its body. They share the parser's buffer: copy what is kept for long.
    Body(Bytes),
    /// The body, empty or not, is complete: the next event is another request.
    End,
}

/// Why a request is refused. The connection must be closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("request: first byte 0x{0:02x} is not HTTP")]
    NotHttp(u8),
    #[error("request: malformed head: {0}")]
    BadHead(&'static str),
    #[error("request target: {0}")]
    BadPath(#[from] PathError),
    #[error("request: framing could be read in two ways: {0}")]
    AmbiguousFraming(&'static str),
    #[error("request body: {0}")]
    BadChunk(&'static str),
    #[error("request target: longer than {MAX_TARGET_BYTES} bytes")]
    TargetTooLong,
    #[error("request head: longer than {MAX_HEAD_BYTES} bytes or more than {MAX_HEADERS} headers")]
    HeadTooLarge,
    #[error("request body: longer than {limit_bytes} bytes")]
    BodyTooLarge { limit_bytes: u64 },
    #[error("request: HTTP version is not 1.0 or 1.1")]
    Version,
    #[error("request: CONNECT or a transfer coding that is not implemented")]
    NotImplemented,
}

impl Error {
    /// The status to answer with.
    pub const fn status(&self) -> u16 {
        match self {
            Error::BodyTooLarge { .. } => 413,
            Error::TargetTooLong => 414,
            Error::HeadTooLarge => 431,
            Error::NotImplemented => 501,
            Error::Version => 505,
            _ => 400,
        }
    }
}

/// Reads the requests of one connection.
///
/// After each `feed`, `poll` until it gives `None`, an error, or a request that is to be answered first; do not
/// feed more before it gave `None`, so at most one read beyond [`MAX_HEAD_BYTES`] is ever held.
#[derive(Debug)]
pub struct Parser {
    buffer: BytesMut,
    state: State,
    /// Body bytes of this request so far.
    body_bytes: u64,
    max_body_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The buffer starts with a head; its end is not before `searched`.
    Head {
        searched: usize,
    },
    Fixed {
        left: u64,
    },
    ChunkSize,
    ChunkData {
        left: u64,
    },
    ChunkEnd,
    Trailers {
        bytes: usize,
    },
    End,
    Failed(Error),
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(MAX_BODY_BYTES)
    }
}

impl Parser {
    /// A parser whose requests may have bodies of this length.
    pub fn new(max_body_bytes: u64) -> Self {
        Self { buffer: BytesMut::new(), state: State::Head { searched: 0 }, body_bytes: 0, max_body_bytes }
    }

    /// Takes bytes of the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event, `None` if more bytes are needed. After an error it gives that error for ever.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        let step = self.step();
        match &step {
            Ok(Some(_)) => {}
            Ok(None) => self.shrink(),
            Err(error) => {
                self.state = State::Failed(*error);
                self.buffer = BytesMut::new();
            }
        }
        step
    }

    /// Whether part of a request has arrived: between requests a connection may idle longer, and be closed
    /// without an answer.
    pub fn is_mid_request(&self) -> bool {
        !matches!(self.state, State::Head { .. }) || !self.buffer.is_empty()
    }

    /// Bytes held for a request that is not complete.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Gives memory back: of a large read only the remainder is worth keeping.
    fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        } else if self.buffer.capacity() > 2 * self.buffer.len() + 1024 {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
    }

    fn step(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.state {
                State::Head { searched } => return self.head(searched),
                State::Fixed { left: 0 } => self.state = State::End,
                State::Fixed { left } => {
                    let Some(piece) = self.take(left) else { return Ok(None) };
                    self.state = State::Fixed { left: left - piece.len() as u64 };
                    return Ok(Some(Event::Body(piece)));
                }
                State::ChunkSize => {
                    let Some(line) = self.line(MAX_CHUNK_LINE_BYTES)? else { return Ok(None) };
                    let size = chunk_size(&line)?;
                    self.body_bytes = self.body_bytes.saturating_add(size);
                    if self.body_bytes > self.max_body_bytes {
                        return Err(Error::BodyTooLarge { limit_bytes: self.max_body_bytes });
                    }
                    self.state = match size {
                        0 => State::Trailers { bytes: 0 },
                        left => State::ChunkData { left },
                    };
                }
                State::ChunkData { left: 0 } => self.state = State::ChunkEnd,
                State::ChunkData { left } => {
                    let Some(piece) = self.take(left) else { return Ok(None) };
                    self.state = State::ChunkData { left: left - piece.len() as u64 };
                    return Ok(Some(Event::Body(piece)));
                }
                State::ChunkEnd => match self.line(0)? {
                    None => return Ok(None),
                    Some(_) => self.state = State::ChunkSize,
                },
                State::Trailers { bytes } => {
                    let Some(line) = self.line(MAX_TRAILER_BYTES - bytes)? else { return Ok(None) };
                    self.state = match line.len() {
                        0 => State::End,
                        length => State::Trailers { bytes: (bytes + length).min(MAX_TRAILER_BYTES) },
                    };
                }
                State::End => {
                    self.state = State::Head { searched: 0 };
                    self.body_bytes = 0;
                    return Ok(Some(Event::End));
                }
                State::Failed(error) => return Err(error),
            }
        }
    }

    /// Up to `most` bytes of what is there, `None` if nothing is.
    fn take(&mut self, most: u64) -> Option<Bytes> {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len());
        (length > 0).then(|| self.buffer.split_to(length).freeze())
    }

    /// A line of a chunked body without its CRLF; a bare LF or CR is an error (RFC 9112 §7.1, §11.2).
    fn line(&mut self, max_bytes: usize) -> Result<Option<BytesMut>, Error> {
        let window = self.buffer.get(..max_bytes + 2).unwrap_or(&self.buffer);
        match window.iter().position(|&b| b == b'\r' || b == b'\n') {
            Some(at) if at > max_bytes => Err(Error::BadChunk("line is too long")),
            Some(at) => match (window.get(at), window.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    let line = self.buffer.split_to(at);
                    self.buffer.advance(2);
                    Ok(Some(line))
                }
                (Some(b'\r'), None) => Ok(None),
                _ => Err(Error::BadChunk("line does not end in CRLF")),
            },
            None if window.len() > max_bytes => Err(Error::BadChunk("line is too long")),
            None => Ok(None),
        }
    }

    fn head(&mut self, searched: usize) -> Result<Option<Event>, Error> {
        // Empty lines before a request are skipped (RFC 9112 §2.2).
        loop {
            match (self.buffer.first(), self.buffer.get(1)) {
                (Some(b'\n'), _) => self.buffer.advance(1),
                (Some(b'\r'), Some(b'\n')) => self.buffer.advance(2),
                (Some(b'\r'), None) | (None, _) => return Ok(None),
                // A TLS or RTMP client shows itself here, without filling a head's worth of buffer first.
                (Some(&byte), _) if !byte.is_ascii_alphabetic() => return Err(Error::NotHttp(byte)),
                _ => break,
            }
        }
        let Some(end) = head_end(&self.buffer, searched).filter(|&end| end <= MAX_HEAD_BYTES) else {
            if self.buffer.len() > MAX_HEAD_BYTES {
                let line = self.buffer.get(..MAX_TARGET_BYTES).unwrap_or_default();
                return Err(if line.contains(&b'\n') { Error::HeadTooLarge } else { Error::TargetTooLong });
            }
            self.state = State::Head { searched: self.buffer.len().saturating_sub(3) };
            return Ok(None);
        };
        let head = self.buffer.split_to(end);
        let request = parse_head(&head)?;
        self.state = match request.body {
            BodyLength::None => State::End,
            BodyLength::Fixed(length) if length > self.max_body_bytes => {
                return Err(Error::BodyTooLarge { limit_bytes: self.max_body_bytes });
            }
            BodyLength::Fixed(length) => State::Fixed { left: length },
            BodyLength::Chunked => State::ChunkSize,
        };
        Ok(Some(Event::Request(Box::new(request))))
    }
}

/// Where the head ends, behind its empty line. Lines may end in a bare LF (RFC 9112 §2.2).
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|&b| b == b'\n')?;
        match (bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(b'\n'), _) => return Some(at + 2),
            (Some(b'\r'), Some(b'\n')) => return Some(at + 3),
            _ => from = at + 1,
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Request, Error> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut slots);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Error::BadHead("its end is unclear")),
        Err(httparse::Error::TooManyHeaders) => return Err(Error::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(Error::Version),
        Err(httparse::Error::HeaderName) => return Err(Error::BadHead("header name")),
        Err(httparse::Error::HeaderValue) => return Err(Error::BadHead("header value")),
        Err(_) => return Err(Error::BadHead("request line")),
    }
    let target = head.path.unwrap_or_default();
    if target.len() > MAX_TARGET_BYTES {
        return Err(Error::TargetTooLong);
    }
    let method = match head.method.unwrap_or_default() {
        // Its target is no path (RFC 9112 §3.2.3), and what follows its head is no request.
        "CONNECT" => return Err(Error::NotImplemented),
        name => Method::parse(name).unwrap_or(Method::Other),
    };
    let version = if head.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let headers: Headers =
        head.headers.iter().map(|h| (h.name, String::from_utf8_lossy(h.value).into_owned())).collect();

    let (authority, path_and_query) = split_target(target, method)?;
    let (raw_path, raw_query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = if raw_path == "*" { raw_path.to_owned() } else { clean_path(raw_path)? };
    let (host, port) = host(authority, &headers, version)?;
    let keep_alive = match version {
        Version::Http11 => !headers.has_token("connection", "close"),
        Version::Http10 => headers.has_token("connection", "keep-alive"),
    };
    let body = body_length(&headers, version)?;
    let expects_continue =
        version == Version::Http11 && body != BodyLength::None && headers.has_token("expect", "100-continue");
    let query = Query::parse(raw_query);
    Ok(Request { method, version, host, port, path, query, headers, keep_alive, body, expects_continue })
}

/// The authority, if any, and the rest of a target (RFC 9112 §3.2).
fn split_target(target: &str, method: Method) -> Result<(Option<&str>, &str), Error> {
    if target.contains('#') {
        return Err(Error::BadHead("target has a fragment"));
    }
    if target.starts_with('/') || (target == "*" && method == Method::Options) {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Error::BadHead("target"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Error::BadHead("target's scheme"));
    }
    match rest.find('/') {
        Some(at) => Ok((rest.get(..at), rest.get(at..).unwrap_or("/"))),
        None if rest.contains('?') => Err(Error::BadHead("target has a query but no path")),
        None => Ok((Some(rest), "/")),
    }
}

/// Exactly one `Host` in HTTP/1.1, at most one in 1.0, and a good one (RFC 9112 §3.2); an absolute target's host goes
/// before it.
fn host(
    authority: Option<&str>,
    headers: &Headers,
    version: Version,
) -> Result<(String, Option<u16>), Error> {
    let mut sent = headers.all("host");
    let header = match (sent.next(), sent.next()) {
        (_, Some(_)) => return Err(Error::BadHead("several Host headers")),
        (None, None) if version == Version::Http11 => return Err(Error::BadHead("no Host header")),
        (one, None) => one,
    };
    let read = |text| split_host_port(text).ok_or(Error::BadHead("host"));
    let header = read(header.unwrap_or_default())?;
    let (host, port) = authority.map_or(Ok(header), read)?;
    Ok((host.to_ascii_lowercase(), port))
}

/// The body's framing (RFC 9112 §6.3), with no leniency where proxies and we could disagree.
fn body_length(headers: &Headers, version: Version) -> Result<BodyLength, Error> {
    let mut codings = headers.all("transfer-encoding");
    let mut lengths = headers.all("content-length");
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, None, _) => Ok(BodyLength::None),
        (Some(_), _, Some(_), _) => Err(Error::AmbiguousFraming("Content-Length and Transfer-Encoding")),
        (Some(_), Some(_), ..) => Err(Error::AmbiguousFraming("several Transfer-Encoding headers")),
        (Some(_), ..) if version == Version::Http10 => {
            Err(Error::AmbiguousFraming("Transfer-Encoding in HTTP/1.0"))
        }
        (Some(coding), None, ..) if coding.trim().eq_ignore_ascii_case("chunked") => Ok(BodyLength::Chunked),
        (Some(_), None, ..) => Err(Error::NotImplemented),
        (None, _, Some(_), Some(_)) => Err(Error::AmbiguousFraming("several Content-Length headers")),
        (None, _, Some(length), None) => {
            let length = length.trim_matches([' ', '\t']);
            if length.is_empty() || length.len() > 19 || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Error::AmbiguousFraming("Content-Length is not a number"));
            }
            match length.parse() {
                Ok(0) => Ok(BodyLength::None),
                Ok(length) => Ok(BodyLength::Fixed(length)),
                Err(_) => Err(Error::AmbiguousFraming("Content-Length is not a number")),
            }
        }
    }
}

/// The size of a chunk; extensions are ignored (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let extension = rest.iter().find(|&&b| b != b' ' && b != b'\t');
    if !matches!(extension, None | Some(b';')) || digits == 0 || digits > 15 {
        return Err(Error::BadChunk("chunk size is not a hexadecimal number"));
    }
    Ok(size.iter().fold(0, |n, &b| n << 4 | u64::from((b as char).to_digit(16).unwrap_or(0))))
}

#[cfg(test)]
mod tests;
