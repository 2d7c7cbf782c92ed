//! Goal: SIGQUIT lets everybody finish and nobody in; whatever comes second ends it.
//! Method: real players and encoders while the server drains; its log and exit code, no clock.

use crate::support::clip::Recipe;
use crate::support::http::{Connection, get};
use crate::support::packets::{Form, Seen, watch};
use crate::support::player::Player;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish, publish_with};
use crate::support::wait_for;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const NO_WAITS: &str = "grace_start_wait = 0\ngrace_final_wait = 0";

/// The ends of the drain's lines in the log, in order.
fn told(server: &Server) -> Vec<String> {
    let log = server.log();
    log.lines().filter_map(|line| Some(line.split_once("] draining: ")?.1.to_owned())).collect()
}

#[test]
fn players_and_encoders_finish_and_nobody_else_comes() {
    let clip = Recipe::usual(8).clip();
    let mut server = Setup::new(2).top("grace_start_wait = \"3s\"\ngrace_final_wait = 100").start();
    let player = watch(DEBIAN_FFMPEG, &server.http("/live/last.flv"), Form::Whole, clip.has());
    server.wait_viewers("last", 1);
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("last"));
    server.wait_published("last");
    let mut kept = Connection::open(server.api_at());
    kept.send("GET", "/api/v1/versions", &[]);
    assert_eq!(kept.answer("GET").field("connection"), Some("Keep-Alive"));
    assert_eq!(server.metric("srs_draining", ""), 0);

    server.signal("QUIT");
    server.wait_log("] draining: ");
    // Whoever asks may see it while the ports are still open.
    assert_eq!(server.metric("srs_draining", ""), 1);
    assert_eq!(server.api("/api/v1/summaries")["data"]["self"]["draining"], true);
    let late = watch(DEBIAN_FFMPEG, &server.http("/live/last.flv"), Form::Whole, clip.has());
    server.wait_viewers("last", 2);
    server.wait_log("no more are let in");
    for port in server.ports() {
        wait_for("the ports to close", || TcpStream::connect((server.ip(), port)).is_err().then_some(()));
    }
    // A connection that was kept for another request would keep the server.
    kept.send("GET", "/api/v1/versions", &[]);
    assert_eq!(kept.answer("GET").field("connection"), Some("Close"));
    assert!(server.is_running());

    encoder.finished();
    Seen::parse(&player.finished()).assert_same(&clip.seen(Form::Whole), 0, "the player");
    assert!(!Seen::parse(&late.finished()).video.is_empty(), "who came meanwhile is served to the end, too");
    assert!(server.ended().success());
    let told = told(&server);
    assert!(told[0].ends_with("connections may finish; none is let in after 3s"), "{told:?}");
    assert!(told[1].starts_with("no more are let in, "), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("the last connection has left"));
}

#[test]
fn grace_max_cuts_who_stays() {
    let mut server = Setup::new(2).top(NO_WAITS).top("grace_max = \"1s\"").start();
    let waiting = Player::start(&server.rtmp("never"));
    server.wait_viewers("never", 1);
    server.signal("QUIT");
    assert!(server.ended().success());
    assert!(waiting.rest().is_empty(), "it was closed");
    let log = server.log();
    assert!(log.contains("draining: grace_max is over, 1 connections are closed"), "{log}");
    assert!(log.contains("never: server_stopping after"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in ["QUIT", "TERM", "INT"] {
        let mut server = Setup::new(2).top(NO_WAITS).start();
        let _waiting = Player::start(&server.rtmp("never"));
        server.wait_viewers("never", 1);
        server.signal("QUIT");
        server.wait_log("draining: 1 connections are left");
        assert!(server.is_running(), "it waits for the player");
        server.signal(second);
        assert!(server.ended().success(), "{second}");
        let told = told(&server);
        assert!(!told.iter().any(|line| line.contains("has left")), "{second}: {told:?}");
    }
    // Also before the ports are closed.
    let mut server = Setup::new(1).top("grace_start_wait = \"1h\"").start();
    server.signal("QUIT");
    server.wait_log("none is let in after 3600s");
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn sigterm_drains_where_that_is_wished() {
    let clip = Recipe::usual(4).clip();
    let mut server = Setup::new(2).top(NO_WAITS).top("force_grace_quit = true").start();
    let player = watch(DEBIAN_FFMPEG, &server.http("/live/k8s.flv"), Form::Whole, clip.has());
    server.wait_viewers("k8s", 1);
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &server.rtmp("k8s"));
    server.wait_published("k8s");
    server.signal("TERM");
    server.wait_log("no more are let in");
    encoder.finished();
    Seen::parse(&player.finished()).assert_same(&clip.seen(Form::Whole), 0, "the player");
    assert!(server.ended().success());

    let mut server = Setup::new(1).top("force_grace_quit = true").start();
    server.signal("INT");
    assert!(server.ended().success());
    assert_eq!(told(&server), [""; 0], "SIGINT still stops");
}

#[test]
fn sigterm_stops_whoever_is_there() {
    let clip = Recipe::usual(4).clip();
    let mut server = Server::with_shards(2);
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("cut"));
    server.wait_published("cut");
    server.signal("TERM");
    assert!(server.ended().success());
    assert_eq!(told(&server), [""; 0]);
    assert!(!encoder.ended().status.success(), "its encoder was cut");
}

#[test]
fn the_service_manager_hears_when_it_listens_and_when_it_goes() {
    let path = std::env::temp_dir().join(format!("srs-shard-manager-{}", std::process::id()));
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    let heard = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("a word");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut server = Setup::new(1).env("NOTIFY_SOCKET", path.to_str().expect("text")).start();
    assert_eq!(heard(), "READY=1");
    assert_eq!(get(server.api_at(), "/api/v1/versions").status, 200);
    server.signal("TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert!(server.ended().success());
    std::fs::remove_file(&path).expect("our own socket");
}
