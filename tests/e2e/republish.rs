//! Goal: when the encoder comes back, RTMP players are still there and their time goes on; HTTP viewers were ended
//! in good order, or held if so configured; another resolution reaches players with its new headers.
//! Method: ffmpeg publishes twice under one name while players stay.

use crate::support::clip::{FPS, Recipe};
use crate::support::http::Connection;
use crate::support::packets::{Form, MS, Packet, Seen, watch};
use crate::support::player::{Came, Player};
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish, publish_with};
use std::thread;

#[test]
fn rtmp_players_stay_and_their_time_goes_on() {
    let clip = Recipe::usual(4).clip();
    let server = Server::with_shards(3);
    let watching = watch(DEBIAN_FFMPEG, &server.rtmp("again"), Form::Whole, clip.has());
    server.wait_viewers("again", 1);
    let at = server.http_at();
    let body = move || {
        let mut connection = Connection::open(at);
        connection.send("GET", "/live/again.flv", &[]);
        connection.answer("GET")
    };
    let http = thread::spawn(body);
    server.wait_viewers("again", 2);
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("again")).finished();
    assert!(http.join().expect("an answer").complete, "the HTTP viewer's body ends with its last chunk");
    server.wait_unpublished("again");
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("again")).finished();
    server.wait_unpublished("again");
    server.release_players("again");

    let seen = Seen::parse(&watching.ended().output);
    let published = clip.seen(Form::Whole);
    let (pictures, frames) = (published.video.len(), published.audio.len());
    assert_eq!((seen.video.len(), seen.audio.len()), (2 * pictures, 2 * frames));
    let first = Seen { video: seen.video[..pictures].to_vec(), audio: seen.audio[..frames].to_vec() };
    first.assert_same(&published, 0, "the first publish");
    let second = seen.from(pictures, frames);
    let shift = second.assert_same(&published, 0, "the second publish");
    let last = |packets: &[Packet]| packets.iter().map(|packet| packet.dts).max().expect("packets");
    let end = last(&first.video).max(last(&first.audio));
    assert_eq!(shift - end, 10 * MS, "it goes on 10 ms after the end of the first");
}

#[test]
fn http_viewers_are_held_if_so_configured() {
    let clip = Recipe::usual(3).clip();
    let server = Setup::new(2).remux("hold = \"5s\"").start();
    let url = server.http("/live/held.flv");
    let watching = watch(DEBIAN_FFMPEG, &url, Form::Whole, clip.has());
    server.wait_viewers("held", 1);
    for _ in 0..2 {
        publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("held")).finished();
        server.wait_unpublished("held");
    }
    let seen = Seen::parse(&watching.finished()); // after the hold
    let published = clip.seen(Form::Whole);
    seen.from(published.video.len(), published.audio.len()).assert_same(&published, 0, "the second publish");
}

#[test]
fn a_dropped_encoder_gives_way_and_its_players_get_the_new_resolution() {
    let small = Recipe::usual(4).clip();
    let large = Recipe { size: (480, 270), ..Recipe::usual(4) }.clip();
    let server = Setup::new(3)
        .tables("[vhost.__defaultVhost__.publish]\nstale_after = \"1s\"\nnormal_timeout = \"60s\"")
        .start();
    let file = server.folder().join("dump.flv");
    let file = file.to_str().expect("a plain path");
    let dumping = Tool::start("rtmpdump", &["-q", "--live", "-r", &server.rtmp("dropped"), "-o", file]);
    let player = Player::start(&server.rtmp("dropped"));
    server.wait_viewers("dropped", 2);
    let frozen = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &small.path, &server.rtmp("dropped"));
    let mut pictures = 0;
    player.until(|came| {
        pictures += usize::from(came.is_picture());
        pictures > FPS
    });
    // As if its network were gone: the connection stays, and nothing comes.
    frozen.signal("STOP");
    thread::sleep(std::time::Duration::from_millis(1500));
    publish(DEBIAN_FFMPEG, &large.path, &server.rtmp("dropped")).finished();
    server.wait_unpublished("dropped");
    assert!(server.log().contains("publish_stale"), "the old encoder gave way\n{}", server.log());
    frozen.signal("KILL");
    server.release_players("dropped");
    dumping.ended();

    let came = player.rest();
    let header = came.iter().position(Came::is_video_header).expect("a new sequence header");
    let after = came[header..].iter().filter(|came| came.is_picture()).count();
    assert_eq!(
        after,
        large.seen(Form::Whole).video.len(),
        "all of the new encoder's pictures, after its header"
    );
    assert!(came[header..].iter().find(|came| came.is_picture()).is_some_and(Came::is_key));
    let sizes = decoded_sizes(file);
    assert_eq!(sizes.first(), Some(&(320, 180)));
    let large_pictures = sizes.iter().filter(|size| **size == (480, 270)).count();
    assert_eq!(large_pictures, large.seen(Form::Whole).video.len(), "decoded pictures of the new encoder");
}

#[test]
fn an_encoder_killed_and_back_with_another_resolution() {
    let small = Recipe::usual(4).clip();
    let large = Recipe { size: (480, 270), ..Recipe::usual(4) }.clip();
    let server = Server::with_shards(3);
    let player = Player::start(&server.rtmp("killed"));
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &small.path, &server.rtmp("killed"));
    let mut pictures = 0;
    player.until(|came| {
        pictures += usize::from(came.is_picture());
        pictures > FPS
    });
    encoder.signal("KILL");
    server.wait_unpublished("killed");
    publish(DEBIAN_FFMPEG, &large.path, &server.rtmp("killed")).finished();
    server.wait_unpublished("killed");
    server.release_players("killed");
    let came = player.rest();
    let header = came.iter().position(Came::is_video_header).expect("a new sequence header");
    let after = came[header..].iter().filter(|came| came.is_picture()).count();
    assert_eq!(after, large.seen(Form::Whole).video.len());
    let times: Vec<u32> = came.iter().filter(|c| c.is_picture()).map(|c| c.message.time.0).collect();
    assert!(times.is_sorted(), "time never goes back");
}

/// Sizes of all pictures of a file, as decoded.
fn decoded_sizes(file: &str) -> Vec<(u32, u32)> {
    let line = [
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=width,height",
        "-of",
        "csv=p=0",
        file,
    ];
    let output = Tool::start("ffprobe", &line).finished();
    let text = String::from_utf8(output).expect("text");
    let size = |line: &str| {
        let mut numbers = line.split(',').filter_map(|number| number.parse().ok());
        numbers.next().zip(numbers.next())
    };
    text.lines().filter_map(size).collect()
}
