//! A stream beside the trouble: published by ffmpeg, watched frame by frame by a player of ours.

use super::clip::{Clip, Recipe};
use super::player::{Came, Player, longest_gap};
use super::server::Server;
use super::tool::{DEBIAN_FFMPEG, Tool, publish_with};
use srs_shard::formats::flv_file;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What viewers of a stream may have to wait at most.
pub const LONGEST_GAP: Duration = Duration::from_secs(2);

/// It is watched for so long at least: trouble may show late.
const WATCHED: Duration = Duration::from_secs(5);

/// A stream that runs until [`Neighbour::verdict`]: a short clip over and over.
pub struct Neighbour {
    encoder: Tool,
    player: Player,
    /// What came until its first picture did.
    begun: Vec<Came>,
    clip: Arc<Clip>,
    name: String,
    began: Instant,
}

/// What the neighbour's viewer got.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub pictures: usize,
    pub longest_gap: Duration,
}

impl Neighbour {
    /// Begins; returns once pictures come.
    pub fn start(server: &Server) -> Neighbour {
        Neighbour::start_where(server, "neighbour", |_| true)
    }

    /// The same with a name of its own, encoder and player on shards that `fits` likes; on which shard a connection
    /// lands is the kernel's choice, so it may take some attempts.
    pub fn start_where(server: &Server, name: &str, fits: impl Fn(u16) -> bool) -> Neighbour {
        let clip = Recipe::usual(4).clip();
        let player = Player::start_where(server, name, &fits);
        let encoder = loop {
            let loops = ["-stream_loop", "-1"];
            let encoder = publish_with(DEBIAN_FFMPEG, &loops, &clip.path, &server.rtmp(name));
            server.wait_published(name);
            if server.clients_of(name).iter().all(|client| fits(client.shard)) {
                break encoder;
            }
            drop(encoder);
            server.wait_unpublished(name);
            player.skip();
        };
        let begun = player.until(Came::is_picture);
        Neighbour { encoder, player, begun, clip, name: name.to_owned(), began: Instant::now() }
    }

    /// Asserts that the viewer got every frame that was sent, in order, with no gap over 2 s up to now.
    #[track_caller]
    pub fn verdict(self, server: &Server) -> Verdict {
        let verdict = self.complete(server);
        assert!(verdict.longest_gap < LONGEST_GAP, "{:?} without a picture", verdict.longest_gap);
        verdict
    }

    /// Asserts that the viewer got every frame that was sent, in order, be it late.
    #[track_caller]
    pub fn complete(self, server: &Server) -> Verdict {
        thread::sleep(WATCHED.saturating_sub(self.began.elapsed()));
        let asked = Instant::now();
        self.encoder.signal("INT");
        let progress = String::from_utf8(self.encoder.ended().output).expect("text");
        let sent = progress.lines().rev().find_map(|line| line.strip_prefix("frame="));
        let sent: usize = sent.and_then(|number| number.trim().parse().ok()).expect("a count of pictures");
        server.wait_unpublished(&self.name);
        server.release_players(&self.name);
        let mut came = self.begun;
        came.extend(self.player.rest());

        let file = fs::read(&self.clip.path).expect("the clip");
        let published: Vec<Came> = flv_file::messages(&file)
            .expect("an FLV file")
            .into_iter()
            .map(|message| Came { at: asked, message })
            .collect();
        let pictures = follows("picture", &came, &published, Came::is_picture);
        follows("frame of sound", &came, &published, Came::is_sound);
        assert_eq!(pictures, sent, "pictures received and sent");
        let last = came.iter().rfind(|came| came.is_picture()).expect("pictures").at;
        let longest_gap = longest_gap(&came).max(asked.saturating_duration_since(last));
        Verdict { pictures, longest_gap }
    }
}

/// Asserts that all of a kind are those of the clip over and over, times rising; returns how many.
#[track_caller]
fn follows(what: &str, came: &[Came], published: &[Came], kind: impl Fn(&Came) -> bool) -> usize {
    let clip: Vec<&Came> = published.iter().filter(|came| kind(came)).collect();
    let mut before = None;
    let mut count = 0;
    for (at, came) in came.iter().filter(|came| kind(came)).enumerate() {
        let expected = clip[at % clip.len()];
        assert!(came.message.payload == expected.message.payload, "{what} {at} is not the one that was sent");
        let time = came.message.time.0;
        assert!(before.is_none_or(|before| before < time), "{what} {at}: {time} ms after {before:?}");
        before = Some(time);
        count += 1;
    }
    assert!(count > 0, "no {what}");
    count
}
