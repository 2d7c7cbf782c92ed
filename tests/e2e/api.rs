//! Goal: the API tells of all shards what is so, and lets only who sits at the machine change it.
//! Method: streams and viewers on several shards, looked at and kicked over HTTP.

use crate::support::clip::Recipe;
use crate::support::http::{Connection, get, request};
use crate::support::packets::{Form, watch};
use crate::support::player::Player;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, publish_with};
use crate::support::wait_for;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn tells_of_streams_and_clients_on_all_shards() {
    let clip = Recipe::usual(4).clip();
    let server = Server::with_shards(4);
    let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("seen"));
    server.wait_published("seen");
    let players: Vec<Player> = (0..12).map(|_| Player::start(&server.rtmp("seen"))).collect();
    let http = watch(DEBIAN_FFMPEG, &server.http("/live/seen.ts"), Form::Whole, clip.has());
    server.wait_viewers("seen", 13);
    let clients = server.clients_of("seen");
    assert_eq!(clients.iter().map(|client| client.id).collect::<BTreeSet<_>>().len(), 14, "ids are unique");
    assert_eq!(clients.iter().filter(|client| client.publish).count(), 1);
    let mut by_shard: BTreeMap<u64, u64> = BTreeMap::new();
    for client in clients.iter().filter(|client| !client.publish) {
        *by_shard.entry(client.shard.into()).or_default() += 1;
    }
    assert!(by_shard.len() > 1, "13 viewers, all on one of four shards");

    let stream = server.stream("seen").expect("published");
    let per_shard = stream["shards"].as_array().expect("a list").iter();
    let per_shard: BTreeMap<u64, u64> =
        per_shard.map(|s| (s["shard"].as_u64().unwrap(), s["viewers"].as_u64().unwrap())).collect();
    assert_eq!(per_shard, by_shard);
    assert_eq!(stream["clients"], 14);
    assert!(stream["owner"].as_u64().is_some_and(|owner| owner < 4));
    assert_eq!((&stream["video"]["width"], &stream["video"]["height"]), (&320.into(), &180.into()));
    assert_eq!((&stream["video"]["codec"], &stream["audio"]["codec"]), (&"H264".into(), &"AAC".into()));
    let publisher = clients.iter().find(|client| client.publish).expect("a publisher");
    assert_eq!(stream["publish"]["cid"], publisher.id.to_string());
    wait_for("the frame rate to be measured", || {
        let fps = server.stream("seen")?["fps"].as_f64()?;
        (fps > 15.0 && fps < 35.0).then_some(())
    });

    // By id, too; and what there is not has SRS's codes.
    let id = stream["id"].as_str().expect("an id");
    assert_eq!(server.api(&format!("/api/v1/streams/{id}"))["stream"]["name"], "seen");
    assert_eq!(server.api("/api/v1/streams/vid-1-1")["code"], 2048);
    let one = server.api(&format!("/api/v1/clients/{}", publisher.id));
    assert_eq!(one["client"]["type"], "fmle-publish");
    assert_eq!(server.api("/api/v1/clients/77")["code"], 2049);
    let vhosts = server.api("/api/v1/vhosts/");
    assert_eq!(vhosts["vhosts"][0]["streams"], 1);
    assert_eq!(vhosts["vhosts"][0]["clients"], 14);
    assert!(server.api("/api/v1/versions")["data"]["version"].is_string());
    let summaries = server.api("/api/v1/summaries");
    assert_eq!(summaries["data"]["self"]["pid"], server.pid());
    drop((players, http, encoder));
    wait_for("all clients to be gone", || server.clients().is_empty().then_some(()));
}

#[test]
fn kicks_for_this_machine_only() {
    let clip = Recipe::usual(4).clip();
    let server = Server::with_shards(4);
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("kick"));
    let player = Player::start(&server.rtmp("kick"));
    server.wait_viewers("kick", 1);
    player.until(|came| came.is_picture());
    let viewer = server.clients_of("kick").into_iter().find(|client| !client.publish).expect("a viewer");
    let path = format!("/api/v1/clients/{}", viewer.id);
    for field in [
        ("Origin", "http://localhost"),
        ("Referer", "http://localhost/"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("Host", "example.org"),
    ] {
        let answer = request(server.api_at(), "DELETE", &path, &[field]);
        assert_eq!(answer.status, 403, "{field:?}");
    }
    assert!(server.clients_of("kick").iter().any(|client| client.id == viewer.id), "still there");
    assert!(server.kick(viewer.id));
    player.rest();
    wait_for("the kicked one to be gone", || {
        (!server.clients_of("kick").iter().any(|client| client.id == viewer.id)).then_some(())
    });
    assert!(!server.kick(viewer.id), "it is gone already");
    assert!(server.log().contains("kicked"));
    // The publisher, too, from whatever shard the request comes in.
    let publisher = server.clients_of("kick").into_iter().find(|client| client.publish).expect("a publisher");
    assert!(server.kick(publisher.id));
    server.wait_unpublished("kick");
}

#[test]
fn metrics_can_be_read_by_prometheus() {
    let clip = Recipe::usual(4).clip();
    let server = Server::with_shards(2);
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("m"));
    let player = Player::start(&server.rtmp("m"));
    player.until(|came| came.is_picture());
    let answer = get(server.api_at(), "/metrics");
    assert_eq!(answer.status, 200);
    let mut typed = BTreeSet::new();
    let mut samples = 0;
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(typed.insert(name.to_owned()), "{name} is told twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(typed.contains(name) || family.is_some_and(|f| typed.contains(f)), "{line}: no type");
            samples += 1;
        }
    }
    assert!(samples > 20, "{}", answer.text());
    assert!(answer.text().contains("stream=\"m\"") || answer.text().contains("/m\""), "{}", answer.text());
}

#[test]
fn answers_pipelined_requests_in_order() {
    let server = Server::with_shards(3);
    let mut connection = Connection::open(server.api_at());
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let paths = ["/api/v1/versions", "/api/v1/streams/", "/api/v1/clients/", "/api/v1/summaries"];
    connection.send_raw(paths.iter().map(|path| ask(path)).collect::<String>().repeat(5).as_bytes());
    for _ in 0..5 {
        for path in paths {
            let answer = connection.answer("GET");
            assert_eq!(answer.status, 200, "{path}");
            let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
            let expected = if path.ends_with('/') {
                path.trim_end_matches('/').rsplit('/').next()
            } else {
                Some("data")
            };
            assert!(value.get(expected.expect("a name")).is_some(), "{path}: {value}");
        }
    }
}

#[test]
fn ids_are_strings_if_so_configured() {
    let clip = Recipe::usual(4).clip();
    let server = Setup::new(3).api("string_ids = true").start();
    let _encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("s"));
    let found = wait_for("the stream", || {
        let all = server.api("/api/v1/clients/");
        all["clients"].as_array()?.first().cloned()
    });
    let id = found["id"].as_str().expect("an id");
    assert!(id.len() == 8 && id.parse::<u64>().is_err(), "{id}");
    assert_eq!(server.api(&format!("/api/v1/clients/{id}"))["client"]["name"], "s");
    let gone = request(server.api_at(), "DELETE", &format!("/api/v1/clients/{id}"), &[]);
    assert_eq!(gone.status, 200);
    wait_for("the kicked one to be gone", || {
        let all = server.api("/api/v1/clients/");
        all["clients"].as_array()?.is_empty().then_some(())
    });
}
