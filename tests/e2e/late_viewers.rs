//! Goal: a viewer who comes in the middle starts at a keyframe and gets everything from there on.
//! Method: players join a running stream in all formats, some of them at once, some later, on whatever shard.

use crate::support::clip::{GOP, Recipe};
use crate::support::packets::{Form, MS, Seen, watch};
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};
use crate::support::wait_for;

const ANNEX_B: Form = Form::AnnexB { hevc: false, from_ts: true };

#[test]
fn start_at_a_keyframe_and_miss_nothing_after_it() {
    let clip = Recipe::usual(10).clip();
    let server = Server::with_shards(3);
    let encoding = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("late"));
    let mut watching: Vec<(&str, Form, Tool)> = Vec::new();
    for frames in [30, 80] {
        wait_for("the stream to go on", || {
            let frames_now = server.stream("late")?["frames"].as_u64()?;
            (frames_now >= frames).then_some(())
        });
        for (view, form) in
            [("", Form::Whole), (".flv", Form::Whole), (".ts", ANNEX_B), (".live.mp4", Form::Whole)]
        {
            let url =
                if view.is_empty() { server.rtmp("late") } else { server.http(&format!("/live/late{view}")) };
            watching.push((view, form, watch(DEBIAN_FFMPEG, &url, form, clip.has())));
        }
    }
    encoding.finished();
    server.wait_unpublished("late");
    server.release_players("late");
    for (view, form, tool) in watching {
        let seen = Seen::parse(&tool.ended().output);
        let grace = if matches!(view, "" | ".flv") { 0 } else { 2 * MS };
        let shift = seen.assert_tail(&clip.seen(form), GOP, grace, view);
        // A late viewer's times are the stream's.
        if grace == 0 {
            assert_eq!(shift, 0, "{view}");
        }
        assert!(seen.video.len() < clip.seen(form).video.len(), "{view}: came late, and saw all");
    }
}
