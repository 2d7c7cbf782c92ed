//! Goal: the API's JSON is SRS 3.0's, member by member, and what the OpenAPI document says of it is so.
//! Method: a table of members in their order, with their types, from SRS's sources; the answers of a running server with
//! a publisher and players on several shards are held against it, and against the document that the server serves.

use crate::support::clip::Recipe;
use crate::support::http::{Answer, get, request};
use crate::support::packets::{Form, watch};
use crate::support::player::Player;
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish_with};
use crate::support::wait_for;
use serde_json::{Value, json};
use std::fs;

/// `s` text, `i` integer, `f` number with a fraction, `b` true or false, `null`; of a list the first entry.
const ENVELOPE: &str = "code:i server:s";
/// SRS 5 has `tcUrl` and `url` too.
const STREAM: &str = "id:s name:s vhost:s app:s tcUrl:s url:s live_ms:i clients:i frames:i send_bytes:i recv_bytes:i \
    kbps{recv_30s:i send_30s:i} publish{active:b cid:s} video{codec:s profile:s level:s width:i height:i} \
    audio{codec:s sample_rate:i channel:i profile:s}";
const OUR_STREAM: &str =
    "owner:i shards[{shard:i viewers:i}] bitrate_kbps:i fps:f gop_ms:i keyframe_age_ms:i";
/// SRS 5 has `name`, the bytes and `kbps` too.
const CLIENT: &str = "id:s vhost:s stream:s ip:s pageUrl:s swfUrl:s tcUrl:s url:s name:s type:s publish:b alive:f \
    send_bytes:i recv_bytes:i kbps{recv_30s:i send_30s:i}";
const OUR_PLAYER: &str = "shard:i format:s lag_ms:i queued_bytes:i drops:i jumps:i";
const OUR_PUBLISHER: &str = "shard:i format:null lag_ms:null queued_bytes:i drops:i jumps:i";
const VHOST: &str = "id:s name:s enabled:b clients:i streams:i send_bytes:i recv_bytes:i kbps{recv_30s:i send_30s:i} \
    hls{enabled:b}";
const RUSAGES: &str = "ok:b sample_time:i ru_utime:i ru_stime:i ru_maxrss:i ru_ixrss:i ru_idrss:i ru_isrss:i ru_minflt:i \
    ru_majflt:i ru_nswap:i ru_inblock:i ru_oublock:i ru_msgsnd:i ru_msgrcv:i ru_nsignals:i ru_nvcsw:i ru_nivcsw:i";
const SELF_PROC_STATS: &str = "ok:b sample_time:i percent:f pid:i comm:s state:s ppid:i pgrp:i session:i tty_nr:i tpgid:i \
    flags:i minflt:i cminflt:i majflt:i cmajflt:i utime:i stime:i cutime:i cstime:i priority:i nice:i num_threads:i \
    itrealvalue:i starttime:i vsize:i rss:i rsslim:i startcode:i endcode:i startstack:i kstkesp:i kstkeip:i signal:i \
    blocked:i sigignore:i sigcatch:i wchan:i nswap:i cnswap:i exit_signal:i processor:i rt_priority:i policy:i \
    delayacct_blkio_ticks:i guest_time:i cguest_time:i";
const SYSTEM_PROC_STATS: &str = "ok:b sample_time:i percent:f user:i nice:i sys:i idle:i iowait:i irq:i softirq:i steal:i \
    guest:i";
const MEMINFOS: &str = "ok:b sample_time:i percent_ram:f percent_swap:f MemActive:i RealInUse:i NotInUse:i MemTotal:i \
    MemFree:i Buffers:i Cached:i SwapTotal:i SwapFree:i";
const SELF: &str = "version:s pid:i ppid:i argv:s cwd:s mem_kbyte:i mem_percent:f cpu_percent:f srs_uptime:i";
const SYSTEM: &str = "cpu_percent:f disk_read_KBps:i disk_write_KBps:i disk_busy_percent:f mem_ram_kbyte:i \
    mem_ram_percent:f mem_swap_kbyte:i mem_swap_percent:f cpus:i cpus_online:i uptime:f ilde_time:f load_1m:f load_5m:f \
    load_15m:f net_sample_time:i net_recv_bytes:i net_send_bytes:i net_recvi_bytes:i net_sendi_bytes:i srs_sample_time:i \
    srs_recv_bytes:i srs_send_bytes:i conn_sys:i conn_sys_et:i conn_sys_tw:i conn_sys_udp:i conn_srs:i";
const FEATURES: &str = "ssl:b hls:b hds:b callback:b api:b httpd:b dvr:b transcode:b ingest:b stat:b caster:b \
    complex_send:b tcp_nodelay:b so_sendbuf:b mr:b";
const URLS: &str = "versions:s summaries:s rusages:s self_proc_stats:s system_proc_stats:s meminfos:s authors:s features:s \
    requests:s vhosts:s streams:s clients:s raw:s clusters:s";

/// A value's members and their types, in their order.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => ":null".to_owned(),
        Value::Bool(_) => ":b".to_owned(),
        Value::Number(number) if number.is_f64() => ":f".to_owned(),
        Value::Number(_) => ":i".to_owned(),
        Value::String(_) => ":s".to_owned(),
        Value::Array(list) => format!("[{}]", list.first().map(shape).unwrap_or_default()),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| name.clone() + &shape(value)).collect();
            format!("{{{}}}", members.join(" "))
        }
    }
}

/// A server with a publisher and two players, and what the API says once all of it is known.
struct Busy {
    server: Server,
    document: Value,
    _encoder: Tool,
    _players: (Player, Tool),
}

impl Busy {
    fn start(setup: Setup) -> Busy {
        let clip = Recipe::usual(4).clip();
        let server = setup.start();
        let encoder = publish_with(DEBIAN_FFMPEG, &["-stream_loop", "-1"], &clip.path, &server.rtmp("full"));
        server.wait_published("full");
        let player = Player::start(&server.rtmp("full"));
        let http = watch(DEBIAN_FFMPEG, &server.http("/live/full.flv"), Form::Whole, clip.has());
        wait_for("both players", || (server.stream("full")?["clients"] == 3).then_some(()));
        player.until(|came| came.is_picture());
        wait_for("the players to be measured", || {
            let all = server.api("/api/v1/clients/");
            let players = all["clients"].as_array()?.iter().filter(|client| client["publish"] == false);
            players.into_iter().all(|client| client["lag_ms"].is_u64()).then_some(())
        });
        wait_for("the machine to be sampled twice", || {
            (server.api("/api/v1/summaries")["data"]["ok"] == true).then_some(())
        });
        let document = server.api("/api/v1/openapi.json");
        Busy { server, document, _encoder: encoder, _players: (player, http) }
    }

    /// An answer that the document describes.
    fn ask(&self, method: &str, target: &str) -> Value {
        let answer = request(self.server.api_at(), method, target, &[]);
        let said: Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{target}: {error}"));
        self.check(method, target, &answer, &said);
        said
    }

    fn check(&self, method: &str, target: &str, answer: &Answer, said: &Value) {
        let path = target.split('?').next().expect("a path");
        let listed = path.rfind('/').map_or(path, |end| &path[..=end]);
        let paths = [path.to_owned(), format!("{listed}{{id}}")];
        let paths = paths.iter().map(|path| &self.document["paths"][path]);
        let described = paths.into_iter().find(|item| !item.is_null()).expect("a described path");
        let response = &described[method.to_ascii_lowercase()]["responses"][answer.status.to_string()];
        let response = match response["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).expect("it is there"),
            None => response,
        };
        let content = &response["content"][answer.field("content-type").expect("a type")];
        assert!(content.is_object(), "{method} {target}: {} is not described", answer.status);
        let mut schema = content["schema"].clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let faults: Vec<String> =
            validator.iter_errors(said).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        assert!(faults.is_empty(), "{method} {target}: {faults:?}\n{said}");
    }
}

#[test]
fn every_answer_has_srs_s_members_in_srs_s_order() {
    let busy = Busy::start(Setup::new(3).tables("[http_api.raw_api]\nenabled = true\nallow_query = true"));
    let first = |kind: &str| -> Value { busy.server.api(&format!("/api/v1/{kind}/"))[kind][0].clone() };
    let id = |kind: &str| first(kind)["id"].as_str().expect("an id").to_owned();
    let (vhost_id, stream_id) = (id("vhosts"), id("streams"));
    let clients = busy.server.clients();
    let publisher = clients.iter().find(|client| client.publish).expect("a publisher").id;
    let player = clients.iter().find(|client| !client.publish).expect("a player").id;
    let stream = format!("{STREAM} {OUR_STREAM}");
    let data = |members: &str| format!("{ENVELOPE} data{{{members}}}");
    let origin = "query{ip:s vhost:s app:s stream:s} origin{ip:s port:i vhost:s api:s routers[:s]}";
    let table = [
        ("/api/", format!("{ENVELOPE} urls{{v1:s}}")),
        (
            "/api/v1/",
            format!(
                "{ENVELOPE} urls{{{URLS} openapi.json:s}} tests{{requests:s errors:s redirects:s [vhost]:s}}"
            ),
        ),
        ("/api/v1/versions", data("major:i minor:i revision:i version:s software:s")),
        (
            "/api/v1/summaries",
            data(&format!(
                "ok:b now_ms:i self{{{SELF} config_version:i draining:b log_lines_dropped:i}} system{{{SYSTEM}}}"
            )),
        ),
        ("/api/v1/rusages", data(RUSAGES)),
        ("/api/v1/self_proc_stats", data(SELF_PROC_STATS)),
        ("/api/v1/system_proc_stats", data(SYSTEM_PROC_STATS)),
        ("/api/v1/meminfos", data(MEMINFOS)),
        ("/api/v1/authors", data("license:s contributors:s")),
        ("/api/v1/features", data(&format!("options:s options2:s build:s build2:s features{{{FEATURES}}}"))),
        (
            "/api/v1/tests/requests",
            data(
                "uri:s path:s METHOD:s headers{sigature:s version:s link:s time:i} \
                 request_headers{connection:s host:s}",
            ),
        ),
        ("/api/v1/tests/errors", "code:i".to_owned()),
        ("/api/v1/vhosts/", format!("{ENVELOPE} vhosts[{{{VHOST}}}]")),
        (&format!("/api/v1/vhosts/{vhost_id}"), format!("{ENVELOPE} vhost{{{VHOST}}}")),
        ("/api/v1/vhosts/vid-1-1", "code:i".to_owned()),
        ("/api/v1/streams/", format!("{ENVELOPE} streams[{{{stream}}}] total:i")),
        (&format!("/api/v1/streams/{stream_id}"), format!("{ENVELOPE} stream{{{stream}}}")),
        ("/api/v1/streams/vid-1-1", "code:i".to_owned()),
        (&format!("/api/v1/clients/{publisher}"), format!("{ENVELOPE} client{{{CLIENT} {OUR_PUBLISHER}}}")),
        (&format!("/api/v1/clients/{player}"), format!("{ENVELOPE} client{{{CLIENT} {OUR_PLAYER}}}")),
        ("/api/v1/clients/1", "code:i".to_owned()),
        ("/api/v1/clusters?app=live&stream=full", format!("code:i data{{{origin}}}")),
        (
            "/api/v1/raw?rpc=raw",
            "code:i http_api{enabled:b listen:s crossdomain:b \
             raw_api{enabled:b allow_reload:b allow_query:b allow_update:b}}"
                .to_owned(),
        ),
        ("/api/v1/raw?rpc=query&scope=minimal", "code:i minimal{listen[:s]}".to_owned()),
        (
            "/api/v1/raw?rpc=query&scope=vhost&vhost=__defaultVhost__",
            "code:i vhost{id:s name:s enabled:b http_remux{enabled:b mount[:s]}}".to_owned(),
        ),
        (
            "/api/v1/raw?rpc=query&scope=global",
            "code:i global{listen[:s] http_api{enabled:b listen:s raw_api{enabled:b allow_query:b}} \
             http_server{enabled:b listen:s dir:s} nb_vhosts:i vhosts{__defaultVhost__{id:s name:s enabled:b \
             http_remux:b origin:b gop_cache:b time_jitter:b}}}"
                .to_owned(),
        ),
        ("/api/v1/raw?rpc=update", "code:i".to_owned()),
    ];
    for (target, members) in table {
        assert_eq!(shape(&busy.ask("GET", target)), format!("{{{members}}}"), "{target}");
    }
    // The list is in the order of ids, in which shards take turns.
    let mut list = busy.ask("GET", "/api/v1/clients/");
    for client in list["clients"].as_array_mut().expect("a list").drain(..) {
        let ours = if client["publish"] == true { OUR_PUBLISHER } else { OUR_PLAYER };
        assert_eq!(shape(&client), format!("{{{CLIENT} {ours}}}"));
    }
    assert_eq!(shape(&list), format!("{{{ENVELOPE} clients[] total:i}}"));
    assert_eq!(busy.ask("DELETE", "/api/v1/clients/1"), json!({"code": 2049}));
    assert_eq!(shape(&busy.ask("DELETE", &format!("/api/v1/clients/{player}"))), format!("{{{ENVELOPE}}}"));
}

#[test]
fn ids_and_numbers_of_different_answers_agree() {
    let busy = Busy::start(Setup::new(3));
    let server = &busy.server;
    let vhost = busy.ask("GET", "/api/v1/vhosts/")["vhosts"][0].clone();
    let stream = busy.ask("GET", "/api/v1/streams/")["streams"][0].clone();
    let clients = busy.ask("GET", "/api/v1/clients/");
    assert_eq!(
        (&vhost["name"], &vhost["clients"], &vhost["streams"]),
        (&"__defaultVhost__".into(), &3.into(), &1.into())
    );
    assert_eq!(
        (&stream["vhost"], &stream["app"], &stream["name"]),
        (&vhost["id"], &"live".into(), &"full".into())
    );
    let clients = clients["clients"].as_array().expect("a list");
    for client in clients {
        assert_eq!((&client["vhost"], &client["stream"]), (&vhost["id"], &stream["id"]));
        assert_eq!(client["url"], "/live/full");
        assert_eq!(client["type"], if client["publish"] == true { "fmle-publish" } else { "Play" });
    }
    // What the kernel says of the process itself.
    let of = |name: &str, field: &str| busy.ask("GET", &format!("/api/v1/{name}"))["data"][field].clone();
    assert_eq!(of("self_proc_stats", "pid"), server.pid());
    assert_eq!(of("self_proc_stats", "ppid"), std::process::id());
    assert_eq!(of("self_proc_stats", "comm"), "srs-shard");
    let total = fs::read_to_string("/proc/meminfo").expect("the kernel's");
    let total: u64 = total.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("MemTotal");
    assert_eq!(of("meminfos", "MemTotal"), total);
    assert!(of("rusages", "ru_maxrss").as_u64().is_some_and(|kb| kb <= server.status_kib("VmHWM") && kb > 0));
}

#[test]
fn string_ids_are_those_of_srs_4() {
    let busy = Busy::start(Setup::new(2).api("string_ids = true"));
    let envelope = "code:i server:s service:s pid:s";
    for (target, rest) in [
        ("/api/v1/versions", "data{major:i minor:i revision:i version:s software:s}".to_owned()),
        ("/api/v1/streams/", format!("streams[{{{STREAM} {OUR_STREAM}}}] total:i")),
    ] {
        assert_eq!(shape(&busy.ask("GET", target)), format!("{{{envelope} {rest}}}"), "{target}");
    }
}

#[test]
fn a_stream_is_found_where_it_is_published() {
    let busy = Busy::start(Setup::new(3));
    let ip = busy.server.ip().to_string();
    let origin = json!({"ip": ip, "port": 21935, "vhost": "__defaultVhost__",
        "api": format!("{ip}:21985"), "routers": [format!("{ip}:21985")]});
    // Edges and coworkers POST; every shard knows.
    for _ in 0..8 {
        let said = busy.ask("POST", "/api/v1/clusters?vhost=x.example&ip=x.example&app=live&stream=full");
        let query = json!({"ip": "x.example", "vhost": "x.example", "app": "live", "stream": "full"});
        assert_eq!(said, json!({"code": 0, "data": {"query": query, "origin": origin}}));
    }
    let said = busy.ask("GET", "/api/v1/clusters?app=live&stream=full&coworker=nat.example:9999");
    assert_eq!(said["data"]["origin"]["ip"], "nat.example");
    assert_eq!(said["data"]["origin"]["api"], "nat.example:21985");
    for missing in ["app=live&stream=other", "app=other&stream=full", "vhost=x", ""] {
        let said = busy.ask("GET", &format!("/api/v1/clusters?{missing}"));
        assert_eq!((&said["code"], &said["data"]["origin"]), (&0.into(), &Value::Null), "{missing}");
    }
}

#[test]
fn jsonp_cors_and_redirects_are_as_in_srs() {
    let server = Server::with_shards(2);
    let at = server.api_at();
    let jsonp = get(at, "/api/v1/versions?callback=on.version");
    assert_eq!(jsonp.field("content-type"), Some("text/javascript"));
    let inside = jsonp.text().strip_prefix("on.version(").and_then(|rest| rest.strip_suffix(")"));
    let inside: Value = serde_json::from_str(inside.expect("a call")).expect("JSON");
    assert_eq!(inside["data"]["major"], 3);
    assert_eq!(get(at, "/api/v1/clients/1?callback=f&method=DELETE").text(), "f({\"code\":2049})");
    let plain = get(at, "/api/v1/versions");
    let fields: Vec<&str> = plain.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, ["connection", "content-length", "content-type", "server"]);
    assert!(plain.field("server").is_some_and(|name| name.contains("SRS/3.0.170")));
    let cors = request(at, "GET", "/api/v1/versions", &[("Origin", "http://elsewhere")]);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST, HEAD, PUT, DELETE, OPTIONS"),
        ("access-control-expose-headers", "Server,range,Content-Length,Content-Range"),
    ] {
        assert_eq!(cors.field(name), Some(value), "{name}");
    }
    for (method, path, status, location) in [
        ("GET", "/api/v1/streams?start=1", 302, Some("/api/v1/streams/?start=1")),
        ("GET", "/api", 302, Some("/api/")),
        ("GET", "/console", 302, Some("/console/")),
        ("GET", "/api/v1/tests/redirects?a=b", 301, Some("/api/v1/tests/errors?a=b")),
        ("GET", "/", 404, None),
        ("GET", "/api/v1/../v1/versions", 400, None),
        ("POST", "/api/v1/versions", 200, None),
        ("POST", "/api/v1/streams/", 405, None),
        ("OPTIONS", "/api/v1/streams/", 200, None),
    ] {
        let answer = request(at, method, path, &[]);
        assert_eq!((answer.status, answer.field("location")), (status, location), "{method} {path}");
    }
    assert_eq!(get(server.http_at(), "/api/v1/versions").status, 200, "it is on the media port, too");
}

#[test]
fn the_console_is_a_folder_of_files() {
    let server = Server::with_shards(2);
    assert_eq!(get(server.api_at(), "/console/").status, 404);
    fs::create_dir(server.dir().join("console")).expect("a folder");
    fs::write(server.dir().join("console/index.html"), "a console").expect("a file");
    fs::write(server.dir().join("secret.html"), "not of the console").expect("a file");
    let page = get(server.api_at(), "/console/");
    assert_eq!((page.status, page.text()), (200, "a console"));
    assert_eq!(
        request(server.api_at(), "HEAD", "/console/index.html", &[]).field("content-length"),
        Some("9")
    );
    assert_eq!(get(server.api_at(), "/secret.html").status, 404);
    assert_eq!(get(server.api_at(), "/console/other.js").status, 404);
}
