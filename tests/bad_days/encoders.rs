//! Goal: encoders that are killed cost nobody else anything, and leave nothing.
//! Method: ffmpeg publishes under two names in turn, is watched, and dies by SIGKILL.

use crate::support::clip::Recipe;
use crate::support::log::Log;
use crate::support::memory::Memory;
use crate::support::neighbour::Neighbour;
use crate::support::player::Player;
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, publish_with};

#[test]
fn killed_encoders() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let before = Memory::of(&server);
    let clip = Recipe::usual(4).clip();
    for n in 0..4 {
        let name = format!("victim{}", n % 2);
        let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp(&name));
        let player = Player::start(&server.rtmp(&name));
        player.until(|came| came.is_picture());
        encoder.signal("KILL");
        drop(encoder);
        server.wait_unpublished(&name);
    }
    Memory::wait_back(&server, before);
    neighbour.verdict(&server);
    let log = Log::of(&server);
    let ends = log.with("publish ").filter(|text| text.contains(" sent "));
    assert_eq!(ends.count(), 5, "each encoder has its line");
    log.assert_terse();
}
