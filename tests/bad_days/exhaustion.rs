//! Goal: where descriptors, places or memory are used up, newcomers are refused with the reason and whoever is there
//! goes on; when there is room again newcomers are served.
//! Method: a server that may open 256 files, and one that may keep 8 MiB of media.

use super::peers::{ask, client_on, dial, dial_narrow, is_closed, raise_limits};
use crate::support::clip::Recipe;
use crate::support::http;
use crate::support::log::Log;
use crate::support::memory::{Memory, wait_sockets};
use crate::support::neighbour::Neighbour;
use crate::support::player::{Player, try_connect};
use crate::support::server::Setup;
use crate::support::tool::{DEBIAN_FFMPEG, publish_with};
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;
use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// What the server may open.
const FILES: u64 = 256;
/// Of these it keeps half for itself, the rest are connections.
const PLACES: usize = 128;
/// How long it is kept out of descriptors, and how much of a core that may take.
const EXHAUSTED: Duration = Duration::from_secs(4);
const EXHAUSTED_CPU_MS: u64 = 1_000;

#[test]
fn descriptors_run_out() {
    raise_limits();
    let limit = format!("ulimit -S -n {FILES}; ulimit -H -n {FILES}; exec \"$0\" \"$@\"");
    let server = Setup::new(2).under(&["sh", "-c", &limit]).start();
    // Larger than any socket takes: a download that is not read keeps its file open.
    let large = fs::File::create(server.dir().join("large.bin")).expect("a file");
    large.set_len(64 << 20).expect("a large file");
    fs::write(server.dir().join("small.txt"), "small").expect("a file");
    let neighbour = Neighbour::start(&server);
    let mut kept = http::Connection::open(server.http_at());
    kept.send("GET", "/small.txt", &[]);
    assert_eq!(kept.answer("GET").text(), "small");
    let before = Memory::of(&server);
    let open_before = server.descriptors();

    // Each takes two descriptors. They are more than there are, and less than the places.
    let http_port = server.ports()[1];
    let downloads: Vec<TcpStream> = (0..PLACES - 10)
        .map(|_| {
            let stream = dial_narrow(server.ip(), http_port);
            ask(&stream, "/large.bin");
            stream
        })
        .collect();
    wait_for("descriptors to run out", || (server.descriptors() as u64 >= FILES - 1).then_some(()));
    let cpu_before_ms = server.cpu_ms();
    // They are in the backlog: nobody can take them in.
    let waiting: Vec<TcpStream> = (0..40).map(|n| dial(server.ip(), server.ports()[n % 3])).collect();
    kept.send("GET", "/small.txt", &[]);
    assert_eq!(kept.answer("GET").status, 503, "a file that is there is not said to be missing");
    thread::sleep(EXHAUSTED);
    let spent_ms = server.cpu_ms() - cpu_before_ms;
    eprintln!("out of descriptors: {spent_ms} ms of CPU in {EXHAUSTED:?}");
    assert!(spent_ms < EXHAUSTED_CPU_MS, "{spent_ms} ms of CPU in {EXHAUSTED:?}: it spins");

    drop(downloads);
    wait_for("descriptors to come back", || (server.descriptors() < open_before + 60).then_some(()));
    // Those who waited are served now, and newcomers too.
    for stream in waiting.iter().skip(1).step_by(3) {
        ask(stream, "/api/v1/versions");
        let mut first = [0; 12];
        std::io::Read::read_exact(&mut &*stream, &mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    drop(waiting);
    Player::start(&server.rtmp("neighbour")).until(|came| came.is_picture());
    kept.send("GET", "/small.txt", &[]);
    assert_eq!(kept.answer("GET").text(), "small");
    let failed = server.metric("srs_shard_accept_errors_total", "");
    assert!(failed > 0, "failures to accept are counted");
    wait_sockets(&server, before.sockets + 10);
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    let told = log.with("failed: Too many open files").count();
    assert!(log.times(": cannot be opened: ") > 0, "the file is told");
    assert!((1..=2 * (EXHAUSTED.as_secs() as usize + 3)).contains(&told), "{told} lines");
}

#[test]
fn places_run_out() {
    raise_limits();
    let server = Setup::new(2).top("max_connections = 60").start();
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let [rtmp, http_port, _] = server.ports();
    let many: Vec<TcpStream> = (0..200).map(|_| dial(server.ip(), http_port)).collect();
    let refused = || many.iter().filter(|stream| is_closed(stream)).count();
    wait_for("those too many to be closed", || (refused() >= 140).then_some(()));
    thread::sleep(Duration::from_millis(500));
    assert!((140..=145).contains(&refused()), "{} refused", refused());
    assert!(try_connect(&server.rtmp("neighbour"), Role::Play).is_err());
    drop(many);
    wait_for("room", || try_connect(&server.rtmp("neighbour"), Role::Play).ok());
    drop(dial(server.ip(), rtmp));
    let counted = server.metric("srs_shard_closes_total", "\"max_connections\"");
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.times("max_connections"), counted, "none is hidden");
}

#[test]
fn memory_for_media_runs_out() {
    let settings = "[vhost.__defaultVhost__.play]\nfeed_max_bytes = \"4MiB\"\n";
    let server = Setup::new(2).top("feed_memory = \"8MiB\"").tables(settings).start();
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    // The GOPs of each take 2 s of 6 Mbit/s; with six of them 8 MiB are full.
    let busy = Recipe { video_kbps: 6000, size: (640, 360), ..Recipe::usual(4) }.clip();
    let names: Vec<String> = (0..6).map(|n| format!("heavy{n}")).collect();
    let mut held: Vec<_> = names
        .iter()
        .map(|name| {
            let loops = ["-stream_loop", "-1"];
            let encoder = publish_with(DEBIAN_FFMPEG, &loops, &busy.path, &server.rtmp(name));
            server.wait_published(name);
            // Never read, so that what they stand in is kept.
            let viewer = dial_narrow(server.ip(), server.ports()[0]);
            client_on(&viewer, &server.rtmp(name), Role::Play);
            (encoder, viewer)
        })
        .collect();
    let refused = wait_for("newcomers to be refused", || {
        let answer = try_connect(&server.rtmp("neighbour"), Role::Play);
        if answer.is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
        answer.err()
    });
    assert!(refused.contains("memory_budget"), "{refused}");
    let web = http::get(server.http_at(), "/live/neighbour.flv");
    assert!(web.status == 503 && web.text().contains("memory_budget"), "{web:?}");
    let during = Memory::of(&server);
    eprintln!("memory for media: {before:?} before, {during:?} when full");
    during.assert_within(before, 24 << 10, 8 << 20);
    for (name, (encoder, viewer)) in names.iter().zip(&mut held) {
        assert!(encoder.is_running() && !is_closed(viewer), "{name} goes on");
    }
    assert!(server.metric("srs_shard_closes_total", "\"memory_budget\"") >= 2);

    for (encoder, viewer) in held {
        encoder.signal("INT");
        drop(viewer);
    }
    wait_for("newcomers to be served", || try_connect(&server.rtmp("neighbour"), Role::Play).ok());
    names.iter().for_each(|name| server.wait_unpublished(name));
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert!(log.with("memory_budget (feed_memory").count() > 0, "the limit is named");
}
