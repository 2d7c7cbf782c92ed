use super::*;
use proptest::prelude::*;

/// All events of an input fed in pieces, neighbouring body pieces joined, and the error it ended in.
fn events(pieces: &[&[u8]]) -> (Vec<Event>, Option<Error>) {
    let mut parser = Parser::default();
    let mut all: Vec<Event> = Vec::new();
    for piece in pieces {
        parser.feed(piece);
        loop {
            match (parser.poll(), all.last_mut()) {
                (Ok(Some(Event::Body(more))), Some(Event::Body(before))) => {
                    *before = [&before[..], &more[..]].concat().into();
                }
                (Ok(Some(event)), _) => all.push(event),
                (Ok(None), _) => break,
                (Err(error), _) => return (all, Some(error)),
            }
        }
        assert!(parser.buffered_bytes() <= MAX_HEAD_BYTES);
    }
    (all, None)
}

fn requests(input: &str) -> Vec<Request> {
    let (all, error) = events(&[input.as_bytes()]);
    assert_eq!(error, None, "{input}");
    let head = |e| if let Event::Request(r) = e { Some(*r) } else { None };
    all.into_iter().filter_map(head).collect()
}

fn one(input: &str) -> Request {
    let mut all = requests(input);
    assert_eq!(all.len(), 1, "{input}");
    all.remove(0)
}

fn error(input: &str) -> Error {
    events(&[input.as_bytes()]).1.unwrap_or_else(|| panic!("accepted: {input:?}"))
}

const PIPELINE: &str = "\r\nGET /live/a.flv?vhost=v%20x HTTP/1.1\r\nHost: Cam.example:8080\r\n\r\n\
    POST /api HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
    POST /c HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nExpect: 100-continue\n\n\
    3;x=y\r\nabc\r\n00A \r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n\
    HEAD http://Other.example/x HTTP/1.1\r\nHost: h\r\nConnection: Foo, Close\r\n\r\n";

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let all = requests(PIPELINE);
    assert_eq!(all.len(), 4);
    let [a, b, c, d] = &all[..] else { unreachable!() };
    assert_eq!((a.host.as_str(), a.port, a.path.as_str()), ("cam.example", Some(8080), "/live/a.flv"));
    assert_eq!(a.query.value("vhost"), Some("v x"));
    assert!(a.keep_alive && a.body == BodyLength::None && !a.expects_continue);
    assert_eq!((b.method, b.body), (Method::Post, BodyLength::Fixed(5)));
    assert!(c.expects_continue && c.body == BodyLength::Chunked);
    assert_eq!((d.host.as_str(), d.path.as_str(), d.keep_alive), ("other.example", "/x", false));
    let (all, _) = events(&[PIPELINE.as_bytes()]);
    let bodies: Vec<&[u8]> =
        all.iter().filter_map(|e| if let Event::Body(b) = e { Some(&b[..]) } else { None }).collect();
    assert_eq!(bodies, [&b"hello"[..], b"abc0123456789"]);
    assert_eq!(all.iter().filter(|e| **e == Event::End).count(), 4);
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let whole = events(&[PIPELINE.as_bytes()]);
    for at in 0..=PIPELINE.len() {
        let (a, b) = PIPELINE.as_bytes().split_at(at);
        assert_eq!(events(&[a, b]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = PIPELINE.as_bytes().chunks(1).collect();
    assert_eq!(events(&bytes), whole);
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut parser = Parser::default();
    parser.feed(&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100));
    parser.feed(b"GET /");
    assert!(parser.is_mid_request());
    while parser.poll().unwrap().is_some() {}
    assert_eq!(parser.buffered_bytes(), 5);
    assert!(parser.buffer.capacity() < 1100);
    parser.feed(b" HTTP/1.1\r\nHost: h\r\n\r\n");
    while parser.poll().unwrap().is_some() {}
    assert_eq!(parser.buffer.capacity(), 0);
    assert!(!parser.is_mid_request());
}

/// What clients of today send, byte for byte (recorded from a listening socket on loopback).
#[test]
fn requests_of_real_clients() {
    let curl = one(
        "GET /live/a.flv?token=a%20b HTTP/1.1\r\nHost: 127.0.0.1:59257\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
    );
    assert_eq!((curl.host.as_str(), curl.port), ("127.0.0.1", Some(59257)));
    assert_eq!(curl.query.value("token"), Some("a b"));
    assert!(curl.keep_alive);

    let upload = "POST /live/a.flv HTTP/1.1\r\nHost: 127.0.0.1:59257\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
        Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n\
        a\r\n0123456789\r\n0\r\n\r\n";
    assert!(one(upload).expects_continue);
    assert_eq!(events(&[upload.as_bytes()]).0[1..], [Event::Body("0123456789".into()), Event::End]);

    let old =
        one("HEAD / HTTP/1.0\r\nHost: 127.0.0.1:59257\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n");
    assert_eq!((old.method, old.version, old.keep_alive), (Method::Head, Version::Http10, false));

    let ffprobe =
        one("GET /live/a.flv HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nRange: bytes=0-\r\n\
         Connection: close\r\nHost: 127.0.0.1:59257\r\nIcy-MetaData: 1\r\n\r\n");
    assert_eq!((ffprobe.keep_alive, ffprobe.headers.value("range")), (false, Some("bytes=0-")));

    let gstreamer = one(
        "GET /live/a.flv HTTP/1.1\r\nUser-Agent: GStreamer souphttpsrc 1.22.0 libsoup/3.2.3\r\n\
         Accept-Encoding: identity\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:59257\r\nicy-metadata: 1\r\n\r\n",
    );
    assert!(gstreamer.keep_alive && gstreamer.path == "/live/a.flv");

    let ffmpeg = b"POST /live/a.flv HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\n\
        Accept: */*\r\nConnection: close\r\nHost: 127.0.0.1:59257\r\nIcy-MetaData: 1\r\n\r\n\
        17\r\n\x08\x00\x00\x08\x00\x00\x17\x00\x00\x00\x00\xaf\x01!\x10\x04`\x8c\x1c\x00\x00\x00\x13\r\n\
        17\r\n\x08\x00\x00\x08\x00\x00.\x00\x00\x00\x00\xaf\x01!\x10\x04`\x8c\x1c\x00\x00\x00\x13\r\n0\r\n\r\n";
    let (all, error) = events(&[ffmpeg]);
    assert_eq!(error, None);
    let Some(Event::Body(body)) = all.get(1) else { panic!("{all:?}") };
    assert_eq!((body.len(), all.len()), (2 * 0x17, 3));
}

#[test]
fn a_body_without_limit_is_a_parser_s_choice() {
    let mut parser = Parser::new(u64::MAX);
    parser.feed(b"POST /a.flv HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(parser.poll(), Ok(Some(Event::Request(_)))));
    for _ in 0..40 {
        parser.feed(b"fffffffffffffff\r\nabc");
        assert_eq!(parser.poll(), Ok(Some(Event::Body("abc".into()))));
        assert_eq!(parser.poll(), Ok(None));
        // Skips ahead to the chunk's end, which no test could send.
        parser.state = State::ChunkSize;
    }
}

#[test]
fn http_1_0_closes_unless_asked_and_needs_no_host() {
    let r = one("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((r.version, r.keep_alive, r.host.as_str()), (Version::Http10, false, ""));
    assert!(one("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    assert_eq!(one("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path, "*");
    assert_eq!(one("GET http://h HTTP/1.1\r\nHost: x\r\n\r\n").path, "/");
}

#[test]
fn refusals_carry_their_status() {
    let head = |extra: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{extra}\r\n");
    for (input, status) in [
        ("\x16\x03\x01".into(), 400),
        ("\x03".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (head("Host: i\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        ("GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET live HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        (head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400),
        (head("Content-Length: 3\r\nContent-Length: 3\r\n"), 400),
        (head("Content-Length: +3\r\n"), 400),
        (head("Content-Length: 3,3\r\n"), 400),
        (head("Content-Length: 0x3\r\n"), 400),
        (head("Content-Length: \r\n"), 400),
        (head("Content-Length: 99999999999999999999999\r\n"), 400),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        (head("Transfer-Encoding : chunked\r\n"), 400),
        (head("X: y\r\n folded\r\n"), 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400),
        (head("Transfer-Encoding: chunked\r\n") + "g\r\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + "\r\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + "1 2\r\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + "1\nx\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + "1\r\nxy\r\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + "fffffffffffffffff\r\n", 400),
        (head("Transfer-Encoding: chunked\r\n") + &"0".repeat(300), 400),
        (head("Transfer-Encoding: chunked\r\n") + "0\r\n" + &"T: t\r\n".repeat(2000), 400),
        (head("Transfer-Encoding: chunked\r\n") + "200000\r\n", 413),
        (head("Content-Length: 1048577\r\n"), 413),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(MAX_TARGET_BYTES)), 414),
        (format!("GET /{}", "a".repeat(MAX_HEAD_BYTES)), 414),
        (head(&"X: y\r\n".repeat(MAX_HEADERS)), 431),
        (head(&format!("X: {}\r\n", "y".repeat(MAX_HEAD_BYTES))), 431),
        (head("Transfer-Encoding: gzip, chunked\r\n"), 501),
        (head("Transfer-Encoding: chunked, identity\r\n"), 501),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".into(), 501),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
    ] {
        let error = error(&input);
        assert_eq!(error.status(), status, "{:?}: {error}", input.get(..80).unwrap_or(&input));
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(events(&bytes).1, Some(error), "byte by byte: {input:?}");
    }
}

#[test]
fn a_method_that_we_do_not_know_is_another() {
    for name in ["BREW", "TRACE", "get"] {
        let mut parser = Parser::default();
        parser.feed(format!("{name} /a HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        match parser.poll() {
            Ok(Some(Event::Request(request))) => assert_eq!(request.method, Method::Other, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_error_stays_and_holds_nothing() {
    let mut parser = Parser::default();
    parser.feed(b"\0");
    let first = parser.poll();
    parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(parser.poll(), first);
    assert_eq!(parser.buffered_bytes(), 0);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/a",
        "/%2e%2e",
        "?x=%",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "Host: h",
        "Content-Length: 4",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "4",
        "0",
        "abcd",
        ";",
        " ",
        ":",
        "\0",
        "\u{ff}",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn hostile_input_reads_the_same_however_it_is_cut(input in hostile(), cuts in prop::collection::vec(0usize..200, 0..6)) {
        let whole = events(&[&input]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&input[from..cut]);
            from = cut;
        }
        pieces.push(&input[from..]);
        prop_assert_eq!(events(&pieces), whole);
    }

    #[test]
    fn no_bytes_panic(input in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = events(&[&input]);
        let mut after_head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        after_head.extend(&input);
        let _ = events(&[&after_head]);
    }
}
