//! Goal: bytes that break a protocol, or that ask for more memory than a peer may have, end the peer who sent them
//! with the reason, and nobody else; the memory comes back.
//! Method: garbage on every port; messages that are too long, too many or interleaved without end; AMF0 that is too
//! deep or too wide, in every place where a peer may send it.

use super::peers::{client_on, dial, handshake, is_closed, noise, say};
use crate::support::log::Log;
use crate::support::memory::{ALLOCATOR_KIB, Memory};
use crate::support::neighbour::Neighbour;
use crate::support::player::Player;
use crate::support::server::{Server, Setup};
use crate::support::wait_for;
use srs_shard::formats::message::{Kind, WireTime};
use srs_shard::rtmp::chunk::{csid, reader::Limits, type_id, writer::write_message};
use srs_shard::rtmp::client::Role;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

/// A chunk size with which a message is one chunk.
const WHOLE: u32 = 0xff_ffff;
/// Encoders that hold as much of unfinished messages as they may, at the same time.
const HOARDERS: usize = 6;

#[test]
fn garbage_on_every_port() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let [rtmp, http, api] = server.ports();
    let speak = |port, bytes: &[u8]| listen_a_moment(server.ip(), port, bytes);
    for round in 0..20u64 {
        for port in [rtmp, http, api] {
            speak(port, &noise(round * 3 + u64::from(port), 20_000));
            speak(port, &[]);
        }
        // Half a handshake, then gone.
        speak(rtmp, &[[3].as_slice(), &noise(round, 700)].concat());
        // After a handshake: a chunk that claims 16 MiB; a type 3 chunk of a stream never begun; noise.
        speak(rtmp, &[handshake(), vec![2, 0, 0, 0, 0xff, 0xff, 0xff, 9, 0, 0, 0, 0]].concat());
        speak(rtmp, &[handshake(), vec![0xc5, 1, 2, 3]].concat());
        speak(rtmp, &[handshake(), noise(round + 1000, 50_000)].concat());
        // A chunk size of 2^31 and of 0.
        for size in [[0x80, 0, 0, 0], [0, 0, 0, 0]] {
            let set = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size].concat();
            speak(rtmp, &[handshake(), set, noise(round, 3000)].concat());
        }
    }
    assert_eq!(server.api("/api/v1/versions")["code"], 0);
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert!(log.times("protocol_error (") >= 60 && log.times("bad_request (") >= 40);
}

#[test]
fn oversized_and_interleaved_messages() {
    let server = Setup::new(2).top("feed_memory = \"8GiB\"").start(); // on a small machine, too
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let limits = Limits::default();
    // Before anything was allowed, and as an encoder: what is claimed is refused before it is sent.
    let unknown = dial(server.ip(), server.ports()[0]);
    say(&unknown, &[handshake(), header(3, limits.max_script_bytes + 1, type_id::COMMAND).to_vec()].concat());
    wait_closed(&unknown);
    let command = encoder(&server, "command", &header(3, limits.max_script_bytes + 1, type_id::COMMAND));
    wait_closed(&command);
    // A chunk stream too many, each with a message that has begun.
    let streams: Vec<u8> = (3..3 + limits.max_chunk_streams as u8 + 1)
        .flat_map(|csid| {
            let basic = if csid < 64 { vec![csid] } else { vec![0, csid - 64] };
            [basic, header(0, 100, type_id::VIDEO)[1..].to_vec(), vec![0; 100]].concat()
        })
        .collect();
    wait_closed(&encoder(&server, "streams", &streams));
    // A message inside another of its chunk stream.
    let inside = [&header(6, 100_000, type_id::VIDEO)[..], &vec![0; 60_000], &header(6, 10, type_id::VIDEO)];
    wait_closed(&encoder(&server, "inside", &inside.concat()));
    assert_eq!(server.metric("srs_shard_closes_total", "\"protocol_error\""), 4);

    // Unfinished messages: just as much as one may hold, then more.
    // Its buffers count, which are up to twice what is in them.
    let full = unfinished(limits.max_partial_bytes / 2);
    let hoarders: Vec<TcpStream> =
        (0..HOARDERS).map(|n| encoder(&server, &format!("hoarder{n}"), &full)).collect();
    wait_for("hoarders to hold what they may", || {
        let now = Memory::of(&server);
        (now.rss_kib > before.rss_kib + HOARDERS as u64 * (limits.max_partial_bytes as u64 >> 10) / 2)
            .then_some(())
    });
    let most = (HOARDERS * limits.max_partial_bytes) as u64 >> 10;
    let during = Memory::of(&server);
    eprintln!("hoarders: {before:?} before, {during:?} with them");
    during.assert_within(before, most, HOARDERS as u64 * (8 << 20));
    wait_closed(&encoder(&server, "more", &unfinished(limits.max_partial_bytes)));
    assert_eq!(server.metric("srs_shard_closes_total", "\"protocol_error\""), 5);
    hoarders.iter().for_each(wait_closed);
    assert_eq!(server.metric("srs_shard_closes_total", "\"publish_timeout\""), HOARDERS as u64);
    eprintln!("after: {:?}", Memory::wait_back(&server, before));
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    for words in
        ["limit 1048576", "more than 64 chunk streams", "inside a message", "hold more than 25165824 bytes"]
    {
        assert_eq!(log.with(words).filter(|text| text.contains("protocol_error")).count(), 1, "{words}");
    }
}

#[test]
fn unfinished_messages_of_many_encoders() {
    const SHARDS: u64 = 2;
    // Unfinished messages may take an eighth of this, shared among the shards.
    const FEED_MEMORY_MIB: u64 = 256;
    let feed_memory = format!("feed_memory = \"{FEED_MEMORY_MIB}MiB\"");
    let server = Setup::new(SHARDS as u16).top(&feed_memory).start();
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let some = unfinished(3 << 20);
    let encoders: Vec<TcpStream> = (0..20).map(|n| encoder(&server, &format!("hoarder{n}"), &some)).collect();
    let during = Memory::of(&server);
    eprintln!("many encoders: {before:?} before, {during:?} with them");
    during.assert_within(before, (FEED_MEMORY_MIB << 10) / 8 + ALLOCATOR_KIB, 20 << 20);
    // Of their 60 MiB and more 32 may stay.
    let closed = || encoders.iter().filter(|stream| is_closed(stream)).count();
    wait_for("those who hold too much to be closed", || (closed() >= 8).then_some(()));
    assert!(closed() < 20, "some may stay");
    drop(encoders);
    Memory::wait_back(&server, before);
    let closed = server.metric("srs_shard_closes_total", "\"memory_budget\"");
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.times("memory_budget (unfinished messages: "), closed, "the limit is named");
}

#[test]
fn amf_bombs() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let cpu_before_ms = server.cpu_ms();
    // Strict arrays in strict arrays; objects in objects; nulls without end; an array that claims 2^32 values; a string
    // that claims 4 GiB; properties without end. None is longer than a command may be.
    let deep_arrays = [&b"\x0a\0\0\0\x01"[..]].repeat(50_000).concat();
    let deep_objects = [&b"\x03\0\x01a"[..]].repeat(60_000).concat();
    let wide = [&b"\x0a\0\x03\xd0\x90"[..], &vec![5; 250_000]].concat();
    let claims_values = [&b"\x0a\xff\xff\xff\xff"[..], &vec![5; 1000]].concat();
    let claims_text = [&b"\x0c\xff\xff\xff\xff"[..], &vec![b'a'; 1000]].concat();
    let properties = [&b"\x03"[..], &[&b"\0\x01a\x05"[..]].repeat(60_000).concat()].concat();
    let bombs = [deep_arrays, deep_objects, wide, claims_values, claims_text, properties];
    let connect = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0";
    let metadata = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData";
    let call = b"\x02\0\x04bomb\0\0\0\0\0\0\0\0\0\x05";
    for (n, bomb) in bombs.iter().enumerate() {
        // In `connect`, in a call after it, and in what every player of the stream would be given.
        let chunk_size = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &WHOLE.to_be_bytes()].concat();
        let message = |kind, csid, opening: &[u8]| {
            let mut out = chunk_size.clone();
            write_message(&mut out, csid, kind, 1, WireTime(0), &[opening, bomb], WHOLE);
            out
        };
        let stranger = dial(server.ip(), server.ports()[0]);
        say(&stranger, &[handshake(), message(type_id::COMMAND, csid::COMMAND, connect)].concat());
        wait_closed(&stranger);
        // Calls that nobody knows are no trouble.
        encoder(&server, &format!("call{n}"), &message(type_id::COMMAND, csid::COMMAND, call));
        let name = format!("metadata{n}");
        let player = Player::start(&server.rtmp(&name));
        let sender = encoder(&server, &name, &message(type_id::DATA, csid::DATA, metadata));
        // Its metadata is its own trouble: its media passes.
        let mut picture = Vec::new();
        write_message(&mut picture, csid::VIDEO, type_id::VIDEO, 1, WireTime(40), &[&PICTURE], WHOLE);
        say(&sender, &picture);
        player.until(|came| came.message.kind == Kind::Video && came.message.payload[..] == PICTURE);
    }
    let spent_ms = server.cpu_ms() - cpu_before_ms;
    eprintln!("bombs: {spent_ms} ms of CPU");
    assert!(spent_ms < 5_000, "{spent_ms} ms of CPU for some bombs");
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.times("protocol_error"), bombs.len() as u64);
}

/// An H.264 keyframe, as far as a server looks.
const PICTURE: [u8; 9] = [0x17, 1, 0, 0, 0, 0, 0, 0, 0];

fn header(csid: u8, length: u32, kind: u8) -> [u8; 12] {
    let [_, a, b, c] = length.to_be_bytes();
    [csid, 0, 0, 0, a, b, c, kind, 1, 0, 0, 0]
}

/// So many bytes of messages on many chunk streams, a chunk of each in turn, of which none is finished.
fn unfinished(bytes: usize) -> Vec<u8> {
    const CHUNK_BYTES: usize = 60_000;
    let each = Limits::default().max_message_bytes / 2;
    let turns = bytes / CHUNK_BYTES;
    let mut out = Vec::new();
    for turn in 0..turns {
        let csid = 8 + (turn % 8) as u8;
        let head = header(csid, each, type_id::VIDEO);
        out.extend(if turn < 8 { head.to_vec() } else { vec![0xc0 | csid] });
        out.extend(noise(turn as u64, CHUNK_BYTES));
    }
    out
}

/// An encoder that may publish, has begun, and then sends these bytes.
fn encoder(server: &Server, name: &str, bytes: &[u8]) -> TcpStream {
    let stream = dial(server.ip(), server.ports()[0]);
    let mut session = client_on(&stream, &server.rtmp(name), Role::PublishFmle);
    session.write_media(Kind::Video, WireTime(0), &[0x17, 0, 0, 0, 0, 1, 66, 0, 10, 0xff, 0xe0, 0]);
    say(&stream, &session.take_output());
    say(&stream, bytes);
    stream
}

fn wait_closed(stream: &TcpStream) {
    wait_for("a peer to be cut", || is_closed(stream).then_some(()));
}

fn listen_a_moment(ip: Ipv4Addr, port: u16, bytes: &[u8]) {
    let mut stream = dial(ip, port);
    say(&stream, bytes);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
    let _ = stream.read(&mut [0; 4096]);
    thread::yield_now();
}
