//! Goal: a second encoder under the same name is refused and harms nobody, or takes over without players noticing
//! if so configured.
//! Method: two ffmpegs on one stream, and a player that notes when each picture came.

use crate::support::clip::{FPS, Recipe};
use crate::support::packets::{Form, Seen, watch};
use crate::support::player::{Came, Player, longest_gap};
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish, publish_with};
use crate::support::wait_for;
use std::time::Duration;

#[test]
fn the_second_encoder_is_refused() {
    let clip = Recipe::usual(6).clip();
    let server = Server::with_shards(3);
    let watching = watch(DEBIAN_FFMPEG, &server.rtmp("one"), Form::Whole, clip.has());
    server.wait_viewers("one", 1);
    let first = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("one"));
    server.wait_published("one");
    for _ in 0..3 {
        let second = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("one")).ended();
        assert!(!second.status.success(), "the second encoder is told");
    }
    assert!(server.log().contains("stream_busy"), "and the log says why\n{}", server.log());
    first.finished();
    server.wait_unpublished("one");
    server.release_players("one");
    Seen::parse(&watching.ended().output).assert_same(
        &clip.seen(Form::Whole),
        0,
        "the first encoder's player",
    );
}

#[test]
fn refused_encoders_leave_nothing_behind() {
    let clip = Recipe::usual(3).clip();
    let mut server = Setup::new(3).top("grace_start_wait = 0\ngrace_final_wait = 0").start();
    let first = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("busy"));
    server.wait_published("busy");
    let before = server.descriptors();
    for _ in 0..12 {
        publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("busy")).ended();
    }
    wait_for("their descriptors to be closed", || (server.descriptors() <= before).then_some(()));
    first.signal("TERM");
    first.ended();
    server.wait_unpublished("busy");
    // A drain ends with the last connection, and counts those that nobody lists.
    assert!(server.drains_within(Duration::from_secs(10)), "the drain waits for somebody");
}

#[test]
fn takeover_goes_unnoticed_by_players() {
    let clip = Recipe::usual(5).clip();
    let server =
        Setup::new(3).tables("[vhost.__defaultVhost__.publish]\non_duplicate = \"takeover\"").start();
    let player = Player::start(&server.rtmp("two"));
    let first = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("two"));
    let mut pictures = 0;
    let mut all = player.until(|came| {
        pictures += usize::from(came.is_picture());
        pictures > 2 * FPS
    });
    let second = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("two"));
    assert!(!first.ended().status.success(), "the first encoder is closed");
    second.finished();
    server.wait_unpublished("two");
    server.release_players("two");
    all.extend(player.rest());

    assert!(server.log().contains("publish_takeover"), "{}", server.log());
    let gap = longest_gap(&all);
    assert!(gap < Duration::from_secs(2), "{gap:?} without a picture");
    let pictures: Vec<&Came> = all.iter().filter(|came| came.is_picture()).collect();
    let times: Vec<u32> = pictures.iter().map(|came| came.message.time.0).collect();
    assert!(times.is_sorted(), "time never goes back");
    let widest = times.windows(2).map(|two| two[1] - two[0]).max().expect("pictures");
    assert!(widest <= 250, "a step of {widest} ms");
    let published = clip.seen(Form::Whole).video.len();
    assert!(pictures.len() > published + 2 * FPS);
    assert!(
        pictures[pictures.len() - published].is_key(),
        "the second encoder's pictures, from its keyframe"
    );
    assert_eq!(all.iter().filter(|came| came.is_video_header()).count(), 1, "the header did not change");
}
