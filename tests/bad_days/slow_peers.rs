//! Goal: peers that are slow, or gone without a word, are ended in time with the reason, on every port and in every
//! state; they cost what their connections cost.
//! Method: hundreds of them at once, each stuck in its own way, while a neighbour streams. What they wait for are the
//! server's own timeouts: 30 s for the RTMP handshake and `connect`, 15 s for an HTTP request.

use super::peers::{ask, client_on, dial, handshake, is_closed, say, vanish};
use crate::support::clip::Recipe;
use crate::support::log::Log;
use crate::support::memory::Memory;
use crate::support::neighbour::Neighbour;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish_with};
use crate::support::wait_for;
use srs_shard::formats::message::{Kind, WireTime};
use srs_shard::rtmp::client::Role;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Of each kind of slow peer.
const EACH: usize = 40;
/// The longest of the server's timeouts, and its sweeps.
const ALL_TIMEOUTS: Duration = Duration::from_secs(33);
/// What a connection in a handshake, a request or a message may take.
const RSS_KIB_EACH: u64 = 16;
const KERNEL_BYTES_EACH: u64 = 16 << 10;

/// Peers who send a byte a second, each kind with the reason that must end it.
struct Dribbling {
    kind: &'static str,
    reason: &'static str,
    streams: Vec<TcpStream>,
    /// What they send, a byte at a time, over and over.
    bytes: Vec<u8>,
}

impl Dribbling {
    fn send(&self, round: usize) {
        let byte = self.bytes[round % self.bytes.len()];
        for stream in &self.streams {
            say(stream, &[byte]);
        }
    }
}

#[test]
fn slowloris_on_each_port_and_a_byte_a_second() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let [rtmp, http, api] = server.ports();
    let slow = |kind, reason, port, opening: &[u8], bytes: &[u8]| {
        let open = |_| {
            let stream = dial(server.ip(), port);
            say(&stream, opening);
            stream
        };
        Dribbling { kind, reason, streams: (0..EACH).map(open).collect(), bytes: bytes.to_vec() }
    };
    let head = b"GET /live/x.flv HTTP/1.1\r\nHost: a\r\nX: ";
    let body = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    // A chunk of a `connect` of 60,000 bytes.
    let command = [handshake(), vec![3, 0, 0, 0, 0, 0xea, 0x60, 20, 0, 0, 0, 0]].concat();
    let all = [
        slow("no handshake", "handshake_timeout", rtmp, &[], &[3]),
        slow("half a handshake", "handshake_timeout", rtmp, &handshake()[..1000], &[0]),
        slow("no connect", "connect_timeout", rtmp, &command, &[0]),
        slow("a head over HTTP", "connect_timeout", http, head, b"a"),
        slow("a body over HTTP", "connect_timeout", http, body, b"a"),
        slow("a head to the API", "connect_timeout", api, head, b"a"),
        slow("a body to the API", "connect_timeout", api, body, b"a"),
    ];
    let count = all.len() * EACH;
    // Encoders that publish, and then send a message a byte at a time: `normal_timeout` is 5 s.
    let publishing: Vec<TcpStream> = (0..EACH)
        .map(|n| {
            let stream = dial(server.ip(), rtmp);
            let mut session = client_on(&stream, &server.rtmp(&format!("slow{n}")), Role::PublishFmle);
            session.write_media(Kind::Audio, WireTime(0), &[0xaf, 0, 0x12, 0x10]);
            say(&stream, &session.take_output());
            say(&stream, &[4, 0, 0, 0, 0, 0xea, 0x60, 9, 1, 0, 0, 0]);
            stream
        })
        .collect();
    let publishing =
        Dribbling { kind: "a message", reason: "publish_timeout", streams: publishing, bytes: vec![0] };

    let began = Instant::now();
    let during = Memory::of(&server);
    let most = (count + EACH) as u64;
    during.assert_within(before, most * RSS_KIB_EACH, most * KERNEL_BYTES_EACH);
    for round in 0.. {
        let due = began + Duration::from_secs(1) * round;
        if due > began + ALL_TIMEOUTS {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        all.iter().chain([&publishing]).for_each(|peers| peers.send(round as usize));
    }
    for peers in all.iter().chain([&publishing]) {
        let open = peers.streams.iter().filter(|stream| !is_closed(stream)).count();
        assert_eq!(open, 0, "{}: still open after {:?}", peers.kind, began.elapsed());
    }
    for reason in ["handshake_timeout", "connect_timeout", "publish_timeout"] {
        let expected = all.iter().chain([&publishing]).filter(|peers| peers.reason == reason).count() * EACH;
        let label = format!("\"{reason}\"");
        assert_eq!(server.metric("srs_shard_closes_total", &label), expected as u64, "{reason}");
    }
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.times("publish_timeout"), EACH as u64);
}

#[test]
fn half_open_peers() {
    // A player whose machine is gone acknowledges nothing; 3 s are allowed for that.
    let server = Setup::new(2).tables("[vhost.__defaultVhost__.play]\nsend_timeout = \"3s\"").start();
    let neighbour = Neighbour::start(&server);
    let clip = Recipe::usual(4).clip();
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("watched"));
    server.wait_published("watched");
    let before = Memory::of(&server);
    let [rtmp, http, _] = server.ports();
    let mut gone = Vec::new();
    for n in 0..EACH {
        let encoder = dial(server.ip(), rtmp);
        let mut session = client_on(&encoder, &server.rtmp(&format!("gone{n}")), Role::PublishFmle);
        session.write_media(Kind::Audio, WireTime(0), &[0xaf, 0, 0x12, 0x10]);
        say(&encoder, &session.take_output());
        gone.push(encoder);
        // Some get media, some wait for an encoder that never comes.
        for (stream, path) in [("watched", "/live/watched.flv"), ("nothing", "/live/nothing.flv")] {
            let player = dial(server.ip(), rtmp);
            client_on(&player, &server.rtmp(stream), Role::Play);
            let browser = dial(server.ip(), http);
            ask(&browser, path);
            (&browser).read_exact(&mut [0; 10]).expect("an answer begins");
            gone.extend([player, browser]);
        }
    }
    server.wait_viewers("watched", 2 * EACH);
    server.wait_viewers("nothing", 2 * EACH);
    gone.iter().for_each(vanish);
    wait_for("those who are gone to be noticed", || (server.clients().len() == 3).then_some(()));
    assert_eq!(server.metric("srs_shard_closes_total", "\"publish_timeout\""), EACH as u64);
    assert_eq!(server.metric("srs_shard_closes_total", "\"send_timeout\""), 4 * EACH as u64);
    Memory::wait_back(&server, before);
    encoder.signal("INT");
    server.wait_unpublished("watched");
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.times("publish_timeout"), EACH as u64);
    assert_eq!(log.times("send_timeout"), 4 * EACH as u64);
}
