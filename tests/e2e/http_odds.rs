//! Goal: what old, odd and browser clients do on the HTTP port is answered as they expect.
//! Method: raw requests, and curl where it judges for us.

use crate::support::clip::Recipe;
use crate::support::http::{Connection, get, request};
use crate::support::packets::{Form, Seen};
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish, publish_with};
use std::fs;

#[test]
fn http_1_0_gets_a_bare_body() {
    let clip = Recipe::usual(3).clip();
    let server = Server::with_shards(2);
    let (old, new) = (server.folder().join("old.flv"), server.folder().join("new.flv"));
    let (old, new) = (old.to_str().expect("a plain path"), new.to_str().expect("a plain path"));
    let url = server.http("/live/old.flv");
    let line = |version, file| ["-sS", "--max-time", "60", version, "-o", file, &url].map(str::to_owned);
    let curls = [line("--http1.0", old), line("--http1.1", new)]
        .map(|line| Tool::start("curl", &line.each_ref().map(String::as_str)));
    server.wait_viewers("old", 2);
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("old")).finished();
    curls.into_iter().for_each(|curl| _ = curl.finished());
    Seen::of_file(DEBIAN_FFMPEG, old, Form::Whole, clip.has()).assert_same(
        &clip.seen(Form::Whole),
        0,
        "HTTP/1.0",
    );
    assert!(fs::read(old).expect("a body") == fs::read(new).expect("a body"), "no chunk heads in the body");
}

#[test]
fn head_and_cors_of_a_live_stream() {
    let clip = Recipe::usual(3).clip();
    let server = Server::with_shards(2);
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("odd"));
    server.wait_published("odd");
    let types = [
        (".flv", "video/x-flv"),
        (".ts", "video/MP2T"),
        (".live.mp4", "video/mp4"),
        (".aac", "audio/x-aac"),
        (".mp3", "audio/mpeg"),
    ];
    let mut connection = Connection::open(server.http_at());
    for (extension, content_type) in types {
        let path = format!("/live/odd{extension}");
        // HEAD keeps the connection: the next one goes over the same.
        connection.send("HEAD", &path, &[("Origin", "http://elsewhere")]);
        let answer = connection.answer("HEAD");
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(content_type)), "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"), "{path}");
    }
    let preflight = request(server.http_at(), "OPTIONS", "/live/odd.flv", &[("Origin", "http://elsewhere")]);
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.field("access-control-allow-origin"), Some("*"));
    assert_eq!(request(server.http_at(), "POST", "/live/odd.flv", &[]).status, 405);
    assert_eq!(
        server.clients_of("odd").iter().filter(|client| !client.publish).count(),
        0,
        "HEAD is no viewer"
    );
}

#[test]
fn files_with_ranges_over_one_connection() {
    let server = Server::with_shards(2);
    let content: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    fs::write(server.dir().join("big.bin"), &content).expect("a file");
    fs::create_dir(server.dir().join("sub")).expect("a folder");
    fs::write(server.dir().join("sub/index.html"), "the sub page").expect("a file");
    let mut connection = Connection::open(server.http_at());
    let mut ask = |path: &str, fields: &[(&str, &str)]| {
        connection.send("GET", path, fields);
        connection.answer("GET")
    };
    let whole = ask("/big.bin", &[]);
    assert_eq!((whole.status, whole.complete), (200, true));
    assert!(whole.body == content, "the file as it is");
    let etag = whole.field("etag").expect("an ETag").to_owned();
    for (asked, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-70000", 100, 70_000),
        ("bytes=299999-", 299_999, 299_999),
        ("bytes=-5", 299_995, 299_999),
    ] {
        let part = ask("/big.bin", &[("Range", asked)]);
        assert_eq!(part.status, 206, "{asked}");
        assert_eq!(
            part.field("content-range"),
            Some(format!("bytes {from}-{to}/300000").as_str()),
            "{asked}"
        );
        assert!(part.body == content[from..=to], "{asked}");
    }
    assert_eq!(ask("/big.bin", &[("Range", "bytes=300000-")]).status, 416);
    assert_eq!(ask("/big.bin", &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(ask("/big.bin", &[("Range", "bytes=0-9"), ("If-Range", &etag)]).status, 206);
    assert_eq!(ask("/big.bin", &[("Range", "bytes=0-9"), ("If-Range", "\"older\"")]).status, 200);
    assert_eq!(ask("/sub/", &[]).text(), "the sub page");
    assert_eq!(ask("/nothing.bin", &[]).status, 404);
    for path in ["/../server.toml", "/%2e%2e/server.toml", "/sub/../../server.toml", "/..%2fserver.toml"] {
        let answer = get(server.http_at(), path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
    }
}

#[test]
fn the_page_is_ours_until_there_is_an_index() {
    let server = Server::with_shards(2);
    let page = get(server.http_at(), "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<video"), "the player page");
    assert_eq!(get(server.http_at(), "/_live/").body, page.body);
    fs::write(server.dir().join("index.html"), "mine").expect("a file");
    assert_eq!(get(server.http_at(), "/").text(), "mine");
    assert_eq!(get(server.http_at(), "/_live/").body, page.body, "ours is still there");
}

#[test]
fn a_stream_that_is_not_there_is_a_404_if_so_configured() {
    let clip = Recipe::usual(3).clip();
    let server = Setup::new(3).remux("wait = false").start();
    assert_eq!(get(server.http_at(), "/live/none.flv").status, 404);
    assert_eq!(get(server.http_at(), "/none/none.ts").status, 404);
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("none"));
    server.wait_published("none");
    // On every shard, not just the owner's.
    for _ in 0..8 {
        assert_eq!(request(server.http_at(), "HEAD", "/live/none.flv", &[]).status, 200);
    }
}

#[test]
fn a_published_stream_comes_before_a_file_and_a_file_before_waiting() {
    let clip = Recipe::usual(3).clip();
    let server = Server::with_shards(2);
    fs::create_dir(server.dir().join("live")).expect("a folder");
    fs::write(server.dir().join("live/both.flv"), "a file").expect("a file");
    assert_eq!(get(server.http_at(), "/live/both.flv").text(), "a file");
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("both"));
    server.wait_published("both");
    let mut connection = Connection::open(server.http_at());
    connection.send("GET", "/live/both.flv", &[]);
    let head = connection.head();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"), "the stream");
}

#[test]
fn broken_requests_are_refused_and_closed() {
    let server = Server::with_shards(2);
    for at in [server.http_at(), server.api_at()] {
        for (bytes, status) in [
            (b"NONSENSE\r\n\r\n".to_vec(), 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_vec(), 400),
            ([b"GET /".to_vec(), vec![b'a'; 1 << 20]].concat(), 400),
        ] {
            let mut connection = Connection::open(at);
            // The server may close before it has read all of it.
            connection.send_what_it_takes(&bytes);
            let answer = connection.answer("GET");
            assert!(
                answer.status == status || answer.status == 414 || answer.status == 431,
                "{}",
                answer.status
            );
            assert!(connection.is_over(), "closed after a {}", answer.status);
        }
    }
}
