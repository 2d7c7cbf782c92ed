//! Goal: an operator's backend decides about clients and is told of them, as SRS does it; it may be slow, wrong, or gone.
//! Method: a real web server keeps what it is sent and answers what the test wants; real and own clients come and go.

use crate::support::backend::{Backend, Request};
use crate::support::clip::Recipe;
use crate::support::http::{get, request};
use crate::support::neighbour::Neighbour;
use crate::support::player::{Player, connect, try_connect};
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};
use crate::support::wait_for;
use serde_json::{Value, json};
use srs_shard::rtmp::client::Role;
use std::collections::HashSet;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

fn members(request: &Request) -> Vec<&str> {
    // serde_json keeps their order.
    request.body.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn each_hook_says_what_srs_says_in_srs_s_order() {
    let backend = Backend::start();
    let server = Setup::new(2).tables(&backend.hooks("")).start();
    let clip = Recipe::usual(4).clip();
    let url = server.rtmp("s") + "?token=a&x=%22";
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &url);
    server.wait_published("s");
    let player = Player::start(&(server.rtmp("s") + "?who=me"));
    let page = "http://page.example/live.html";
    let http = thread::spawn({
        let at = server.http_at();
        move || request(at, "GET", "/live/s.flv?token=b", &[("Referer", page)])
    });
    server.wait_viewers("s", 2);
    let clients = server.clients_of("s");
    let id_of = |publish: bool, format: Option<&str>| {
        let client = clients.iter().find(|c| c.publish == publish && c.format.as_deref() == format);
        client.unwrap_or_else(|| panic!("{format:?} of {clients:?}")).id
    };
    let (publisher, rtmp, flv) = (id_of(true, None), id_of(false, Some("rtmp")), id_of(false, Some("flv")));
    encoder.finished();
    assert!(http.join().expect("an answer").complete);
    drop(player);
    let closed = backend.wait("on_close", 2);
    backend.wait("on_stop", 2);

    let of = |action: &str, id: u64| -> Request {
        let all: Vec<Request> =
            backend.of(action).into_iter().filter(|request| request.body["client_id"] == id).collect();
        assert_eq!(all.len(), 1, "{action} of {id}: {all:?}");
        all.into_iter().next().expect("one")
    };
    let common = ["action", "client_id", "ip", "vhost", "app"];
    let us = ["server_id", "service_id", "event"];
    let expect = |action: &str, id: u64, srs: &[&str], more: &[&str], values: Value| {
        let request = of(action, id);
        let wanted: Vec<&str> = common.iter().chain(srs).chain(more).chain(&us).copied().collect();
        let wanted: Vec<&str> =
            wanted.into_iter().chain((action == "on_unpublish").then_some("publish_event")).collect();
        assert_eq!(members(&request), wanted, "{action}");
        assert_eq!((request.path.as_str(), request.method.as_str()), (&*format!("/{action}"), "POST"));
        assert_eq!(request.headers["content-type"], "application/json");
        let agent = request.headers["user-agent"].to_str().expect("text");
        assert!(agent.starts_with("srs-shard/"), "{agent}");
        let always = json!({"action": action, "client_id": id, "ip": "127.0.0.1", "vhost": "__defaultVhost__", "app": "live"});
        for (name, value) in
            always.as_object().expect("an object").iter().chain(values.as_object().expect("one"))
        {
            assert_eq!(&request.body[name], value, "{action}: {name}");
        }
        request
    };
    let tc_url = format!("rtmp://{}:21935/live", server.ip());
    let stream = |param: &str| json!({"stream": "s", "param": param, "stream_url": "/live/s"});
    let pushed = "?token=a&x=%22";
    let connected = json!({"tcUrl": tc_url, "pageUrl": ""});
    expect("on_connect", publisher, &["tcUrl", "pageUrl"], &[], connected.clone());
    let publish =
        expect("on_publish", publisher, &["tcUrl", "stream", "param"], &["stream_url"], stream(pushed));
    assert_eq!(publish.body["tcUrl"], tc_url);
    let more = ["tcUrl", "stream_url"];
    let unpublish = expect("on_unpublish", publisher, &["stream", "param"], &more, stream(pushed));
    assert_eq!(unpublish.body["publish_event"], publish.body["event"]);
    expect("on_connect", rtmp, &["tcUrl", "pageUrl"], &[], connected);
    expect("on_play", rtmp, &["stream", "param", "pageUrl"], &more, stream("?who=me"));
    expect("on_stop", rtmp, &["stream", "param"], &more, stream("?who=me"));
    expect("on_play", flv, &["stream", "param", "pageUrl"], &more, stream("?token=b"));
    expect("on_stop", flv, &["stream", "param"], &more, stream("?token=b"));
    assert_eq!(of("on_play", flv).body["pageUrl"], page);
    assert_eq!(of("on_play", flv).body["tcUrl"], "rtmp://__defaultVhost__/live");
    for id in [publisher, rtmp] {
        let close = expect("on_close", id, &["send_bytes", "recv_bytes"], &["tcUrl"], json!({}));
        let bytes = |name: &str| close.body[name].as_u64().expect("an integer");
        let (most, least) =
            if id == publisher { ("recv_bytes", "send_bytes") } else { ("send_bytes", "recv_bytes") };
        assert!(bytes(most) > 20_000 && (3_000..20_000).contains(&bytes(least)), "{}", close.text);
    }
    assert!(closed.iter().all(|close| close.body["client_id"] != flv), "on_close is for RTMP clients");

    // Each client's are in order, and numbers are given once.
    let all = backend.requests();
    let actions = |id: u64| -> Vec<&str> {
        all.iter().filter(|r| r.body["client_id"] == id).map(Request::action).collect()
    };
    assert_eq!(actions(publisher), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(actions(rtmp), ["on_connect", "on_play", "on_stop", "on_close"]);
    assert_eq!(actions(flv), ["on_play", "on_stop"]);
    let numbers: HashSet<u64> = all.iter().map(|r| r.body["event"].as_u64().expect("a number")).collect();
    assert_eq!(numbers.len(), all.len());
    let connections: HashSet<_> = all.iter().map(|r| r.peer).collect();
    assert!(connections.len() < all.len() / 2, "{} connections for {}", connections.len(), all.len());
    let metrics = get(server.api_at(), "/metrics");
    for line in ["srs_hook_calls_total{hook=\"on_play\"} 2", "srs_hook_accepted_total{hook=\"on_close\"} 2"] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[test]
fn a_no_of_any_kind_is_the_client_s_end_and_it_is_told_why() {
    let backend = Backend::start();
    let server = Setup::new(2).tables(&backend.hooks("")).start();
    let neighbour = Neighbour::start(&server);
    let refused = |stream: &str, role: Role| {
        let why = try_connect(&server.rtmp(stream), role).err();
        why.filter(|why| why.contains("hook_denied"))
    };
    for (status, body) in [(200, "1"), (200, ""), (200, "{\"code\":1}"), (403, "0"), (302, "0"), (200, "0\n")]
    {
        for (hook, role) in
            [("on_publish", Role::PublishFmle), ("on_play", Role::Play), ("on_connect", Role::Play)]
        {
            backend.answers(&format!("/{hook}"), status, body);
            assert!(refused("x", role).is_some(), "{hook} {status} {body:?}");
            backend.answers(&format!("/{hook}"), 200, "{\"code\":0,\"data\":null}");
            assert!(try_connect(&server.rtmp("x"), role).is_ok(), "{hook}");
        }
    }
    backend.answers("/on_play", 200, "{\"code\":7}");
    let answer = get(server.http_at(), "/live/x.flv");
    assert_eq!((answer.status, answer.text()), (403, "hook_denied"));
    wait_for("the reason in the log", || {
        server.log().contains("live/x: on_publish http://").then_some(())?;
        server.log().contains("/on_publish: neither 0 nor {\"code\":0}: \"1\")").then_some(())
    });
    let metrics = get(server.api_at(), "/metrics");
    assert!(metrics.text().contains("reason=\"hook_denied\""), "{}", metrics.text());
    backend.wait("on_close", 36); // all of the above but the one over HTTP
    backend.forget();
    backend.answers("/on_play", 200, "0");
    backend.answers("/on_connect", 200, "1");
    assert!(refused("x", Role::PublishFmle).is_some());
    backend.wait("on_close", 1);
    let actions: Vec<String> = backend.requests().iter().map(|r| r.action().to_owned()).collect();
    assert_eq!(actions, ["on_connect", "on_close"], "nobody permitted it to publish, so nothing ends");
    backend.answers("/on_connect", 200, "0");
    neighbour.verdict(&server);
}

#[test]
fn a_backend_that_does_not_answer_costs_those_who_wait_for_it_and_nobody_else() {
    let mut backend = Backend::start();
    let limits = "timeout = { on_play = \"500ms\", on_publish = \"500ms\" }\n";
    let strict = backend.hooks_of("strict", limits) + "[vhost.strict.http_remux]\nenabled = true\n";
    let allow = backend.hooks_of("allow", &format!("on_error = \"allow\"\n{limits}"));
    let nowhere = "[vhost.nowhere.http_hooks]\nenabled = true\non_play = \"http://no-such-host.invalid/\"\n";
    let server = Setup::new(2).tables(&(strict + &allow + nowhere)).start();
    let neighbour = Neighbour::start(&server);
    let play = |vhost: &str| try_connect(&server.rtmp(&format!("x?vhost={vhost}")), Role::Play);

    backend.answers_after("/on_play", 200, "0", Duration::from_secs(20));
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let url = server.rtmp("x?vhost=strict");
            thread::spawn(move || try_connect(&url, Role::Play).err())
        })
        .collect();
    assert!(play("__defaultVhost__").is_ok(), "its vhost asks nobody");
    for why in slow {
        let why = why.join().expect("a client").expect("refused");
        assert!(why.contains("hook_failed"), "{why}");
    }
    assert!(play("allow").is_ok());
    wait_for("the warning", || server.log().contains("allowed by on_error").then_some(()));
    backend.answers("/on_play", 503, "0");
    assert!(
        play("strict").err().is_some_and(|why| why.contains("hook_failed")),
        "trouble of its own is no answer"
    );
    assert!(play("allow").is_ok());
    backend.go_down();
    assert!(play("strict").err().is_some_and(|why| why.contains("hook_failed")));
    let answer = get(server.http_at(), "/live/x.flv?vhost=strict");
    assert_eq!((answer.status, answer.text()), (403, "hook_failed"));
    assert!(play("allow").is_ok());
    let nowhere = play("nowhere").expect_err("nobody has that name");
    assert!(nowhere.contains("hook_failed"), "{nowhere}");
    backend.come_up();
    backend.answers("/on_play", 200, "0");
    assert!(play("strict").is_ok(), "it is back");
    let verdict = neighbour.verdict(&server);
    assert!(verdict.longest_gap < Duration::from_secs(1), "{verdict:?}");
}

#[test]
fn events_wait_for_a_backend_that_is_gone_and_come_in_order() {
    let mut backend = Backend::start();
    let hooks = backend.hooks("").replace("on_publish = ", "# ").replace("on_connect = ", "# ");
    let server = Setup::new(2).tables(&hooks).start();
    backend.go_down();
    const TIMES: usize = 5;
    for _ in 0..TIMES {
        let (stream, _session) = connect(&server.rtmp("s"), Role::PublishFmle);
        server.wait_published("s");
        stream.shutdown(Shutdown::Both).expect("a socket");
        server.wait_unpublished("s");
    }
    let pending = format!("srs_hook_events_pending {}\n", 2 * TIMES);
    wait_for("them to wait", || get(server.api_at(), "/metrics").text().contains(&pending).then_some(()));
    backend.come_up();
    let ended = backend.wait("on_unpublish", TIMES);
    let closed = backend.wait("on_close", TIMES);
    let numbers = |all: &[Request]| -> Vec<u64> {
        all.iter().map(|r| r.body["event"].as_u64().expect("one")).collect()
    };
    assert!(numbers(&ended).is_sorted(), "one stream's come in order: {:?}", numbers(&ended));
    for close in &closed {
        let its = |r: &&Request| r.body["client_id"] == close.body["client_id"];
        let end = ended.iter().find(its).expect("its publish ended");
        assert!(end.at <= close.at && end.body["event"].as_u64() < close.body["event"].as_u64());
    }
    wait_for("all to be told", || {
        get(server.api_at(), "/metrics").text().contains("srs_hook_events_pending 0\n").then_some(())
    });
}

#[test]
fn a_publish_waits_for_the_end_of_the_one_before_but_not_for_ever() {
    let backend = Backend::start();
    let server = Setup::new(2).tables(&backend.hooks("timeout = { on_publish = \"4s\" }\n")).start();
    let publish_once = || {
        let (stream, _session) = connect(&server.rtmp("s"), Role::PublishFmle);
        stream.shutdown(Shutdown::Both).expect("a socket");
    };
    backend.answers_after("/on_unpublish", 200, "0", Duration::from_secs(1));
    publish_once();
    let told = backend.wait("on_unpublish", 1)[0].at;
    publish_once();
    let asked = backend.wait("on_publish", 2)[1].at;
    assert!(asked.duration_since(told) >= Duration::from_secs(1), "the first one's end had not been taken");

    backend.wait("on_close", 2);
    backend.forget();
    backend.answers_after("/on_unpublish", 200, "0", Duration::from_secs(8));
    publish_once();
    let told = backend.wait("on_unpublish", 1)[0].clone();
    publish_once();
    let passed = backend.wait("on_publish", 2)[1].clone();
    let waited = passed.at.duration_since(told.at);
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(7)).contains(&waited),
        "half of its deadline: {waited:?}"
    );
    let ended = backend.wait("on_unpublish", 2);
    let publishes = backend.of("on_publish");
    for (publish, end) in publishes.iter().zip(&ended) {
        assert_eq!(end.body["publish_event"], publish.body["event"], "the number tells which one it ends");
    }
}

#[test]
fn what_a_killed_server_still_had_to_tell_comes_after_its_next_start() {
    let mut backend = Backend::start();
    let spool = std::env::temp_dir().join(format!("srs-shard-test-spool-{}", std::process::id()));
    let hooks = format!("{}[hooks]\nspool = \"{}\"\n", backend.hooks(""), spool.display());
    let mut server = Setup::new(2).tables(&hooks).start();
    let publish = |server: &Server, stream: &str| {
        let publisher = connect(&server.rtmp(stream), Role::PublishFmle);
        server.wait_published(stream);
        publisher
    };
    let done = publish(&server, "done");
    done.0.shutdown(Shutdown::Both).expect("a socket");
    backend.wait("on_unpublish", 1);
    let pending = publish(&server, "pending");
    let live = publish(&server, "live");
    backend.answers("/on_publish", 200, "1");
    assert!(try_connect(&server.rtmp("refused"), Role::PublishFmle).is_err());
    backend.answers("/on_publish", 200, "0");
    let asked: Vec<Request> = backend.of("on_publish");
    backend.wait("on_close", 2);
    backend.go_down();
    pending.0.shutdown(Shutdown::Both).expect("a socket");
    server.wait_unpublished("pending");
    server.kill_and_start();
    drop(live);
    backend.forget();
    backend.come_up();
    let ended = backend.wait("on_unpublish", 2);
    let of =
        |stream: &str| -> Vec<&Request> { ended.iter().filter(|r| r.body["stream"] == stream).collect() };
    for stream in ["pending", "live"] {
        let publish = asked.iter().find(|r| r.body["stream"] == stream).expect("it was asked about");
        let [end] = of(stream)[..] else { panic!("{stream}: {ended:?}") };
        for same in ["client_id", "server_id", "service_id"] {
            assert_eq!(end.body[same], publish.body[same], "{stream}: {same}");
        }
        assert_eq!(end.body["publish_event"], publish.body["event"], "{stream}");
    }
    let publisher = publish(&server, "live");
    let again = &backend.of("on_publish")[0];
    let last = asked.iter().filter_map(|r| r.body["event"].as_u64()).max();
    assert!(again.body["event"].as_u64() > last, "numbers go on");
    assert_ne!(again.body["server_id"], asked[0].body["server_id"]);
    drop(publisher);
    wait_for("its end", || {
        backend.of("on_close").into_iter().find(|r| r.body["server_id"] == again.body["server_id"])
    });
    assert_eq!(backend.of("on_unpublish").len(), 3, "nobody else is owed anything");
    drop(server);
    std::fs::remove_dir_all(spool).expect("the spool's folder");
}

#[test]
fn several_urls_are_asked_in_order_and_all_are_told() {
    let (first, second) = (Backend::start(), Backend::start());
    let both = |path: &str| format!("[\"{}\", \"{}\"]", first.url(path), second.url(path));
    let table = format!(
        "[vhost.__defaultVhost__.http_hooks]\nenabled = true\non_play = {}\non_stop = {}\n",
        both("/play"),
        both("/stop")
    );
    let server = Setup::new(1).tables(&table).api("string_ids = true").start();
    first.answers("/play", 200, "1");
    assert!(try_connect(&server.rtmp("s"), Role::Play).is_err());
    assert_eq!((first.of("on_play").len(), second.of("on_play").len()), (1, 0), "the first no is enough");
    first.answers("/play", 200, "0");
    second.answers("/play", 200, "1");
    assert!(try_connect(&server.rtmp("s"), Role::Play).is_err());
    second.answers("/play", 200, "0");
    drop(connect(&server.rtmp("s"), Role::Play));
    for backend in [&first, &second] {
        let [stop] = &backend.wait("on_stop", 1)[..] else { panic!("more than one stop") };
        let id = stop.body["client_id"].as_str().expect("text, as in the API");
        assert_eq!(id.len(), 8, "{id}");
    }
    assert_eq!((first.of("on_play").len(), second.of("on_play").len()), (3, 2));
}

#[test]
fn a_reload_holds_from_the_next_event_on() {
    let (before, after) = (Backend::start(), Backend::start());
    let server = Setup::new(2).tables(&before.hooks("")).start();
    let (stream, _session) = connect(&server.rtmp("s"), Role::PublishFmle);
    server.wait_published("s");
    let original = server.configuration();
    let said = server.reload(&original.replace(&before.url(""), &after.url("")));
    assert!(
        said.iter().any(|line| line.contains("http_hooks.on_play: ") && line.ends_with(": applied")),
        "{said:?}"
    );
    stream.shutdown(Shutdown::Both).expect("a socket");
    after.wait("on_close", 1);
    assert_eq!(after.of("on_unpublish").len(), 1);
    assert_eq!(before.requests().len(), 2, "on_connect and on_publish");
    // Hooks go, and those that were told of the beginning hear no end.
    let player = connect(&server.rtmp("s"), Role::Play);
    after.wait("on_play", 1);
    server.reload(
        &server.configuration().replace("http_hooks]\nenabled = true", "http_hooks]\nenabled = false"),
    );
    drop(player);
    server.release_players("s");
    drop(connect(&server.rtmp("s"), Role::Play));
    wait_for("both to go", || server.clients().is_empty().then_some(()));
    assert_eq!((after.of("on_play").len(), after.of("on_stop").len()), (1, 0));
}

/// A web server with a certificate of its own; it says yes to everything, once it has said where it is.
const SECURE: &str = r#"
import http.server, ssl, sys
class Yes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"0")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Yes)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn a_backend_over_https_must_be_who_it_says() {
    let folder = std::env::temp_dir().join(format!("srs-shard-test-secure-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let file = |name: &str| folder.join(name).display().to_string();
    let (key, cert) = (file("key.pem"), file("cert.pem"));
    let subject = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-days",
        "2",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let made = Tool::start(
        "openssl",
        &[&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &cert][..], &subject]
            .concat(),
    );
    made.finished();
    let backend = Tool::start("python3", &["-c", SECURE, &cert, &key]);
    let port = wait_for("its port", || backend.output().lines().next()?.parse::<u16>().ok());
    let hooks = |host: &str| {
        format!("[vhost.__defaultVhost__.http_hooks]\nenabled = true\non_play = \"https://{host}:{port}/\"\n")
    };
    let play = |server: &Server| try_connect(&server.rtmp("s"), Role::Play).err();
    let trusting = format!("[http_client]\nca_file = \"{cert}\"\n");
    let server = Setup::new(1).tables(&(trusting.clone() + &hooks("localhost"))).start();
    assert_eq!(play(&server), None);
    assert!(backend.output().contains(r#""action":"on_play""#));
    drop(server);
    let server = Setup::new(1).tables(&(trusting + &hooks("127.0.0.1"))).start();
    assert!(play(&server).is_some_and(|why| why.contains("hook_failed")), "that is not its name");
    drop(server);
    let server = Setup::new(1).tables(&hooks("localhost")).start();
    assert!(play(&server).is_some_and(|why| why.contains("hook_failed")), "nobody vouches for it");
    drop((server, backend));
    std::fs::remove_dir_all(folder).expect("our folder");
}

#[test]
fn who_is_permitted_after_the_vhost_has_gone_does_not_get_in() {
    let backend = Backend::start();
    let server = Setup::new(2).tables(&backend.hooks_of("brief", "")).start();
    backend.answers_after("/on_publish", 200, "0", Duration::from_secs(1));
    let url = server.rtmp("s?vhost=brief");
    let encoder = thread::spawn(move || try_connect(&url, Role::PublishFmle).err());
    backend.wait("on_publish", 1);
    server.reload(&server.configuration().replace("[vhost.\"brief\"", "[vhost.\"other\""));
    let why = encoder.join().expect("a client").expect("refused");
    assert!(why.contains("vhost_unknown"), "{why}");
    let ended = backend.wait("on_unpublish", 1);
    assert_eq!(ended[0].body["publish_event"], backend.of("on_publish")[0].body["event"], "it said yes");
}

#[test]
fn a_player_s_media_comes_as_soon_as_the_backend_says_yes() {
    let backend = Backend::start();
    let server = Setup::new(2).tables(&backend.hooks("")).start();
    let clip = Recipe::usual(6).clip();
    let url = server.rtmp("s");
    let encoder = publish(DEBIAN_FFMPEG, &clip.path, &url);
    server.wait_published("s");
    backend.answers_after("/on_play", 200, "0", Duration::from_millis(700));
    let began = Instant::now();
    let player = Player::start(&server.rtmp("s"));
    assert!(began.elapsed() >= Duration::from_millis(700), "it waited for the answer");
    let came = player.until(|came| came.is_picture());
    assert!(came.last().expect("a picture").is_key(), "it starts like any other");
    drop(player);
    encoder.finished();
}
