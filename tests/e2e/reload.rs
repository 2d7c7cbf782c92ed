//! Goal: a reload costs live streams nothing, whatever else it changes; a bad one changes nothing.
//! Method: a neighbour's frames are compared while the server is told to read one configuration after another.

use crate::support::http::{get, request};
use crate::support::neighbour::Neighbour;
use crate::support::player::{Player, try_connect};
use crate::support::server::{Server, Setup};
use crate::support::wait_for;
use serde_json::Value;
use srs_shard::rtmp::client::Role;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

const RELOADS: usize = 100;
const OTHER_PORT: u16 = 21936;

#[test]
fn a_hundred_reloads_cost_no_frame() {
    let server = Server::with_shards(2);
    let neighbour = Neighbour::start(&server);
    let original = server.configuration();
    let ip = server.ip();
    let one = format!("listen = [\"{ip}:21935\"]");
    let two = format!("listen = [\"{ip}:21935\", \"{ip}:{OTHER_PORT}\"]");
    let variants = [
        original.replace(&one, &two),
        original.clone() + "[vhost.__defaultVhost__.play]\nqueue_length = 10\nmw_latency = \"50ms\"\n",
        original.clone() + "[vhost.other]\n",
        "chunk_size = 1\n".to_owned() + &original,
        original.clone(),
    ];
    let listens = || TcpStream::connect((ip, OTHER_PORT)).is_ok();
    let mut version = 1;
    for n in 0..RELOADS {
        let variant = n % variants.len();
        let said = server.reload(&variants[variant]);
        let is_bad = variant == 3;
        version += u32::from(!is_bad);
        let last = said.last().expect("a verdict");
        let verdict = if is_bad { "stays in force" } else { "is in force" };
        assert!(last.starts_with(&format!("version {version} {verdict}")), "{n}: {said:?}");
        match variant {
            0 => assert!(said[0].starts_with("listen: ") && said[0].ends_with(": applied"), "{said:?}"),
            1 => assert!(
                said.iter().any(|line| line.contains("play.mw_latency: \"auto\" is \"50ms\" now: applied"))
            ),
            2 => assert!(said.contains(&"vhost.other: added".to_owned()), "{said:?}"),
            3 => assert!(said[0].contains(":1:14: chunk_size: found 1; allowed: "), "{said:?}"),
            _ => assert_eq!(said.len(), 2, "the vhost is gone: {said:?}"),
        }
        // A shard hears of it a moment later.
        wait_for("the other port", || (listens() == (variant == 0)).then_some(()));
    }
    neighbour.verdict(&server);
}

#[test]
fn a_vhost_that_goes_takes_its_own_clients_along() {
    let vhosts = "[vhost.\"a.example\"]\n[vhost.\"b.example\"]\n";
    let server = Setup::new(2).tables(vhosts).start();
    let neighbour = Neighbour::start(&server);
    let of = |vhost: &str| server.rtmp(&format!("x?vhost={vhost}"));
    let (a, b) = (Player::start(&of("a.example")), Player::start(&of("b.example")));
    wait_for("both to play", || (server.clients_of("x").len() == 2).then_some(()));
    let original = server.configuration();
    let without_b = original.replace("[vhost.\"b.example\"]\n", "");
    server.reload(&without_b.replace("[vhost.\"a.example\"]", "[vhost.\"a.example\"]\nenabled = false"));
    assert!(a.rest().is_empty() && b.rest().is_empty(), "they are closed");
    assert!(try_connect(&of("a.example"), Role::Play).is_err(), "it is disabled");
    assert!(try_connect(&of("b.example"), Role::Play).is_ok(), "the default vhost takes them");
    server.reload(&original);
    assert!(try_connect(&of("a.example"), Role::Play).is_ok());
    let verdict = neighbour.verdict(&server);
    assert!(verdict.longest_gap < Duration::from_secs(1), "{verdict:?}");
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let server = Setup::new(1).start();
    let original = server.configuration();
    let ip = server.ip();
    let taken = std::net::TcpListener::bind((ip, OTHER_PORT)).expect("a free port");
    let two = format!("listen = [\"{ip}:21935\", \"{ip}:{OTHER_PORT}\"]\nchunk_size = 4096");
    let said = server.reload(&original.replace(&format!("listen = [\"{ip}:21935\"]"), &two));
    assert!(said[0].starts_with(&format!("cannot listen on {ip}:{OTHER_PORT} for rtmp: ")), "{said:?}");
    assert_eq!(said[1], "version 1 stays in force");
    drop(taken);
    let said = server.reload(&server.configuration());
    assert!(said.iter().any(|line| line.starts_with("chunk_size: ")), "{said:?}");
    wait_for("the port", || TcpStream::connect((ip, OTHER_PORT)).ok());
}

#[test]
fn the_api_moves_to_the_http_server_s_port_and_back() {
    let server = Server::with_shards(2);
    let original = server.configuration();
    let ip = server.ip();
    let paths = ["/api/v1/summaries", "/metrics", "/api/v1/clients/"];
    let statuses = |at| paths.map(|path| get(at, path).status);
    assert_eq!(statuses(server.http_at()), [404; 3]);
    server.reload(&original.replace(&format!("{ip}:21985"), &format!("{ip}:28080")));
    wait_for("the API's port to close", || TcpStream::connect(server.api_at()).is_err().then_some(()));
    assert_eq!(statuses(server.http_at()), [200; 3]);
    assert_eq!(get(server.http_at(), "/").status, 200, "the page is there, too");
    server.reload(&original);
    wait_for("the API's port", || TcpStream::connect(server.api_at()).ok());
    assert_eq!((statuses(server.api_at()), statuses(server.http_at())), ([200; 3], [404; 3]));
}

#[test]
fn the_api_reloads_and_says_what_that_changed() {
    let raw = "[http_api.raw_api]\nenabled = true\nallow_reload = true\n";
    let server = Setup::new(2).tables(raw).start();
    let original = server.configuration();
    let reload = |configuration: &str| -> Value {
        fs::write(server.folder().join("server.toml"), configuration).expect("our own file");
        let answer = request(server.api_at(), "POST", "/api/v1/raw?rpc=reload", &[]);
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    let version = || server.api("/api/v1/summaries")["data"]["self"]["config_version"].clone();
    assert_eq!(version(), 1);
    let answer = reload(&("chunk_size = 4096\n".to_owned() + &original));
    assert_eq!((&answer["code"], &answer["version"]), (&0.into(), &2.into()), "{answer}");
    assert_eq!(answer["changes"][0]["key"], "chunk_size");
    assert_eq!(answer["changes"][0]["verdict"], "applies to new clients");
    wait_for("the version", || (version() == 2).then_some(()));
    let answer = reload("chunk_size = 4095.5");
    assert_eq!((&answer["code"], &answer["version"]), (&1023.into(), &2.into()), "{answer}");
    let error = answer["errors"][0].as_str().expect("a text");
    assert!(error.contains("server.toml:1:14: chunk_size: found 4095.5"), "{error}");
    assert_eq!(version(), 2);
    assert_eq!(reload(&original)["changes"][0]["to"], "60000");
}

#[test]
fn two_services_exchange_their_ports() {
    let server = Server::with_shards(2);
    let ip = server.ip();
    let (api, http) = (format!("{ip}:21985"), format!("{ip}:28080"));
    let swapped = server.configuration().replace(&api, "*").replace(&http, &api).replace('*', &http);
    let said = server.reload(&swapped);
    assert!(said.iter().any(|line| line.starts_with("http_api.listen: ")), "{said:?}");
    let status = |at, path| get(at, path).status;
    let (api, http) = (server.http_at(), server.api_at());
    wait_for("the exchange", || {
        let there = (0..10).all(|_| status(api, "/metrics") == 200 && status(http, "/metrics") == 404);
        there.then_some(())
    });
    assert_eq!(status(http, "/"), 200);
}
