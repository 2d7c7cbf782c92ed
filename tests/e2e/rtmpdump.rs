//! Goal: rtmpdump, which is librtmp and so most players of old, records exactly what was published.
//! Method: it waits for the stream, records it, and its file is compared with the clip.

use crate::support::clip::Recipe;
use crate::support::packets::{Form, Seen};
use crate::support::server::Server;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};

#[test]
fn records_what_was_published() {
    let clip = Recipe::usual(5).clip();
    let server = Server::with_shards(3);
    let file = server.folder().join("dump.flv");
    let file = file.to_str().expect("a plain path");
    let dumping = Tool::start("rtmpdump", &["-q", "--live", "-r", &server.rtmp("dumped"), "-o", file]);
    server.wait_viewers("dumped", 1);
    publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("dumped")).finished();
    server.wait_unpublished("dumped");
    server.release_players("dumped");
    dumping.ended();
    let dumped = Seen::of_file(DEBIAN_FFMPEG, file, Form::Whole, clip.has());
    dumped.assert_same(&clip.seen(Form::Whole), 0, "rtmpdump");
}
