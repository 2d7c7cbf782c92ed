//! Goal: who asks for a stream before it is published waits, and then gets it from its very first frame; bodies
//! end in good order when the publisher leaves.
//! Method: curl, and an HTTP client that looks at the last chunk, wait for the stream.

use crate::support::clip::Recipe;
use crate::support::http::Connection;
use crate::support::packets::{Form, MS, Seen};
use crate::support::player::connect;
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;
use srs_shard::rtmp::control::{Control, User};
use std::fs;
use std::io::{Read, Write};
use std::thread;

#[test]
fn get_the_first_frame_and_the_last_chunk() {
    let clip = Recipe::usual(4).clip();
    let server = Server::with_shards(2);
    let views = [".flv", ".ts", ".live.mp4", ".aac"];
    let file =
        |view: &str| server.folder().join(format!("curl{view}")).to_str().expect("a plain path").to_owned();
    let curls: Vec<Tool> = views
        .iter()
        .map(|view| {
            let url = server.http(&format!("/live/later{view}"));
            Tool::start("curl", &["-sS", "--max-time", "60", "-o", &file(view), &url])
        })
        .collect();
    let at = server.http_at();
    let read = thread::spawn(move || {
        let mut connection = Connection::open(at);
        connection.send("GET", "/live/later.flv", &[]);
        connection.answer("GET")
    });
    server.wait_viewers("later", views.len() + 1);
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("later")).finished();

    let answer = read.join().expect("an answer");
    assert_eq!((answer.status, answer.complete), (200, true), "the body has its last chunk");
    assert_eq!(answer.field("content-type"), Some("video/x-flv"));
    for (view, curl) in views.iter().zip(curls) {
        curl.finished(); // curl says 18 if a chunked body is cut
        // Of bare ADTS ffmpeg warns that it has to guess the duration.
        let level = if *view == ".aac" { "error" } else { "warning" };
        let decoded =
            Tool::start(DEBIAN_FFMPEG, &["-v", level, "-i", &file(view), "-f", "null", "-"]).ended();
        assert!(decoded.status.success() && decoded.said.is_empty(), "{view} decodes: {}", decoded.said);
        let form = match *view {
            ".ts" => Form::AnnexB { hevc: false, from_ts: true },
            ".aac" => Form::RawAac,
            _ => Form::Whole,
        };
        let seen = Seen::of_file(DEBIAN_FFMPEG, &file(view), form, clip.has());
        match *view {
            ".aac" => seen.assert_same_bytes(&clip.audio(), view),
            ".flv" => assert_eq!(seen.assert_same(&clip.seen(form), 0, view), 0, "it begins at 0"),
            _ => _ = seen.assert_same(&clip.seen(form), 2 * MS, view),
        }
    }
    assert!(fs::read(file(".flv")).expect("curl's file") == answer.body, "two viewers, one content");
}

#[test]
fn who_asks_much_in_one_breath_is_answered_and_its_leaving_is_seen() {
    const PINGS: usize = 9_000;
    const PONG_BYTES: usize = 12 + 6;
    let server = Server::with_shards(2);
    let (mut player, _) = connect(&server.rtmp("nobody"), Role::Play);
    server.wait_viewers("nobody", 1);
    // After the first as chunks of fmt 3: 7 bytes ask for 18, so what is read at once is more than what is answered
    // at once.
    let mut burst = Vec::new();
    Control::User(User::PingRequest(7)).write(&mut burst);
    let again = [&[0xc2], &burst[PONG_BYTES - 6..]].concat();
    burst.extend(again.repeat(PINGS - 1));
    player.write_all(&burst).expect("the server reads");
    let mut pongs = vec![0; PINGS * PONG_BYTES];
    player.read_exact(&mut pongs).expect("every ping is answered");
    assert!(pongs.ends_with(&[0, 7, 0, 0, 0, 7]), "PingResponse, with the request's time");
    drop(player);
    wait_for("the viewer to be gone", || server.clients_of("nobody").is_empty().then_some(()));
}
