//! Goal: whatever the API is asked, it answers as its OpenAPI document says and never with a fault of its own.
//! Method: schemathesis makes requests of the document, good ones and bad ones, from a fixed seed, while a stream with
//! players is live; the server must then be as good as before.

use crate::support::clip::Recipe;
use crate::support::http::get;
use crate::support::player::Player;
use crate::support::server::Setup;
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish_with};
use std::fs;

/// What it judges by. Its other checks want what SRS does not do: errors as HTTP statuses, one method for each path.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

#[test]
fn schemathesis_finds_nothing() {
    let program = std::env::var("SCHEMATHESIS").ok().filter(|path| !path.is_empty());
    let program = program.unwrap_or_else(|| "schemathesis".to_owned());
    let clip = Recipe::usual(4).clip();
    // No updates: one of them would listen on a port of its choice.
    let raw = "[http_api.raw_api]\nenabled = true\nallow_reload = true\nallow_query = true\n";
    let server = Setup::new(2).tables(raw).start();
    let page = server.dir().join("console");
    fs::create_dir(&page).and_then(|()| fs::write(page.join("index.html"), "a console")).expect("a file");
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("fuzzed"));
    server.wait_published("fuzzed");
    let _players: Vec<Player> = (0..3).map(|_| Player::start(&server.rtmp("fuzzed"))).collect();
    server.wait_viewers("fuzzed", 3);

    let (ip, port) = server.api_at();
    let url = format!("http://{ip}:{port}/api/v1/openapi.json");
    // It leaves notes where it runs.
    let folder = server.folder().display().to_string();
    let line = [
        "-c",
        "cd \"$0\" && exec \"$@\"",
        &folder,
        &program,
        "run",
        &url,
        "--checks",
        CHECKS,
        "--seed",
        "3170",
        "--max-examples",
        "25",
        "--phases",
        "examples,coverage,fuzzing",
        "--mode",
        "all",
        "--generation-database",
        "none",
        "--no-color",
    ];
    let ended = Tool::start("sh", &line).ended();
    let report = String::from_utf8_lossy(&ended.output).into_owned();
    assert!(ended.status.success(), "{}: {}\n{report}\n{}", ended.line, ended.status, ended.said);

    // It reads ids from the lists and kicks some: whoever comes now is served.
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("after"));
    server.wait_published("after");
    Player::start(&server.rtmp("after")).until(|came| came.is_picture());
    assert_eq!(get(server.api_at(), "/api/v1/versions").status, 200);
    assert!(!server.log().contains(" ERROR "), "{}", server.log());
}
