//! HTTP: requests, what stands in their targets and headers, and the mounts that paths are looked up in.

use super::assert_same_however_cut;
use crate::config::mount::Mount;
use crate::config::schema::DEFAULT_VHOST;
use crate::http::request::{
    BodyLength, Error, Event, MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, Method, Parser, Request, Version,
};
use crate::http::response::{Range, range};
use crate::http::url::{MAX_QUERY_PAIRS, Query, clean_path, split_host_port};

/// A body may be this long here.
const MAX_BODY_BYTES: u64 = 4096;

/// Requests, pipelined or not, read the same however they are cut; none is held beyond the limits; none leaves the
/// folders; and each reads the same once more when written from what was read.
pub fn request(data: &[u8]) {
    assert_same_however_cut(data, events);
    let (events, error) = events(&[data.get(2..).unwrap_or_default()]);
    assert!(error.is_none_or(|error| matches!(error.status(), 400 | 413 | 414 | 431 | 501 | 505)));
    for event in &events {
        if let Event::Request(request) = event {
            check(request);
        }
    }
}

fn events(pieces: &[&[u8]]) -> (Vec<Event>, Option<Error>) {
    let mut parser = Parser::new(MAX_BODY_BYTES);
    let (mut all, mut body_bytes): (Vec<Event>, u64) = (Vec::new(), 0);
    for piece in pieces {
        parser.feed(piece);
        loop {
            match (parser.poll(), all.last_mut()) {
                (Ok(Some(Event::Body(more))), last) => {
                    assert!(!more.is_empty());
                    body_bytes += more.len() as u64;
                    assert!(body_bytes <= MAX_BODY_BYTES);
                    match last {
                        Some(Event::Body(before)) => *before = [&before[..], &more[..]].concat().into(),
                        _ => all.push(Event::Body(more)),
                    }
                }
                (Ok(Some(event)), _) => {
                    body_bytes = 0;
                    all.push(event);
                }
                (Ok(None), _) => break,
                (Err(error), _) => {
                    assert_eq!(
                        (parser.poll(), parser.buffered_bytes()),
                        (Err(error), 0),
                        "an error is final"
                    );
                    return (all, Some(error));
                }
            }
        }
        assert!(parser.buffered_bytes() <= MAX_HEAD_BYTES);
    }
    (all, None)
}

fn check(request: &Request) {
    assert!(request.headers.iter().count() <= MAX_HEADERS);
    assert!(request.query.raw.len() <= MAX_TARGET_BYTES && request.path.len() <= MAX_TARGET_BYTES);
    assert!(!request.host.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_whitespace() || b == b'/'));
    if request.path == "*" {
        return assert_eq!(request.method, Method::Options);
    }
    assert_stays_inside(&request.path);
    assert!(!request.expects_continue || request.body != BodyLength::None);
    // Written again, in origin form; an absolute target's host is not in that.
    let version = if request.version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mark = if request.query.raw.is_empty() { "" } else { "?" };
    let target = format!("{}{mark}{}", escaped(&request.path), request.query.raw);
    let mut text = format!("{} {target} {version}\r\n", request.method.as_str());
    request.headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text += "\r\n";
    // What was written as bytes may take more room as escapes and replacement characters.
    if target.len() > MAX_TARGET_BYTES || text.len() > MAX_HEAD_BYTES {
        return;
    }
    let mut parser = Parser::new(MAX_BODY_BYTES);
    parser.feed(text.as_bytes());
    let again = match parser.poll() {
        Ok(Some(Event::Request(again))) => again,
        other => panic!("{other:?} instead of {request:?} from {text:?}"),
    };
    let host_less = |r: &Request| Request { host: String::new(), port: None, ..r.clone() };
    assert_eq!(host_less(&again), host_less(request));
}

fn assert_stays_inside(path: &str) {
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains(['\\', '\0']), "{path:?}");
    assert!(path.split('/').all(|part| part != ".." && part != "."), "{path:?}");
}

fn escaped(path: &str) -> String {
    let byte = |b: u8| match b {
        b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => (b as char).to_string(),
        b => format!("%{b:02x}"),
    };
    path.bytes().map(byte).collect()
}

/// Paths, queries, authorities and ranges.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(clean) = clean_path(&text) {
        assert_stays_inside(&clean);
        assert_eq!(clean_path(&escaped(&clean)), Ok(clean), "cleaning again changes nothing");
    }
    let query = Query::parse(&text);
    assert!(query.pairs().len() <= MAX_QUERY_PAIRS);
    for (name, _) in query.pairs() {
        let first = query.pairs().iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(query.value(name), first);
    }
    let rewritten: Vec<String> =
        query.pairs().iter().map(|(n, v)| format!("{}={}", escaped(n), escaped(v))).collect();
    assert!(query.pairs().is_empty() || Query::parse(&rewritten.join("&")).pairs() == query.pairs());
    if let Some((host, port)) = split_host_port(&text) {
        assert!(!host.contains(['/', '@', '[', ']', ' ']));
        let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let again = port.map_or(bare.clone(), |port| format!("{bare}:{port}"));
        assert_eq!(split_host_port(&again), Some((host, port)));
    }
    let bytes = data.first().map_or(0, |b| u64::from(*b) * 3);
    for text in [&text[..], text.get(1..).unwrap_or_default()] {
        if let Range::Part(part) = range(text, bytes) {
            assert!(part.start() <= part.end() && *part.end() < bytes, "{part:?} of {bytes}");
        }
    }
}

/// A template and a path, on two lines: a template shows itself as it was written, and finds the names it was
/// made of.
pub fn mount(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (template, path) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(mount) = Mount::parse(template) else { return };
    assert_eq!(mount.to_string(), template);
    let mount = mount.of_vhost(DEFAULT_VHOST);
    let Ok(path) = clean_path(path) else { return };
    let Some((app, stream)) = mount.names_in(&path) else { return };
    assert!(!app.is_empty() && !stream.is_empty() && !stream.contains('/'));
    let made = mount.path_of(DEFAULT_VHOST, app, stream);
    // A mount of a host of its own names that in the query.
    let made = made.split_once('?').map_or(made.as_str(), |(path, _)| path);
    let Ok(made) = clean_path(made) else { return };
    assert_eq!(mount.names_in(&made), Some((app, stream)), "{template} {path}");
}
