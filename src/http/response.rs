//! Response heads and their framing (RFC 9110 §15, RFC 9112 §6), with SRS's headers.
//!
//! A [`Response`] is a whole answer; for bodies that are streamed, [`write_live_head`] and [`write_file_head`] write
//! a head only. Header fields go out in alphabetical order, as SRS sends them.

use super::request::{Method, Request, Version};
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// What we call ourselves in `Server`: our version, and in the comment the SRS whose behaviour we offer.
fn server() -> String {
    format!("{} (SRS/{})", crate::SIGNATURE, crate::srs_version())
}

/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What a response must know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Version of the request.
    pub version: Version,
    /// The request was HEAD: the head goes out as for GET, the body does not.
    pub head_only: bool,
    /// Another request may follow on this connection.
    pub keep_alive: bool,
    /// CORS headers are wanted: `crossdomain` is on and the request has `Origin`.
    pub cors: bool,
}

impl Exchange {
    /// For a request, with the port's `crossdomain` setting.
    pub fn of(request: &Request, crossdomain: bool) -> Self {
        Self {
            version: request.version,
            head_only: request.method == Method::Head,
            keep_alive: request.keep_alive,
            cors: crossdomain && request.headers.value("origin").is_some(),
        }
    }

    /// For bytes that are no request: answer and close.
    pub const BROKEN: Exchange =
        Exchange { version: Version::Http11, head_only: false, keep_alive: false, cors: false };
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// `Content-Type`; none if empty.
    pub content_type: Cow<'static, str>,
    /// More header fields.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// An answer with a body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: content_type.into(), fields: Vec::new(), body: body.into() }
    }

    /// A status with its phrase as plain text, as SRS answers errors.
    pub fn text(status: u16) -> Self {
        Self::new(status, "text/plain; charset=utf-8", phrase(status))
    }

    /// A status without a body.
    pub fn empty(status: u16) -> Self {
        Self::new(status, "", Bytes::new())
    }

    /// A redirect.
    pub fn redirect(status: u16, to: impl Into<String>) -> Self {
        let to = to.into();
        let text = format!("Redirect to {to}");
        Self::new(status, "text/plain; charset=utf-8", text).with("Location", to)
    }

    /// Adds a header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Writes head and, unless the request was HEAD, body.
    pub fn write(&self, exchange: Exchange, out: &mut Vec<u8>) {
        let framing = match self.status {
            // RFC 9110 §8.6: these have no body, hence no length.
            100..=199 | 204 | 304 => Framing::Bodiless,
            _ => Framing::Length(self.body.len() as u64),
        };
        write_head(out, exchange, self.status, framing, &self.content_type, &self.fields);
        if !exchange.head_only && framing != Framing::Bodiless {
            out.extend_from_slice(&self.body);
        }
    }
}

/// How a live body must be framed, which decides what of a block goes to the viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFraming {
    /// As chunks, ended by [`LAST_CHUNK`].
    Chunked,
    /// Bare bytes; the end of the connection ends them (HTTP/1.0, RFC 9112 §6.3 case 8).
    UntilClose,
    /// No body at all: the request was HEAD.
    HeadOnly,
}

/// Writes the head of a live body of unknown length and says how to frame it. Whether the connection lives on
/// after [`LiveFraming::HeadOnly`] is the exchange's `keep_alive`.
pub fn write_live_head(exchange: Exchange, content_type: &str, out: &mut Vec<u8>) -> LiveFraming {
    let framing = match exchange.version {
        Version::Http11 => Framing::Chunked,
        Version::Http10 => Framing::UntilClose,
    };
    write_head(out, exchange, 200, framing, content_type, &[]);
    match framing {
        _ if exchange.head_only => LiveFraming::HeadOnly,
        Framing::Chunked => LiveFraming::Chunked,
        _ => LiveFraming::UntilClose,
    }
}

/// Writes the head of a body of known length that is sent apart: a file, or with 206 a part of one, `fields`
/// saying which.
pub fn write_file_head(
    exchange: Exchange,
    status: u16,
    content_type: &str,
    body_bytes: u64,
    fields: &[(&'static str, String)],
    out: &mut Vec<u8>,
) {
    write_head(out, exchange, status, Framing::Length(body_bytes), content_type, fields);
}

/// What a `Range` header asks of a body of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Everything: no range, several, or one that we do not understand (RFC 9110 §14.2 lets us ignore it).
    Whole,
    /// First to last byte.
    Part(RangeInclusive<u64>),
    /// 416, with `Content-Range: bytes */length`.
    Unsatisfiable,
}

/// Reads a `Range` header's value (RFC 9110 §14.1.2).
pub fn range(value: &str, body_bytes: u64) -> Range {
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let Some((first, last)) = value.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Whole;
    };
    match (first, number(first), last, number(last)) {
        ("", _, _, Some(0)) => Range::Unsatisfiable,
        ("", _, _, Some(_)) if body_bytes == 0 => Range::Unsatisfiable,
        ("", _, _, Some(suffix)) => Range::Part(body_bytes.saturating_sub(suffix)..=body_bytes - 1),
        (_, Some(first), "", _) if first < body_bytes => Range::Part(first..=body_bytes - 1),
        (_, Some(first), _, Some(last)) if last < first => Range::Whole,
        (_, Some(first), _, Some(last)) if first < body_bytes => {
            Range::Part(first..=last.min(body_bytes - 1))
        }
        (_, Some(_), "", _) | (_, Some(_), _, Some(_)) => Range::Unsatisfiable,
        _ => Range::Whole,
    }
}

/// The phrase of a status code.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    Bodiless,
}

fn write_head(
    out: &mut Vec<u8>,
    exchange: Exchange,
    status: u16,
    framing: Framing,
    content_type: &str,
    fields: &[(&'static str, String)],
) {
    let keep_alive = exchange.keep_alive && (framing != Framing::UntilClose || exchange.head_only);
    let mut all: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(8 + fields.len());
    if exchange.cors {
        all.extend(CORS.iter().map(|&(name, value)| (name, value.into())));
    }
    all.push(("Connection", if keep_alive { "Keep-Alive" } else { "Close" }.into()));
    all.push(("Server", server().into()));
    match framing {
        Framing::Length(length) => all.push(("Content-Length", length.to_string().into())),
        Framing::Chunked => all.push(("Transfer-Encoding", "chunked".into())),
        Framing::UntilClose | Framing::Bodiless => {}
    }
    if !content_type.is_empty() {
        all.push(("Content-Type", content_type.into()));
    }
    all.extend(fields.iter().map(|(name, value)| (*name, value.as_str().into())));
    all.sort_by_key(|&(name, _)| name);

    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", phrase(status)).as_bytes());
    for (name, value) in all {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        // A value may hold what a peer sent; it must not become a header of its own.
        out.extend(value.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// What SRS sends with `crossdomain on` to a request with `Origin`, and the header of who has a token.
const CORS: [(&str, &str); 4] = [
    (
        "Access-Control-Allow-Headers",
        "origin,range,accept-encoding,referer,Cache-Control,X-Proxy-Authorization,X-Requested-With,Content-Type,Authorization",
    ),
    ("Access-Control-Allow-Methods", "GET, POST, HEAD, PUT, DELETE, OPTIONS"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Server,range,Content-Length,Content-Range"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Exchange =
        Exchange { version: Version::Http11, head_only: false, keep_alive: true, cors: false };

    fn written(response: &Response, exchange: Exchange) -> String {
        let mut out = Vec::new();
        response.write(exchange, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn live(exchange: Exchange) -> (String, LiveFraming) {
        let mut out = Vec::new();
        let framing = write_live_head(exchange, "video/x-flv", &mut out);
        (String::from_utf8(out).unwrap(), framing)
    }

    #[test]
    fn a_whole_answer() {
        let (server, response) = (server(), Response::new(200, "application/json", "{}"));
        let expected = format!(
            "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\
             Content-Type: application/json\r\nServer: {server}\r\n\r\n{{}}"
        );
        assert_eq!(written(&response, PLAIN), expected);
        let head = written(&response, Exchange { head_only: true, ..PLAIN });
        assert_eq!(head, expected.strip_suffix("{}").unwrap());
    }

    #[test]
    fn cors_headers_are_srs_s_and_authorization() {
        let text = written(&Response::empty(200), Exchange { cors: true, ..PLAIN });
        let server = server();
        let expected = format!(
            "HTTP/1.1 200 OK\r\n\
             Access-Control-Allow-Headers: origin,range,accept-encoding,referer,Cache-Control,\
             X-Proxy-Authorization,X-Requested-With,Content-Type,Authorization\r\n\
             Access-Control-Allow-Methods: GET, POST, HEAD, PUT, DELETE, OPTIONS\r\n\
             Access-Control-Allow-Origin: *\r\n\
             Access-Control-Expose-Headers: Server,range,Content-Length,Content-Range\r\n\
             Connection: Keep-Alive\r\nContent-Length: 0\r\nServer: {server}\r\n\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn live_bodies_are_chunked_or_end_with_the_connection() {
        let (head, framing) = live(PLAIN);
        assert_eq!(framing, LiveFraming::Chunked);
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n") && head.contains(": Keep-Alive\r\n"));
        let (head, framing) = live(Exchange { version: Version::Http10, ..PLAIN });
        assert_eq!(framing, LiveFraming::UntilClose);
        assert!(!head.contains("Transfer-Encoding") && head.contains("Connection: Close\r\n"));
        let (head, framing) = live(Exchange { head_only: true, ..PLAIN });
        assert_eq!(framing, LiveFraming::HeadOnly);
        assert!(head.contains("Transfer-Encoding: chunked"));
        let (head, framing) = live(Exchange { version: Version::Http10, head_only: true, ..PLAIN });
        assert_eq!(framing, LiveFraming::HeadOnly);
        assert!(head.contains("Connection: Keep-Alive\r\n") && !head.contains("Transfer-Encoding"));
    }

    #[test]
    fn a_peer_s_text_cannot_add_a_header() {
        let text = written(&Response::redirect(302, "/x\r\nSet-Cookie: a=b"), PLAIN);
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.lines().filter(|l| l.starts_with("Set-Cookie")).count(), 0);
    }

    #[test]
    fn some_statuses_have_no_body() {
        let text = written(&Response::new(304, "", "x"), PLAIN);
        assert!(text.ends_with("\r\n\r\n") && !text.contains("Content-Length"));
    }

    #[test]
    fn ranges() {
        for (value, length, expected) in [
            ("bytes=0-0", 10, Range::Part(0..=0)),
            ("bytes=2-", 10, Range::Part(2..=9)),
            ("bytes=2-99", 10, Range::Part(2..=9)),
            ("bytes=-3", 10, Range::Part(7..=9)),
            ("bytes=-30", 10, Range::Part(0..=9)),
            ("bytes=10-", 10, Range::Unsatisfiable),
            ("bytes=10-12", 10, Range::Unsatisfiable),
            ("bytes=-0", 10, Range::Unsatisfiable),
            ("bytes=-1", 0, Range::Unsatisfiable),
            ("bytes=0-", 0, Range::Unsatisfiable),
            ("bytes=5-2", 10, Range::Whole),
            ("bytes=1-2,4-5", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
            ("items=1-2", 10, Range::Whole),
        ] {
            assert_eq!(range(value, length), expected, "{value}");
        }
    }
}
