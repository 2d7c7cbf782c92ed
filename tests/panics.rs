//! Goal: a panic costs the connection or the stream it happens in, and nothing else.
//! Method: a server built with `--features fault-injection` panics on demand in a connection's task and in a
//! stream's handler on its owner; a neighbour stream on every shard goes on meanwhile.

mod support;

use srs_shard::rtmp::client::Role;
use std::time::Duration;
use support::clip::Recipe;
use support::http::get;
use support::packets::{Form, Seen, watch};
use support::player::{Came, Player, longest_gap, try_connect};
use support::server::Server;
use support::tool::{DEBIAN_FFMPEG, publish, publish_with};
use support::wait_for;

const SHARDS: u16 = 2;

#[test]
fn in_a_connection_and_in_a_stream() {
    let clip = Recipe::usual(12).clip();
    let server = Server::with_shards(SHARDS);
    let watching = [server.rtmp("neighbour"), server.http("/live/neighbour.flv")]
        .map(|url| watch(DEBIAN_FFMPEG, &url, Form::Whole, clip.has()));
    let player = Player::start(&server.rtmp("neighbour"));
    server.wait_viewers("neighbour", 3);
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("neighbour"));
    server.wait_published("neighbour");

    for _ in 0..4 {
        assert!(try_connect(&server.rtmp("__panic_conn__"), Role::Play).is_err(), "its task is gone");
        assert!(try_connect(&server.rtmp("__panic_conn__"), Role::PublishFmle).is_err(), "its task is gone");
    }
    wait_for("8 panics to be counted", || (panics(&server) == 8).then_some(()));

    let short = Recipe::usual(4).clip();
    for round in 1..=3 {
        // Several viewers, so that some are on the owner's shard and some are not, and one who has waited.
        let waiting = Player::start(&server.rtmp("__panic_stream__"));
        let more: Vec<Player> = (0..6).map(|_| Player::start(&server.rtmp("__panic_stream__"))).collect();
        let http = watch(DEBIAN_FFMPEG, &server.http("/live/__panic_stream__.flv"), Form::Whole, short.has());
        server.wait_viewers("__panic_stream__", 8);
        let url = server.rtmp("__panic_stream__");
        let victim = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &short.path, &url);
        assert!(!victim.ended().status.success(), "its encoder is closed");
        for viewer in more.into_iter().chain([waiting]) {
            let pictures = viewer.rest().iter().filter(|came| came.is_picture()).count();
            assert!(pictures < 10, "{pictures} pictures before the panic at the tenth");
        }
        http.ended();
        wait_for("the stream and its clients to be gone", || {
            (server.clients_of("__panic_stream__").is_empty() && server.stream("__panic_stream__").is_none())
                .then_some(())
        });
        wait_for("the panic to be counted", || (panics(&server) == 8 + round).then_some(()));
    }
    assert!(server.log().contains(": panic after"), "the reason is in the log\n{}", server.log());

    encoder.finished();
    server.wait_unpublished("neighbour");
    server.release_players("neighbour");
    let came = player.rest();
    for tool in watching {
        let seen = Seen::parse(&tool.ended().output);
        seen.assert_same(&clip.seen(Form::Whole), 0, "the neighbour's viewer");
    }
    let gap = longest_gap(&came);
    assert!(gap < Duration::from_secs(2), "{gap:?} without a picture");
    let pictures = came.iter().filter(|came| came.is_picture()).count();
    assert_eq!(pictures, clip.seen(Form::Whole).video.len());
    assert!(came.iter().any(Came::is_key));
}

fn panics(server: &Server) -> u64 {
    let answer = get(server.api_at(), "/metrics");
    let values = answer.text().lines().filter(|line| line.contains("panics") && !line.starts_with('#'));
    values.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")).sum()
}
