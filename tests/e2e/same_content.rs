//! Goal: what goes in comes out: each packet once, in order, with its times, in every format, with the
//! publisher, the stream's owner and the viewers on different shards.
//! Method: viewers in all formats wait for the stream; ffmpeg publishes a clip at its own pace; each viewer's
//! packets (hash, dts, pts) are those of the clip, shifted by one number.

use crate::support::clip::{Audio, Clip, Recipe, Video};
use crate::support::packets::{Form, MS, Seen, watch};
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, new_ffmpeg, publish};
use crate::support::wait_for;
use std::collections::BTreeSet;

const SECONDS: u32 = 6;
const SHARDS: u16 = 4;
/// With four shards one try in three is spread as wanted, at least.
const TRIES: usize = 20;
/// fMP4 puts audio on its sample grid where the millisecond timestamps of FLV are off it by rounding; TS players
/// work times out from one frame to the next.
const ROUNDING: i64 = 2 * MS;

/// Extensions by which a stream is watched; "" is RTMP.
const ALL_VIDEO: &[&str] = &["", "", ".flv", ".ts", ".live.mp4"];

#[test]
fn h264_with_b_frames_and_aac() {
    let clip = Recipe::usual(SECONDS).clip();
    let views = [ALL_VIDEO, &[".aac"]].concat();
    passes_unharmed(DEBIAN_FFMPEG, DEBIAN_FFMPEG, &clip, &views);
}

#[test]
fn h264_and_mp3() {
    let clip = Recipe::new(Some(Video::H264), Some(Audio::Mp3), SECONDS).clip();
    let views = [ALL_VIDEO, &[".mp3"]].concat();
    passes_unharmed(DEBIAN_FFMPEG, new_ffmpeg(), &clip, &views);
}

#[test]
fn hevc_and_aac_over_enhanced_rtmp() {
    let clip = Recipe::new(Some(Video::Hevc), Some(Audio::Aac), SECONDS).clip();
    let views = [ALL_VIDEO, &[".aac"]].concat();
    passes_unharmed(new_ffmpeg(), new_ffmpeg(), &clip, &views);
}

#[test]
fn audio_only() {
    let clip = Recipe::new(None, Some(Audio::Aac), SECONDS).clip();
    passes_unharmed(DEBIAN_FFMPEG, DEBIAN_FFMPEG, &clip, &["", ".flv", ".ts", ".live.mp4", ".aac"]);
}

#[test]
fn video_only() {
    let clip = Recipe::new(Some(Video::H264), None, SECONDS).clip();
    passes_unharmed(DEBIAN_FFMPEG, DEBIAN_FFMPEG, &clip, ALL_VIDEO);
}

fn passes_unharmed(encoder: &str, player: &str, clip: &Clip, views: &[&str]) {
    let server = Server::with_shards(SHARDS);
    for name in (0..TRIES).map(|n| format!("clip{n}")) {
        let watching: Vec<Tool> =
            views.iter().map(|view| start_view(&server, player, clip, &name, view)).collect();
        server.wait_viewers(&name, views.len());
        let owner =
            server.stream(&name).expect("its viewers subscribed")["owner"].as_u64().expect("a shard") as u16;
        let viewers_on: BTreeSet<u16> = server.clients_of(&name).iter().map(|client| client.shard).collect();
        let mut encoding = publish(encoder, &clip.path, &server.rtmp(&name));
        let publisher_on = wait_for("the publisher to be listed", || {
            assert!(encoding.is_running(), "the encoder ended");
            server.clients_of(&name).iter().find(|client| client.publish).map(|client| client.shard)
        });
        let elsewhere = viewers_on.iter().any(|shard| *shard != owner && *shard != publisher_on);
        if publisher_on == owner || !elsewhere {
            continue; // the kernel chose so: with other connections it chooses otherwise
        }
        let per_shard = server.stream(&name).expect("published")["shards"].clone();
        let listed = per_shard.as_array().expect("shards").iter();
        let listed: BTreeSet<u16> =
            listed.map(|shard| shard["shard"].as_u64().expect("a shard") as u16).collect();
        assert_eq!(listed, viewers_on, "the stream's viewers by shard");

        encoding.finished();
        server.wait_unpublished(&name);
        server.release_players(&name);
        for (view, tool) in views.iter().zip(watching) {
            // RTMP players were closed by us: what they say of that is theirs.
            let list = if view.is_empty() { tool.ended().output } else { tool.finished() };
            check(clip, view, &Seen::parse(&list));
        }
        return;
    }
    panic!("in {TRIES} tries publisher, owner and a viewer were never on three different shards");
}

fn start_view(server: &Server, player: &str, clip: &Clip, name: &str, view: &str) -> Tool {
    let url = match view {
        "" => server.rtmp(name),
        extension => server.http(&format!("/live/{name}{extension}")),
    };
    watch(player, &url, form(clip, view), clip.has())
}

fn form(clip: &Clip, view: &str) -> Form {
    match view {
        ".ts" => Form::AnnexB { hevc: clip.recipe.video == Some(Video::Hevc), from_ts: true },
        ".aac" => Form::RawAac,
        _ => Form::Whole,
    }
}

fn check(clip: &Clip, view: &str, seen: &Seen) {
    let published = clip.seen(form(clip, view));
    match view {
        ".aac" | ".mp3" => seen.assert_same_bytes(&clip.audio(), view),
        ".ts" | ".live.mp4" => {
            seen.assert_same(&published, ROUNDING, view);
            // Pictures are never off, not by a millisecond.
            let video = |seen: &Seen| Seen { audio: Vec::new(), ..seen.clone() };
            video(seen).assert_same(&video(&published), 0, view);
        }
        _ => {
            let shift = seen.assert_same(&published, 0, if view.is_empty() { "RTMP" } else { view });
            assert_eq!(shift, 0, "{view}: the stream begins at 0");
        }
    }
}
