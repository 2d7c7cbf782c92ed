//! Goal: what one peer does costs the others nothing: a stream's viewer gets all its frames, with no gap over 2 s,
//! and afterwards the server's memory and the kernel's are as before.
//! Method: a neighbour stream with its viewers, while encoders are killed, hundreds of players stop reading, and
//! garbage comes in on every port.

use crate::support::clip::{Clip, Recipe};
use crate::support::packets::{Form, Seen, watch};
use crate::support::player::{Player, connect, longest_gap};
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish, publish_with};
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const LONGEST_GAP: Duration = Duration::from_secs(2);
const STUCK_PLAYERS: usize = 300;
/// An allocator keeps some of what was freed.
const RSS_MARGIN_KIB: u64 = 48 << 10;
/// Other programs use TCP as well: in pages of 4 KiB.
const TCP_MARGIN_PAGES: u64 = 8 << 10;

#[test]
fn of_encoders_that_are_killed() {
    unharmed(12, |server| {
        let clip = Recipe::usual(4).clip();
        for n in 0..4 {
            let name = format!("victim{}", n % 2);
            let encoder =
                publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp(&name));
            let player = Player::start(&server.rtmp(&name));
            player.until(|came| came.is_picture());
            encoder.signal("KILL");
            drop(encoder);
            server.wait_unpublished(&name);
        }
    });
}

#[test]
fn of_players_that_stop_reading() {
    let busy = Recipe { video_kbps: 3000, size: (640, 360), ..Recipe::usual(5) }.clip();
    unharmed(25, |server| {
        let settled = || (server.status_kib("VmRSS"), unsent_bytes(server.ip()), tcp_pages());
        let before = settled();
        let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &busy.path, &server.rtmp("heavy"));
        server.wait_published("heavy");
        let stuck: Vec<TcpStream> =
            (0..STUCK_PLAYERS).map(|_| connect(&server.rtmp("heavy"), Role::Play).0).collect();
        server.wait_viewers("heavy", STUCK_PLAYERS);
        // Until the sockets of most of them are full.
        wait_for("players to be stuck", || {
            let behind =
                server.clients_of("heavy").iter().filter(|client| client.queued_bytes > 100_000).count();
            (behind > STUCK_PLAYERS / 2).then_some(())
        });
        let during = settled();
        let most_kernel = STUCK_PLAYERS as u64 * (4 << 20);
        assert!(during.1 < most_kernel, "{} bytes wait in the kernel", during.1);
        // Cursors, not queues: 300 queues of even one GOP would be over 100 MiB.
        assert!(during.0 < before.0 + (100 << 10), "RSS {} KiB, {} before", during.0, before.0);
        drop(stuck);
        drop(encoder);
        server.wait_unpublished("heavy");
        wait_for("memory to come back", || {
            let now = settled();
            let back = now.0 < before.0 + RSS_MARGIN_KIB
                && now.1 < before.1 + (1 << 20)
                && now.2 < before.2 + TCP_MARGIN_PAGES;
            back.then_some(())
        });
    });
}

#[test]
fn of_garbage_on_every_port() {
    unharmed(14, |server| {
        let [rtmp, http, api] = server.ports();
        let mut slow = Vec::new();
        for round in 0..20u64 {
            for port in [rtmp, http, api] {
                say(server.ip(), port, &noise(round * 3 + u64::from(port), 20_000));
                say(server.ip(), port, &[]);
            }
            // Half a handshake, then gone; and one that never goes on.
            say(server.ip(), rtmp, &[[3].as_slice(), &noise(round, 700)].concat());
            slow.push(open_and_say(server.ip(), rtmp, &[3; 100]));
            slow.push(open_and_say(server.ip(), http, b"GET / HTTP/1.1\r\nHost:"));
            // After a handshake: a chunk that claims 16 MiB; a type 3 chunk of a stream never begun; noise.
            say(
                server.ip(),
                rtmp,
                &[handshake(), vec![2, 0, 0, 0, 0xff, 0xff, 0xff, 9, 0, 0, 0, 0]].concat(),
            );
            say(server.ip(), rtmp, &[handshake(), vec![0xc5, 1, 2, 3]].concat());
            say(server.ip(), rtmp, &[handshake(), noise(round + 1000, 50_000)].concat());
            // A chunk size of 2^31 and of 0.
            for size in [[0x80, 0, 0, 0], [0, 0, 0, 0]] {
                let set = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size].concat();
                say(server.ip(), rtmp, &[handshake(), set, noise(round, 3000)].concat());
            }
        }
        // Slowloris: a byte now and then.
        for _ in 0..10 {
            for connection in slow.iter().flatten() {
                let _ = (&*connection).write(b"a");
            }
            thread::sleep(Duration::from_millis(200));
        }
        drop(slow);
        assert_eq!(server.api("/api/v1/versions")["code"], 0);
    });
}

/// Runs `abuse` while a stream of `seconds` goes its way, and looks at what its viewers got.
fn unharmed(seconds: u32, abuse: impl FnOnce(&Server)) {
    let clip: Arc<Clip> = Recipe::usual(seconds).clip();
    let server = Server::with_shards(2);
    let watching: Vec<Tool> = [server.rtmp("neighbour"), server.http("/live/neighbour.flv")]
        .iter()
        .map(|url| watch(DEBIAN_FFMPEG, url, Form::Whole, clip.has()))
        .collect();
    let player = Player::start(&server.rtmp("neighbour"));
    server.wait_viewers("neighbour", 3);
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("neighbour"));
    server.wait_published("neighbour");
    abuse(&server);
    encoder.finished();
    server.wait_unpublished("neighbour");
    server.release_players("neighbour");
    let came = player.rest();
    for tool in watching {
        Seen::parse(&tool.ended().output).assert_same(&clip.seen(Form::Whole), 0, "the neighbour's viewer");
    }
    let gap = longest_gap(&came);
    assert!(gap < LONGEST_GAP, "{gap:?} without a picture");
    wait_for("all connections to be gone", || server.clients().is_empty().then_some(()));
}

/// C0, C1 and a C2, which our simple handshake takes as it is.
fn handshake() -> Vec<u8> {
    [[3].as_slice(), &[0; 8], &noise(42, 1528), &noise(43, 1536)].concat()
}

fn say(ip: Ipv4Addr, port: u16, bytes: &[u8]) {
    if let Some(mut connection) = open_and_say(ip, port, bytes) {
        let _ = connection.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = connection.read(&mut [0; 4096]);
    }
}

fn open_and_say(ip: Ipv4Addr, port: u16, bytes: &[u8]) -> Option<TcpStream> {
    let mut connection = TcpStream::connect((ip, port)).ok()?;
    let _ = connection.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = connection.write_all(bytes);
    Some(connection)
}

/// Bytes without sense: the same for the same seed (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(byte).collect()
}

/// Bytes that the kernel holds in sockets of this address, in either direction.
fn unsent_bytes(ip: Ipv4Addr) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let mine = format!("{:08X}:", u32::from_le_bytes(ip.octets()));
    let queues = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, _, queues, ..] = fields[..] else { return 0 };
        let both = queues.split(':').filter_map(|hex| u64::from_str_radix(hex, 16).ok()).sum();
        if local.starts_with(&mine) { both } else { 0 }
    };
    table.lines().skip(1).map(queues).sum()
}

/// Pages of memory that TCP uses on this machine.
fn tcp_pages() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").expect("the kernel's counters");
    let line = text.lines().find(|line| line.starts_with("TCP:")).expect("a line for TCP");
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}
