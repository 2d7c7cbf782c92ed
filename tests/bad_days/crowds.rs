//! Goal: crowds of peers that play and never read, that come and leave at once, or that only knock, cost what their
//! connections cost, and nobody else a frame.
//! Method: thousands of sockets of this process; SYNs from a raw socket where that is permitted.

use super::peers::{ask, client_on, dial, dial_narrow, is_closed, noise, raise_limits, reset, say};
use crate::support::clip::Recipe;
use crate::support::log::Log;
use crate::support::memory::{Memory, wait_sockets};
use crate::support::neighbour::Neighbour;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish_with};
use crate::support::wait_for;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use srs_shard::rtmp::client::Role;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

const NEVER_READING: usize = 2000;
const CONNECT_AND_LEAVE: usize = 10_000;
const SYNS: usize = 2000;

/// What a viewer that never reads may take of the server: a cursor and its connection.
const VIEWER_RSS_KIB: u64 = 12;
/// The stream that they are behind in: 30 s of it at most (`queue_length`, `send_timeout`), in each of two formats.
const STREAM_RSS_KIB: u64 = 2 * 30 * 3000 / 8;
/// And of the kernel: what may be unsent (`TCP_NOTSENT_LOWAT`, max(64 KiB, 500 ms of the stream)), and half of it for
/// the kernel's own headers and for what is under way.
const VIEWER_KERNEL_BYTES: u64 = 3_000_000 / 8 / 2 * 3 / 2;

#[test]
fn thousands_of_players_that_never_read() {
    raise_limits();
    let server = Setup::new(2).tables("[vhost.__defaultVhost__.play]\nsend_timeout = \"6s\"").start();
    let busy = Recipe { video_kbps: 3000, size: (640, 360), ..Recipe::usual(5) }.clip();
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &busy.path, &server.rtmp("heavy"));
    server.wait_published("heavy");
    let [rtmp, http, _] = server.ports();
    let stuck: Vec<TcpStream> = (0..NEVER_READING)
        .map(|n| {
            let port = if n % 2 == 0 { rtmp } else { http };
            let stream = dial_narrow(server.ip(), port);
            if n % 2 == 0 {
                client_on(&stream, &server.rtmp("heavy"), Role::Play);
            } else {
                ask(&stream, "/live/heavy.flv");
            }
            stream
        })
        .collect();
    let mut worst = Memory::of(&server);
    wait_for("all of them to be cut", || {
        // Some read a byte now and then: that is not reading.
        for stream in stuck.iter().step_by(10) {
            let _ = stream.set_nonblocking(true);
            let _ = { stream }.read(&mut [0]);
        }
        let now = Memory::of(&server);
        worst.rss_kib = worst.rss_kib.max(now.rss_kib);
        worst.kernel_bytes = worst.kernel_bytes.max(now.kernel_bytes);
        (server.metric("srs_shard_closes_total", "\"send_timeout\"") == NEVER_READING as u64).then_some(())
    });
    eprintln!("never reading: {before:?} before, {worst:?} at worst");
    let most = NEVER_READING as u64;
    worst.assert_within(before, most * VIEWER_RSS_KIB + STREAM_RSS_KIB, most * VIEWER_KERNEL_BYTES);
    drop(stuck);
    encoder.signal("INT");
    server.wait_unpublished("heavy");
    eprintln!("after: {:?}", Memory::wait_back(&server, before));
    eprintln!("{:?}", neighbour.verdict(&server));
    let log = Log::of(&server);
    assert_eq!(log.with(": send_timeout after").count(), NEVER_READING, "each viewer has its line");
    log.assert_terse();
}

#[test]
fn ten_thousand_that_connect_and_leave() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    for n in 0..CONNECT_AND_LEAVE {
        let port = server.ports()[n % 3];
        let stream = dial(server.ip(), port);
        match n % 4 {
            0 => {}
            1 => reset(stream),
            2 => drop(say(&stream, &[3])),
            _ => {
                say(&stream, &noise(n as u64, 100));
                reset(stream);
            }
        }
    }
    wait_sockets(&server, before.sockets + 10);
    eprintln!("connect and leave: {before:?} before, {:?} after", Memory::wait_back(&server, before));
    // Whoever resets before it is accepted never was here.
    let accepted = server.metric("srs_shard_connections_total", "");
    assert!(accepted >= CONNECT_AND_LEAVE as u64 / 2, "{accepted} connections were accepted");
    eprintln!("{:?}", neighbour.verdict(&server));
    let log = Log::of(&server);
    log.assert_terse();
    for reason in ["peer_reset", "bad_request", "protocol_error"] {
        let counted = server.metric("srs_shard_closes_total", &format!("\"{reason}\""));
        assert!(
            counted > 0 && log.times(reason) == counted,
            "{reason}: {counted}, {} told",
            log.times(reason)
        );
    }
}

#[test]
fn a_port_scan() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP));
    for n in 0..SYNS {
        let to = SocketAddr::from((server.ip(), server.ports()[n % 3]));
        if let Ok(raw) = &raw {
            // Our own kernel knows nothing of this port and answers the SYN-ACK with a reset, as nmap's does.
            let from = 20_000 + (n % 7000) as u16;
            let packet = syn(Ipv4Addr::LOCALHOST, from, server.ip(), to.port());
            raw.send_to(&packet, &SockAddr::from(to)).expect("a raw socket sends");
        }
        // The scan of those who may not send a SYN by themselves.
        reset(dial(server.ip(), to.port()));
        if n % 100 == 99 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    eprintln!("scan by {}", if raw.is_ok() { "SYN and connect" } else { "connect" });
    // Every port still answers, on every shard.
    for port in server.ports() {
        for _ in 0..20 {
            let stream = dial(server.ip(), port);
            say(&stream, b"\0");
            wait_for("an answer or the end", || is_closed(&stream).then_some(()));
        }
    }
    wait_sockets(&server, before.sockets + 10);
    Memory::wait_back(&server, before);
    eprintln!("{:?}", neighbour.verdict(&server));
    Log::of(&server).assert_terse();
}

/// A SYN without options.
fn syn(from: Ipv4Addr, from_port: u16, to: Ipv4Addr, to_port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(from_port.to_be_bytes());
    packet.extend(to_port.to_be_bytes());
    packet.extend(0x1234_5678u32.to_be_bytes()); // sequence
    packet.extend([0; 4]); // acknowledgement
    packet.extend([5 << 4, 2]); // five words, SYN
    packet.extend(1024u16.to_be_bytes()); // window
    packet.extend([0; 4]); // checksum, urgent pointer
    // RFC 9293 §3.1: over addresses, protocol, length and the segment.
    let mut all = [&from.octets()[..], &to.octets(), &[0, 6, 0, 20]].concat();
    all.extend(&packet);
    let sum: u32 = all.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet
}
