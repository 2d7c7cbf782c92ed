//! Goal: neither the machine's clock nor an encoder's times decide when media flows.
//! Method: a server whose wall clock is stepped under it by libfaketime (what the process reads, that is; the
//! kernel's monotonic clock goes on); encoders of this process whose timestamps jump and wrap.

use super::peers::{client_on, dial, say};
use crate::support::PATIENCE;
use crate::support::clip::Recipe;
use crate::support::http;
use crate::support::log::Log;
use crate::support::memory::Memory;
use crate::support::neighbour::{LONGEST_GAP, Neighbour};
use crate::support::player::{Came, Player, longest_gap};
use crate::support::server::{Server, Setup};
use srs_shard::formats::flv_file;
use srs_shard::formats::message::{Kind, Message, WireTime};
use srs_shard::rtmp::client::Role;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Where Debian's libfaketime is, below a folder for the architecture.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";
/// How far the clock is moved, one after the other, and how that shows in the log.
const STEPS: [&str; 4] = ["-3600", "+86400", "-86400", "+0"];
const STEP: Duration = Duration::from_millis(2500);

#[test]
fn the_machine_s_clock_is_stepped() {
    let folders = fs::read_dir("/usr/lib").expect("a folder").filter_map(|entry| Some(entry.ok()?.path()));
    let library = folders.map(|folder| folder.join(FAKETIME)).find(|path| path.exists());
    let library = library.expect("Debian's package faketime is installed");
    let offset = std::env::temp_dir().join(format!("srs-shard-clock-{}", std::process::id()));
    fs::write(&offset, "+0\n").expect("a temporary file");
    let server = Setup::new(2)
        .env("LD_PRELOAD", library.to_str().expect("a plain path"))
        .env("FAKETIME_TIMESTAMP_FILE", offset.to_str().expect("a plain path"))
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    // A deadline that wall clock would reach at once, or never: it is 5 s in which nothing comes.
    let silent = dial(server.ip(), server.ports()[0]);
    let mut session = client_on(&silent, &server.rtmp("silent"), Role::PublishFmle);
    session.write_media(Kind::Audio, WireTime(0), &[0xaf, 0, 0x12, 0x10]);
    say(&silent, &session.take_output());
    let began = Instant::now();
    let mut closed = None;
    for step in STEPS {
        fs::write(&offset, format!("{step}\n")).expect("a temporary file");
        let until = Instant::now() + STEP;
        while Instant::now() < until {
            if closed.is_none() && server.clients_of("silent").is_empty() {
                closed = Some(began.elapsed());
            }
            thread::sleep(Duration::from_millis(50));
        }
        // A line at each step: what the process takes for the time.
        let _ = http::request(server.http_at(), "BREW", "/\u{1}", &[]);
    }
    let closed = closed.expect("the silent encoder is closed");
    assert!(closed > Duration::from_secs(4) && closed < Duration::from_secs(8), "closed after {closed:?}");
    let days: std::collections::BTreeSet<String> =
        server.log().lines().filter_map(|line| Some(line.strip_prefix('[')?.get(..13)?.to_owned())).collect();
    assert!(days.len() >= 3, "the steps show in the log: {days:?}");
    eprintln!("closed after {closed:?}; hours in the log: {days:?}");
    Memory::wait_back(&server, before);
    eprintln!("{:?}", neighbour.verdict(&server));
    let _ = fs::remove_file(offset);
}

/// How an encoder tells the times of its messages.
struct Times {
    name: &'static str,
    of: fn(u32) -> u32,
}

/// A picture's time in ms, from 0, becomes what the encoder says.
const TIMES: [Times; 4] = [
    Times { name: "back", of: |ms| if ms < 2000 { 3_600_000 + ms } else { ms - 2000 } },
    Times { name: "forward", of: |ms| if ms < 2000 { ms } else { 7_200_000 + ms } },
    Times { name: "wrap32", of: |ms| ms.wrapping_sub(2000) },
    Times { name: "wrap31", of: |ms| ms.wrapping_sub(2000) & 0x7fff_ffff },
];

#[test]
fn timestamps_jump_back_forward_and_wrap() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let file = fs::read(&Recipe::usual(4).clip().path).expect("the clip");
    let media: Vec<Message> = flv_file::messages(&file).expect("an FLV file");
    let media: Vec<Message> = media.into_iter().filter(|message| message.kind != Kind::Data).collect();
    let viewers: Vec<Player> = TIMES.iter().map(|times| Player::start(&server.rtmp(times.name))).collect();
    let mut encoders: Vec<_> = TIMES
        .iter()
        .map(|times| {
            let stream = dial(server.ip(), server.ports()[0]);
            let session = client_on(&stream, &server.rtmp(times.name), Role::PublishFmle);
            (times, stream, session)
        })
        .collect();
    let began = Instant::now();
    for message in &media {
        let due = began + Duration::from_millis(message.time.0.into());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for (times, stream, session) in &mut encoders {
            session.write_media(message.kind, WireTime((times.of)(message.time.0)), &message.payload);
            assert!(say(stream, &session.take_output()), "{}: the server reads", times.name);
        }
    }
    let expected = media.iter().filter(|m| picture(m)).count();
    for (times, viewer) in TIMES.iter().zip(viewers) {
        let mut pictures = 0;
        let came = viewer.until(|came| {
            pictures += usize::from(came.is_picture());
            pictures == expected
        });
        let seen: Vec<&Came> = came.iter().filter(|came| came.is_picture()).collect();
        let sent = media.iter().filter(|m| picture(m));
        assert!(seen.iter().zip(sent).all(|(a, b)| a.message.payload == b.payload), "{}: all", times.name);
        let shown: Vec<u32> = seen.iter().map(|came| came.message.time.0).collect();
        assert!(shown.is_sorted(), "{}: time never goes back: {shown:?}", times.name);
        let length = shown[shown.len() - 1] - shown[0];
        assert!((3_500..4_500).contains(&length), "{}: {length} ms of media", times.name);
        assert!(longest_gap(&came) < LONGEST_GAP, "{}", times.name);
    }
    drop(encoders);
    assert!(began.elapsed() < PATIENCE);
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    Log::of(&server).assert_terse();
}

fn picture(message: &Message) -> bool {
    Came { at: Instant::now(), message: message.clone() }.is_picture()
}
