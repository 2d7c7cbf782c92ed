//! Goal: the log has SRS's lines, a client's id finds all that was done for it, and no line is lost to a rotation.
//! Method: `grep`, as an operator would, over the log of a server that real clients talked to.

use crate::support::clip::Recipe;
use crate::support::player::try_connect;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish, publish_with, signal};
use crate::support::{http, wait_for};
use srs_shard::rtmp::client::Role;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, thread};

/// SRS 3.0: `[time][level][pid][id] text`, for warnings and errors `[time][level][pid][id][errno] text`.
const SHAPE: &str = r"^\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}\]((\[(Verb|Debug|Trace)\]\[[0-9]+\]\[[0-9]+\])|(\[(Warn|Error)\]\[[0-9]+\]\[[0-9]+\]\[[0-9]+\])) .";

/// What grep finds.
fn grep(arguments: &[&str], file: &Path) -> Vec<String> {
    let found = Command::new("grep").args(arguments).arg("--").arg(file).output().expect("grep");
    assert!(found.status.code() < Some(2), "{found:?}");
    String::from_utf8(found.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// The lines of a client, without what comes before the text.
fn story(server: &Server, id: &str) -> Vec<String> {
    let mine =
        grep(&["-E", &format!(r"^\[[^]]*\]\[[A-Za-z]+\]\[[0-9]+\]\[{id}\]")], &server.folder().join("log"));
    mine.iter().map(|line| line.split_once("] ").expect("a head").1.to_owned()).collect()
}

#[test]
fn every_line_has_srs_s_shape_and_an_id_finds_the_whole_story() {
    let clip = Recipe::usual(2).clip();
    // 5½ hours east of Greenwich, whatever the machine says.
    let server = Setup::new(3).top("srs_log_level = \"info\"").env("TZ", "XYZ-05:30").start();
    let name = |n: usize| format!("story{n}");
    let mut crossed = 0;
    for n in 0..6 {
        let encoder =
            publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp(&name(n)));
        server.wait_published(&name(n));
        let clients = server.clients_of(&name(n));
        let (id, shard) = (clients[0].id.to_string(), clients[0].shard);
        encoder.signal("INT");
        encoder.ended();
        server.wait_unpublished(&name(n));
        // Two shards end it, each in its own time.
        let is_over = |story: Vec<String>| {
            [" sent ", ": its publish is over"]
                .iter()
                .all(|part| story.iter().any(|line| line.contains(part)))
        };
        wait_for("its last lines", || is_over(story(&server, &id)).then_some(()));
        let story = story(&server, &id);
        let key = format!("__defaultVhost__/live/{}", name(n));
        let places = |part: &str| {
            let at: Vec<usize> = (0..story.len()).filter(|at| story[*at].contains(part)).collect();
            assert_eq!(at.len(), 1, "{part}: {story:#?}");
            at[0]
        };
        let connected = places("rtmp connection from 127.");
        let connect = places("connect to \"rtmp://");
        let begins = places(" begins ");
        assert!(connected < connect && connect < begins, "{story:#?}");
        assert!(story[begins].starts_with(&format!("client {id} rtmp ")), "{story:#?}");
        assert!(story[begins].ends_with(&key), "{story:#?}");
        let published =
            &story[places(&format!("stream {key}: published from shard {shard}, owned by shard "))];
        crossed += usize::from(!published.ends_with(&format!("by shard {shard}")));
        places(&format!("stream {key}: its publish is over"));
        assert_eq!(story.len(), 6, "and nothing else: {story:#?}");
    }
    assert!(crossed > 0, "of six streams one is owned by another shard");
    // Somebody who is refused has a story, too.
    assert!(
        try_connect(&format!("{}?vhost=x", server.rtmp("no")), Role::Play).is_ok(),
        "the default vhost has it"
    );
    let others = grep(&["-Ev", SHAPE], &server.folder().join("log"));
    assert!(others.is_empty(), "{others:#?}");
    let pids = grep(&["-vF", &format!("][{}][", server.pid())], &server.folder().join("log"));
    assert!(pids.is_empty(), "{pids:#?}");
    let utc = Command::new("date").args(["-u", "-d", "+330 min", "+%Y-%m-%d %H"]).output().expect("date");
    let hour = String::from_utf8(utc.stdout).expect("text");
    let log = server.log();
    let last = log.lines().last().expect("a line");
    assert!(last.starts_with(&format!("[{}:", hour.trim())), "{last} is not of the hour {hour}");
}

#[test]
fn what_a_backend_is_told_of_a_client_is_in_its_story() {
    let clip = Recipe::usual(1).clip();
    // Nobody listens there.
    let hooks =
        "[vhost.__defaultVhost__.http_hooks]\nenabled = true\non_unpublish = \"http://127.0.0.1:1/gone\"\n";
    let server = Setup::new(2).tables(hooks).start();
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("told"));
    server.wait_published("told");
    let id = server.clients_of("told")[0].id.to_string();
    encoder.signal("INT");
    encoder.ended();
    wait_for("the hook's line", || {
        let told =
            |line: &String| line.starts_with("hooks: http://127.0.0.1:1/gone cannot be told on_unpublish");
        story(&server, &id).iter().any(told).then_some(())
    });
}

/// Connects so often, and says from where.
fn connections(server: &Server, count: usize) -> Vec<String> {
    let connect = |_| {
        let stream = TcpStream::connect(server.http_at()).expect("the server listens");
        let from = stream.local_addr().expect("an address").to_string();
        http::get(server.http_at(), "/none.txt");
        from
    };
    (0..count).map(connect).collect()
}

#[test]
fn a_rotation_under_traffic_loses_no_line() {
    let folder = std::env::temp_dir().join(format!("srs-shard-rotation-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let at = folder.join("srs.log");
    let config =
        format!("srs_log_level = \"info\"\nsrs_log_tank = \"file\"\nsrs_log_file = \"{}\"", at.display());
    let server = Setup::new(2).top(&config).start();
    let mut rotated: Vec<PathBuf> = Vec::new();
    let from = thread::scope(|scope| {
        let traffic = scope.spawn(|| connections(&server, 500));
        while !traffic.is_finished() {
            let old = folder.join(format!("srs.log.{}", rotated.len()));
            fs::rename(&at, &old).expect("the log");
            rotated.push(old);
            signal(server.pid(), "USR1");
            wait_for("the new file", || at.exists().then_some(()));
        }
        traffic.join().expect("no panic")
    });
    assert!(rotated.len() > 1, "{} rotations", rotated.len());
    let text = || {
        let files = rotated.iter().chain([&at]);
        files.map(|file| fs::read_to_string(file).expect("a log")).collect::<String>()
    };
    for from in from {
        let line = format!("http connection from {from}\n");
        wait_for(&line, || (text().matches(&line).count() == 1).then_some(()));
    }
    assert_eq!(server.metric("srs_log_lines_dropped_total", ""), 0);
    let text = text();
    assert!(text.lines().all(|line| line.starts_with('[') && line.contains("] ")), "whole lines only");
    drop(server);
    fs::remove_dir_all(&folder).expect("our own folder");
}

#[test]
fn levels_change_with_a_reload_at_once_and_by_module() {
    let server = Server::with_shards(2);
    let original = server.configuration();
    let lines = |part: &str| server.log().matches(part).count();
    let clients = || {
        connections(&server, 1);
        publish(DEBIAN_FFMPEG, &Recipe::usual(1).clip().path, &server.rtmp("levels")).finished();
        server.wait_unpublished("levels");
    };
    clients();
    server.wait_log(" begins ");
    assert_eq!(lines("http connection from"), 0);

    server.reload(&format!("srs_log_levels = [\"http=info\"]\n{original}"));
    let from = connections(&server, 1).remove(0);
    server.wait_log(&format!("http connection from {from}"));
    assert_eq!(lines("rtmp connection from"), 0, "the others stay as they were");

    // The reload's own lines are the server's.
    server.reload(&format!("srs_log_level_v2 = \"error\"\nsrs_log_levels = [\"server=trace\"]\n{original}"));
    let before = (lines("client "), lines("stream "), lines("connection from"));
    clients();
    let said = server.reload(&original);
    assert!(
        said.iter().any(|line| line.contains("srs_log_level_v2: \"error\" is \"auto\" now: applied")),
        "{said:?}"
    );
    assert_eq!((lines("client "), lines("stream "), lines("connection from")), before);
}
