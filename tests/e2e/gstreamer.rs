//! Goal: GStreamer publishes and plays, with its own RTMP stack (rtmp2sink, rtmp2src) and with librtmp's
//! (rtmpsink, rtmpsrc).
//! Method: it remuxes a clip to the server at its own pace, and records at the same time what comes back. What it
//! published is what the same pipeline writes into a file.

use crate::support::clip::Recipe;
use crate::support::packets::{Form, Seen, watch};
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};
use crate::support::wait_for;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn publishes_and_plays_with_its_own_rtmp() {
    passes_unharmed("rtmp2sink", "rtmp2src");
}

#[test]
fn publishes_and_plays_with_librtmp() {
    passes_unharmed("rtmpsink", "rtmpsrc");
}

fn passes_unharmed(sink: &str, source: &str) {
    let clip = Recipe::usual(5).clip();
    let server = Server::with_shards(3);
    let (mine, copy) = (server.folder().join("played.flv"), server.folder().join("copy.flv"));
    let (mine, copy) = (mine.to_str().expect("a plain path"), copy.to_str().expect("a plain path"));
    let url = server.rtmp("gst");
    let live = format!("{url} live=1"); // librtmp's way to say so
    let location = if source == "rtmpsrc" { &live } else { &url };
    let playing = gst(
        &format!("{source} name=in ! filesink buffer-mode=unbuffered location={mine}"),
        &[("in", location)],
    );
    let watching = watch(DEBIAN_FFMPEG, &url, Form::Whole, clip.has());
    server.wait_viewers("gst", 2);

    remux(&clip.path, &format!("filesink location={copy}")).finished();
    let location = if sink == "rtmpsink" { &live } else { &url };
    let last = format!("{sink} sync=true location=\"{location}\"");
    remux(&clip.path, &last).finished();
    server.wait_unpublished("gst");
    server.release_players("gst");
    settle(mine);
    drop(playing); // librtmp connects anew when it is closed

    let published = Seen::of_file(DEBIAN_FFMPEG, copy, Form::Whole, clip.has());
    assert_eq!(published.video.len(), clip.seen(Form::Whole).video.len(), "GStreamer remuxed all of it");
    Seen::parse(&watching.ended().output).assert_same(
        &published,
        0,
        "published by GStreamer, played by ffmpeg",
    );
    let played = Seen::of_file(DEBIAN_FFMPEG, mine, Form::Whole, clip.has());
    played.assert_same(&published, 0, "published and played by GStreamer");
}

#[test]
fn plays_what_ffmpeg_publishes() {
    let clip = Recipe::usual(5).clip();
    let server = Server::with_shards(3);
    let mine = server.folder().join("played.flv");
    let mine = mine.to_str().expect("a plain path");
    let playing = gst(
        &format!("rtmp2src name=in ! filesink buffer-mode=unbuffered location={mine}"),
        &[("in", &server.rtmp("gst"))],
    );
    server.wait_viewers("gst", 1);
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("gst")).finished();
    server.wait_unpublished("gst");
    server.release_players("gst");
    settle(mine);
    drop(playing); // librtmp connects anew when it is closed
    let played = Seen::of_file(DEBIAN_FFMPEG, mine, Form::Whole, clip.has());
    played.assert_same(&clip.seen(Form::Whole), 0, "published by ffmpeg, played by GStreamer");
}

/// FLV in, FLV out, both tracks parsed on the way.
fn remux(clip: &str, sink: &str) -> Tool {
    let pipeline = format!(
        "filesrc location={clip} ! flvdemux name=d flvmux name=m streamable=true ! {sink} \
         d.video ! queue ! h264parse ! m.video d.audio ! queue ! aacparse ! m.audio"
    );
    gst(&pipeline, &[])
}

/// Waits until a file grows no more.
fn settle(file: &str) {
    let mut before = (0, Instant::now());
    wait_for("a file to be whole", || {
        let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
        if bytes != before.0 {
            before = (bytes, Instant::now());
        }
        (before.1.elapsed() > Duration::from_secs(1)).then_some(())
    });
}

/// `properties` are locations that hold spaces, by element.
fn gst(pipeline: &str, properties: &[(&str, &str)]) -> Tool {
    let mut pipeline = pipeline.to_owned();
    for (element, location) in properties {
        let named = format!("name={element}");
        pipeline = pipeline.replace(&named, &format!("{named} location=\"{location}\""));
    }
    // The shell splits the line into words as gst-launch expects them.
    Tool::start("sh", &["-c", &format!("exec gst-launch-1.0 -q {}", pipeline.replace('!', "'!'"))])
}
