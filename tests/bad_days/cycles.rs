//! Goal: publishing, playing and being killed leave nothing behind, however often: RSS at the end is what it was at
//! cycle 100, ± 5 %.
//! Method: an encoder and players of this process, each time of a stream never heard of before, who break off in turn
//! in every order. The long run: `CYCLES=5000 cargo test --test bad_days cycles -- --nocapture`.

use super::peers::{ask, client_on, dial, raise_limits, reset, say};
use crate::support::PATIENCE;
use crate::support::clip::Recipe;
use crate::support::log::Log;
use crate::support::memory::Memory;
use crate::support::neighbour::Neighbour;
use crate::support::server::Server;
use srs_shard::formats::flv_file;
use srs_shard::formats::message::{Kind, Message};
use srs_shard::rtmp::client::{ClientEvent, Role};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// How many unless `CYCLES` says.
const CYCLES: usize = 300;
/// Up to here everything has happened once: tables and the allocator's pools have their size.
const SETTLED: usize = 100;
const MESSAGES: usize = 40;
/// The neighbour's encoder and its player.
const ALWAYS_THERE: usize = 2;
/// In a long run memory is shown this often.
const SAMPLED: usize = 500;

#[test]
fn publish_play_and_kill_over_and_over() {
    raise_limits();
    let cycles = std::env::var("CYCLES").ok().map_or(CYCLES, |n| n.parse().expect("CYCLES is a number"));
    let file = fs::read(&Recipe::usual(4).clip().path).expect("the clip");
    let media = flv_file::messages(&file).expect("an FLV file");
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let began = Instant::now();
    let mut settled = None;
    for n in 0..cycles {
        cycle(&server, n, &media[..MESSAGES]).break_off();
        // One at a time on a busy machine, too: what several take at once is not what is measured.
        while server.clients().len() > ALWAYS_THERE {
            assert!(began.elapsed() < PATIENCE * (1 + n as u32), "cycle {n} is not over");
            thread::sleep(Duration::from_millis(1));
        }
        if (n + 1) % SAMPLED == 0 {
            eprintln!("cycle {}: {:?}", n + 1, Memory::of(&server));
        }
        if n + 1 == SETTLED {
            settled = Some(Memory::of(&server));
        }
    }
    let (settled, end) = (settled.expect("a hundred cycles"), Memory::of(&server));
    eprintln!("{cycles} cycles in {:?}: {settled:?} at {SETTLED}, {end:?} at the end", began.elapsed());
    let off = end.rss_kib.abs_diff(settled.rss_kib);
    assert!(off * 20 <= settled.rss_kib, "RSS at cycle {SETTLED} and at the end: {settled:?}, {end:?}");
    eprintln!("{:?}", neighbour.verdict(&server));
    Log::of(&server).assert_terse();
}

/// An encoder, an RTMP player who came before it and an HTTP player who came after.
struct Cycle {
    number: usize,
    all: [TcpStream; 3],
}

impl Cycle {
    /// Who breaks off first, and how, differs from cycle to cycle.
    fn break_off(mut self) {
        self.all.rotate_left(self.number % 3);
        for (at, stream) in self.all.into_iter().enumerate() {
            if (self.number + at).is_multiple_of(2) {
                reset(stream);
            }
        }
    }
}

/// Begins one, and returns once its media has come.
fn cycle(server: &Server, n: usize, media: &[Message]) -> Cycle {
    let [rtmp, http, _] = server.ports();
    let name = format!("cycle{n}");
    let player = dial(server.ip(), rtmp);
    let mut playing = client_on(&player, &server.rtmp(&name), Role::Play);
    let encoder = dial(server.ip(), rtmp);
    let mut publishing = client_on(&encoder, &server.rtmp(&name), Role::PublishFmle);
    for message in media {
        publishing.write_media(message.kind, message.time, &message.payload);
    }
    say(&encoder, &publishing.take_output());
    let browser = dial(server.ip(), http);
    ask(&browser, &format!("/live/{name}.{}", ["flv", "ts", "live.mp4", "aac"][n % 4]));
    (&browser).read_exact(&mut [0; 100]).expect("a head and media");

    let began = Instant::now();
    let (mut pictures, mut buffer) = (0, vec![0; 64 << 10]);
    let expected = media.iter().filter(|message| message.kind == Kind::Video).count();
    while pictures < expected {
        assert!(began.elapsed() < PATIENCE, "{pictures} of {expected} pictures");
        let length = (&player).read(&mut buffer).expect("media comes");
        let mut input = &buffer[..length];
        while let Some(event) = playing.read(&mut input).expect("a session in good order") {
            pictures += usize::from(matches!(&event, ClientEvent::Media(m) if m.kind == Kind::Video));
        }
        (&player).write_all(&playing.take_output()).expect("the server reads");
    }
    Cycle { number: n, all: [encoder, player, browser] }
}
