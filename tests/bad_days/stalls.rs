//! Goal: a shard that stands still for 2 s costs streams of other shards nothing; its own viewers, and those of the
//! streams it owns wherever they are, get all their frames, late; the API answers meanwhile and names it.
//! Method: a server built with `--features fault-injection`, of which a client stalls the shard that it is on.

use super::peers::{ask, dial};
use crate::support::log::Log;
use crate::support::memory::Memory;
use crate::support::neighbour::{LONGEST_GAP, Neighbour};
use crate::support::player::{Player, longest_gap, try_connect};
use crate::support::server::Server;
use crate::support::wait_for;
use srs_shard::config::schema::DEFAULT_VHOST;
use srs_shard::rtmp::client::Role;
use srs_shard::stream::post;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const SHARDS: u16 = 2;
const STALLED: u16 = 1;
const STALL: Duration = Duration::from_secs(2);
/// So long the API waits for a shard, and some more.
const API_WAITS: Duration = Duration::from_millis(1800);
/// Pictures of the neighbour are 40 ms apart.
const STEP_MS: u32 = 60;

#[test]
fn a_peer_shard_stalls_for_2_s() {
    let server = Server::with_shards(SHARDS);
    let stalls =
        |name: &String| shards::owner::owner_of(&post::key(DEFAULT_VHOST, "live", name), SHARDS).0 == STALLED;
    let names = || (0..).map(|n| format!("neighbour{n}"));
    let name = names().find(|name| !stalls(name)).expect("a name");
    let neighbour = Neighbour::start_where(&server, &name, |shard| shard != STALLED);
    // Its encoder and its player are on the other shard, but it is owned by the one that will stall.
    let orphan =
        Neighbour::start_where(&server, &names().find(stalls).expect("a name"), |shard| shard != STALLED);
    let before = Memory::of(&server);
    // The same stream has a viewer on the shard that will stall.
    let victim = Player::start_where(&server, &name, |shard| shard == STALLED);
    victim.until(|came| came.is_picture());

    let url = server.rtmp(&format!("__stall_shard__{STALLED}"));
    let trigger = thread::spawn(move || {
        loop {
            let began = Instant::now();
            let answer = try_connect(&url, Role::Play);
            if began.elapsed() > STALL / 2 {
                return answer.is_ok();
            }
        }
    });
    wait_for("the stall", || server.log().contains("stalls for").then_some(()));
    let asked = Instant::now();
    // Some of these are on the shard that stands still; the others are answered by the shard that does not.
    let questions: Vec<TcpStream> = (0..8).map(|_| dial(server.ip(), server.ports()[2])).collect();
    questions.iter().for_each(|stream| ask(stream, "/api/v1/streams/"));
    let answers = questions.iter().map(|stream| {
        let left = API_WAITS.saturating_sub(asked.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).expect("a socket option");
        let mut answer = vec![0; 16 << 10];
        let length = { stream }.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    });
    let answers: Vec<String> = answers.filter(|answer| !answer.is_empty()).collect();
    let in_time = asked.elapsed() < STALL;
    assert!(in_time && answers.iter().all(|answer| answer.contains(MISSING)), "{answers:?}");
    assert!(!answers.is_empty() && answers.len() < 8, "{} answers", answers.len());
    assert!(trigger.join().expect("no panic"), "who stalled it is served in the end");

    drop(questions);
    thread::sleep(STALL);
    Memory::wait_back(&server, before);
    assert!(server.metric("srs_shard_loop_stalls_total", "\"1\"") > 0, "the stall is counted");
    let verdict = neighbour.verdict(&server);
    eprintln!("{verdict:?}");
    assert!(verdict.longest_gap < LONGEST_GAP / 2, "{verdict:?}");
    let verdict = orphan.complete(&server);
    eprintln!("of a stream that the stalled shard owns: {verdict:?}");
    let stalled = STALL - Duration::from_millis(300)..STALL + Duration::from_millis(700);
    assert!(stalled.contains(&verdict.longest_gap), "{verdict:?}");
    let came = victim.rest();
    let gap = longest_gap(&came);
    assert!(gap > STALL - Duration::from_millis(300), "the stall was one: {gap:?}");
    let times: Vec<u32> = came.iter().filter(|came| came.is_picture()).map(|c| c.message.time.0).collect();
    let jump = times.windows(2).find(|two| two[1] - two[0] > STEP_MS);
    assert!(jump.is_none(), "the stalled shard's viewer misses pictures: {jump:?}");
    let log = Log::of(&server);
    log.assert_terse();
    assert_eq!(log.with("shard 1 stood still for").count(), 1, "it is told");
}

/// How an answer names the shard that it lacks.
const MISSING: &str = "\"unanswered\":[1]";
