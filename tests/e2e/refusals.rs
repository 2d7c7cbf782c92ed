//! Goal: who is refused is told so, in the word that the log has for it.
//! Method: our own client asks for what it may not have.

use crate::support::http::{get, request};
use crate::support::player::{connect, try_connect};
use crate::support::server::{Server, Setup};
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[test]
fn a_disabled_vhost_refuses_over_rtmp_and_http_alike() {
    let server = Setup::new(2).tables("[vhost.\"off.example\"]\nenabled = false\n").start();
    let url = server.rtmp("s?vhost=OFF.example");
    for role in [Role::Play, Role::PublishFlash, Role::PublishFmle] {
        let refused = try_connect(&url, role).expect_err("refused");
        assert!(refused.contains("vhost_unknown"), "{role:?}: {refused}");
    }
    // The default vhost would have the viewer wait.
    assert_eq!(get(server.http_at(), "/live/s.flv?vhost=off.example").status, 404);
    wait_for("the word in the log", || server.log().contains("vhost_unknown").then_some(()));
}

#[test]
fn security_decides_by_address_over_rtmp_and_http_alike() {
    let tables = "\
        [vhost.\"in.example\"]\nhttp_remux = { enabled = true }\n\
        security = { enabled = true, allow = [\"publish 127.0.0.0/8\", \"play all\"], deny = \"play 127.0.0.1\" }\n\
        [vhost.\"none.example\".security]\nenabled = true\n\
        [vhost.\"off.example\".security]\ndeny = [\"play all\", \"publish all\"]\n";
    let server = Setup::new(2).tables(tables).start();
    let of = |vhost: &str| server.rtmp(&format!("s?vhost={vhost}"));
    let refused =
        |vhost, role| try_connect(&of(vhost), role).err().filter(|why| why.contains("security_denied"));
    assert!(refused("in.example", Role::Play).is_some(), "denied by address");
    assert!(try_connect(&of("in.example"), Role::PublishFmle).is_ok());
    assert!(
        refused("none.example", Role::Play).is_some() && refused("none.example", Role::PublishFmle).is_some()
    );
    assert!(try_connect(&of("off.example"), Role::Play).is_ok(), "its rules are off");
    let answer = get(server.http_at(), "/live/s.flv?vhost=in.example");
    assert_eq!((answer.status, answer.text()), (403, "security_denied"));
    let line = "in.example/live/s: play from 127.0.0.1, denied: play 127.0.0.1";
    wait_for("the rule in the log", || server.log().contains(line).then_some(()));
}

#[test]
fn refer_decides_by_the_page() {
    let tables = "[vhost.\"page.example\"]\nhttp_remux = { enabled = true }\n\
        refer = { enabled = true, all = \"good.example\", play = [\"good.example\", \"www.other.example\"] }\n";
    let server = Setup::new(2).tables(tables).start();
    let status = |page: &str| {
        let headers = [("Referer", page)];
        let path = "/live/s.flv?vhost=page.example";
        request(server.http_at(), "HEAD", path, if page.is_empty() { &[] } else { &headers }).status
    };
    assert_eq!(status(""), 403, "no page is none of these");
    assert_eq!(status("http://evil.example/?good.example"), 403);
    assert_eq!(status("http://www.other.example/"), 403, "not among those for all");
    assert_eq!(status("https://www.good.example:8080/player.html"), 200);
    let refused = try_connect(&server.rtmp("s?vhost=page.example"), Role::PublishFmle).expect_err("no page");
    assert!(refused.contains("refer_denied"), "{refused}");
}

/// How many of so many connections to the RTMP port are closed at once.
fn closed_at_once(server: &Server, connections: usize) -> (usize, Vec<TcpStream>) {
    let connect = |_| TcpStream::connect((server.ip(), server.ports()[0])).expect("a connection");
    let all: Vec<TcpStream> = (0..connections).map(connect).collect();
    thread::sleep(Duration::from_millis(300));
    let is_closed = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a socket option");
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    (all.iter().filter(|stream| is_closed(stream)).count(), all)
}

#[test]
fn connections_of_one_address_are_limited() {
    let server = Setup::new(2).top("max_connections_per_ip = 20").start();
    let (closed, all) = closed_at_once(&server, 30);
    assert!((10..=12).contains(&closed), "{closed} of 30"); // those that asked whether it listens may still be there
    wait_for("the reason", || server.log().contains("max_connections_per_ip 20 reached").then_some(()));
    drop(all);
    wait_for("room again", || try_connect(&server.rtmp("s"), Role::Play).ok());
    let unlimited = server.configuration().replace("max_connections_per_ip = 20", "");
    server.reload(&unlimited);
    wait_for("the limit to be gone", || (closed_at_once(&server, 30).0 == 0).then_some(()));
}

#[test]
fn connections_of_one_second_are_limited() {
    let server = Setup::new(1).top("accept_rate = 10").start();
    thread::sleep(Duration::from_secs(1));
    let (closed, _all) = closed_at_once(&server, 30);
    assert!((15..=20).contains(&closed), "{closed} of 30");
    wait_for("the reason", || server.log().contains("accept_rate 10 reached").then_some(()));
    thread::sleep(Duration::from_secs(1));
    assert!(try_connect(&server.rtmp("s"), Role::Play).is_ok());
}

#[test]
fn clients_of_one_vhost_are_limited() {
    let tables = "[vhost.\"a.example\"]\nmax_clients = 2\nhttp_remux = { enabled = true }\n";
    let server = Setup::new(2).tables(tables).start();
    let url = server.rtmp("s?vhost=a.example");
    let encoder = connect(&url, Role::PublishFmle);
    let player = connect(&url, Role::Play);
    let refused = try_connect(&url, Role::Play).expect_err("two are there");
    assert!(refused.contains("max_clients"), "{refused}");
    let answer = get(server.http_at(), "/live/s.flv?vhost=a.example");
    assert_eq!((answer.status, answer.text()), (503, "max_clients"));
    drop(player);
    wait_for("a place", || try_connect(&url, Role::Play).ok());
    assert!(try_connect(&server.rtmp("s"), Role::Play).is_ok(), "other vhosts have their own limit");
    drop(encoder);
}
