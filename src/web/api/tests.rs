use super::ids::*;
use super::snapshot::*;
use super::*;
use crate::config::schema::DEFAULT_VHOST;
use crate::http::request::{Event, Parser};
use crate::stats::rates::LagHistogram;
use crate::stats::reason::{CloseReason, DropReason, Reason};
use crate::stats::system::{ProcTexts, Sample};
use crate::stream::encode::Format;
use crate::stream::feed::FeedCounters;

mod cluster;
mod document;
mod raw;

const RTMP: Format = Format::Rtmp { chunk_bytes: 60_000 };
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn request(line: &str, headers: &str) -> Request {
    let mut parser = Parser::default();
    parser.feed(format!("{line} HTTP/1.1\r\n{headers}\r\n").as_bytes());
    match parser.poll() {
        Ok(Some(Event::Request(request))) => *request,
        other => panic!("{line}: {other:?}"),
    }
}

fn get(target: &str) -> Request {
    request(&format!("GET {target}"), "Host: localhost:1985\r\n")
}

struct Fixture {
    vhosts: Vec<VhostInfo>,
    process: ProcessInfo,
    system: Report,
    id_style: IdStyle,
    raw_api: RawApi,
    hooks: Counters,
    auth: ApiAuth,
    config: Config,
    said: Said,
    rtmp_at: Option<SocketAddr>,
    api_at: Option<SocketAddr>,
}

impl Fixture {
    fn new() -> Self {
        let vhosts = vec![VhostInfo { name: DEFAULT_VHOST.into(), enabled: true }];
        let process = ProcessInfo {
            pid: 7,
            ppid: 1,
            argv: "./srs-shard -c \"x\"".into(),
            cwd: "/srv".into(),
            started_ms: 1000,
            uname: vec![("sysname", "Linux".into())],
        };
        let mut system = Report::default();
        for (at_ms, used) in [(1_000, 100), (3_000, 150)] {
            let mut texts = ProcTexts {
                stat: format!("cpu  {used} 0 0 {used} 0 0 0 0 0 0\n"),
                meminfo: "MemTotal: 1000 kB\nMemFree: 250 kB\n".into(),
                loadavg: "0.5 0.25 1 1/1 1".into(),
                uptime: "9.5 3".into(),
                ..ProcTexts::default()
            };
            texts.self_status = "VmHWM:\t     300 kB\n".into();
            texts.self_stat =
                format!("7 (srs-shard) S 1 7 7 0 -1 0 5 0 6 0 {used} 0 0 0 20 0 3 0 9 4096 25 1 2\n");
            system.push(Sample::parse(&texts, at_ms));
        }
        let config = Config::parse("x.toml", "[vhost.__defaultVhost__]\n[vhost.off]\nenabled = false\n");
        let (config, said) = (config.expect("a good configuration"), Said::default());
        let (id_style, raw_api, hooks) = (IdStyle::Numeric, RawApi::default(), Counters::default());
        let (rtmp_at, api_at) = ("0.0.0.0:1936".parse().ok(), "0.0.0.0:1985".parse().ok());
        let auth = ApiAuth::default();
        Self { vhosts, process, system, id_style, raw_api, hooks, auth, config, said, rtmp_at, api_at }
    }

    fn context(&self) -> ApiContext<'_> {
        ApiContext {
            server_id: "vid-7-3",
            service_id: "abcdefgh",
            crossdomain: true,
            id_style: self.id_style,
            raw_api: self.raw_api,
            auth: &self.auth,
            config: &self.config,
            said: &self.said,
            rtmp_at: self.rtmp_at,
            api_at: self.api_at,
            config_version: 4,
            hooks: &self.hooks,
            is_draining: false,
            log_lines_dropped: 7,
            vhosts: &self.vhosts,
            process: &self.process,
            system: &self.system,
            now_ms: 61_500,
        }
    }

    fn route(&self, request: &Request) -> ApiCall {
        route(request, LOCAL, &self.context())
    }

    fn answer(&self, request: &Request) -> Response {
        match self.route(request) {
            ApiCall::Answer(response) => response,
            other => panic!("{}: {other:?}", request.path),
        }
    }

    fn asked(&self, target: &str, shards: Vec<(u16, Result<ShardSnapshot, ()>)>) -> String {
        match self.route(&get(target)) {
            ApiCall::Snapshot(query) => text(&finish(&query, &self.context(), shards)),
            other => panic!("{target}: {other:?}"),
        }
    }
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

fn client(id: u64, kind: ClientKind) -> ClientSnapshot {
    ClientSnapshot {
        id: ClientId(id),
        vhost: DEFAULT_VHOST.into(),
        app: "live".into(),
        stream: "a".into(),
        ip: "127.0.0.1".into(),
        page_url: String::new(),
        swf_url: String::new(),
        tc_url: "rtmp://h/live".into(),
        kind,
        format: (!kind.is_publish()).then_some(RTMP),
        alive_ms: 1234,
        send_bytes: 10,
        recv_bytes: 20,
        send_kbps_30s: 1,
        recv_kbps_30s: 2,
        lag_ms: (!kind.is_publish()).then_some(40),
        queued_bytes: 5,
        drops: 6,
        jumps: 1,
    }
}

fn feed(viewers: u32, format: Format) -> FeedSnapshot {
    let mut lag = LagHistogram::default();
    lag.observe(40);
    lag.observe(400);
    let counters = FeedCounters { gaps: 1, dropped_units: 5, trimmed: 2, ..FeedCounters::default() };
    FeedSnapshot {
        vhost: DEFAULT_VHOST.into(),
        app: "live".into(),
        stream: "a".into(),
        format,
        viewers,
        send_bytes: 100,
        send_kbps_30s: 8,
        lag,
        drops: counters.drops(),
    }
}

/// Shard 1 owns live/a; both shards have viewers of it.
fn shards() -> Vec<(u16, Result<ShardSnapshot, ()>)> {
    let vhost = VhostSnapshot {
        name: DEFAULT_VHOST.into(),
        send_bytes: 300,
        recv_bytes: 50,
        send_kbps_30s: 3,
        recv_kbps_30s: 4,
    };
    let stream = StreamSnapshot {
        vhost: DEFAULT_VHOST.into(),
        app: "live".into(),
        name: "a".into(),
        publisher: Some(PublisherSnapshot { client: ClientId(20), tc_url: "rtmp://h/live".into() }),
        frames: 25,
        recv_bytes: 50,
        past_send_bytes: 1_000,
        recv_kbps_30s: 4,
        bitrate_kbps: 250,
        fps: 25.0,
        gop_ms: 2000,
        since_ms: 7000,
        codecs: "avc1.64001f,mp4a.40.2".into(),
        keyframe_age_ms: Some(100),
        video: Some(VideoInfo {
            codec: "H264",
            profile: "High",
            level: "3.1".to_owned(),
            width: 1280,
            height: 720,
        }),
        audio: Some(AudioInfo { codec: "AAC", sample_rate: 44100, channel: 2, profile: "LC" }),
    };
    let mut counters = ShardCounters {
        connections: 3,
        connections_total: 9,
        clients: 3,
        recv_bytes: 50,
        send_bytes: 300,
        ..Default::default()
    };
    counters.drops.add(DropReason::EdgeLagged);
    counters.closes.add(CloseReason::PeerClosed);
    counters.closes.add(CloseReason::SendTimeout);
    let zero = ShardSnapshot {
        shard: 0,
        vhosts: vec![vhost.clone()],
        feeds: vec![feed(3, RTMP)],
        clients: vec![client(22, ClientKind::Play), client(20, ClientKind::FmlePublish)],
        counters: counters.clone(),
        ..Default::default()
    };
    let one = ShardSnapshot {
        shard: 1,
        vhosts: vec![vhost],
        streams: vec![stream],
        feeds: vec![feed(1, RTMP), feed(2, Format::Rtmp { chunk_bytes: 4_096 }), feed(1, Format::Flv)],
        clients: vec![client(21, ClientKind::Play)],
        counters,
    };
    // Out of order: answers come as they come.
    vec![(1, Ok(one)), (0, Ok(zero))]
}

#[test]
fn a_stream_is_merged_over_shards() {
    let f = Fixture::new();
    let (vid, sid) =
        (vhost_id(DEFAULT_VHOST, IdStyle::Numeric), stream_id(DEFAULT_VHOST, "live", "a", IdStyle::Numeric));
    let stream = format!(
        "{{\"id\":\"{sid}\",\"name\":\"a\",\"vhost\":\"{vid}\",\"app\":\"live\",\"tcUrl\":\"rtmp://h/live\",\"url\":\"/live/a\",\
         \"live_ms\":61500,\"clients\":8,\"frames\":25,\"send_bytes\":1400,\"recv_bytes\":50,\
         \"kbps\":{{\"recv_30s\":4,\"send_30s\":32}},\"publish\":{{\"active\":true,\"cid\":\"20\"}},\
         \"video\":{{\"codec\":\"H264\",\"profile\":\"High\",\"level\":\"3.1\",\"width\":1280,\"height\":720}},\
         \"audio\":{{\"codec\":\"AAC\",\"sample_rate\":44100,\"channel\":2,\"profile\":\"LC\"}},\
         \"owner\":1,\"shards\":[{{\"shard\":0,\"viewers\":3}},{{\"shard\":1,\"viewers\":4}}],\
         \"bitrate_kbps\":250,\"fps\":25.00,\"gop_ms\":2000,\"keyframe_age_ms\":100}}"
    );
    let list = f.asked("/api/v1/streams/", shards());
    assert_eq!(list, format!("{{\"code\":0,\"server\":\"vid-7-3\",\"streams\":[{stream}],\"total\":1}}"));
    let one = f.asked(&format!("/api/v1/streams/{sid}"), shards());
    assert_eq!(one, format!("{{\"code\":0,\"server\":\"vid-7-3\",\"stream\":{stream}}}"));
}

#[test]
fn vhosts_add_up() {
    let f = Fixture::new();
    let vid = vhost_id(DEFAULT_VHOST, IdStyle::Numeric);
    let vhost = format!(
        "{{\"id\":\"{vid}\",\"name\":\"__defaultVhost__\",\"enabled\":true,\"clients\":8,\"streams\":1,\
         \"send_bytes\":600,\"recv_bytes\":100,\"kbps\":{{\"recv_30s\":8,\"send_30s\":6}},\
         \"hls\":{{\"enabled\":false}}}}"
    );
    let expected = format!("{{\"code\":0,\"server\":\"vid-7-3\",\"vhosts\":[{vhost}]}}");
    assert_eq!(f.asked("/api/v1/vhosts/", shards()), expected);
    let expected = format!("{{\"code\":0,\"server\":\"vid-7-3\",\"vhost\":{vhost}}}");
    assert_eq!(f.asked(&format!("/api/v1/vhosts/{vid}"), shards()), expected);
}

#[test]
fn clients_in_both_styles_of_ids() {
    let mut f = Fixture::new();
    let client = |style: IdStyle, id: u64, rest: &str| {
        format!(
            "{{\"id\":\"{}\",\"vhost\":\"{}\",\"stream\":\"{}\",\"ip\":\"127.0.0.1\",\"pageUrl\":\"\",\"swfUrl\":\"\",\
             \"tcUrl\":\"rtmp://h/live\",\"url\":\"/live/a\",\"name\":\"a\",{rest},\"queued_bytes\":5,\"drops\":6,\"jumps\":1}}",
            ClientId(id).to_text(style),
            vhost_id(DEFAULT_VHOST, style),
            stream_id(DEFAULT_VHOST, "live", "a", style),
        )
    };
    let middle =
        "\"alive\":1.23,\"send_bytes\":10,\"recv_bytes\":20,\"kbps\":{\"recv_30s\":2,\"send_30s\":1}";
    let publisher = format!(
        "\"type\":\"fmle-publish\",\"publish\":true,{middle},\"shard\":0,\"format\":null,\"lag_ms\":null"
    );
    let player = |shard| {
        format!(
            "\"type\":\"Play\",\"publish\":false,{middle},\"shard\":{shard},\"format\":\"rtmp\",\"lag_ms\":40"
        )
    };
    let n = IdStyle::Numeric;
    let expected = format!(
        "{{\"code\":0,\"server\":\"vid-7-3\",\"clients\":[{},{},{}],\"total\":3}}",
        client(n, 20, &publisher),
        client(n, 21, &player(1)),
        client(n, 22, &player(0)),
    );
    assert_eq!(f.asked("/api/v1/clients/", shards()), expected);
    f.id_style = IdStyle::String;
    let id = ClientId(21).to_text(f.id_style);
    let expected = format!(
        "{{\"code\":0,\"server\":\"vid-7-3\",\"service\":\"abcdefgh\",\"pid\":\"7\",\"client\":{}}}",
        client(f.id_style, 21, &player(1))
    );
    assert_eq!(f.asked(&format!("/api/v1/clients/{id}"), shards()), expected);
}

#[test]
fn what_is_missing_has_srs_s_codes_and_silent_shards_are_named() {
    let f = Fixture::new();
    assert_eq!(f.asked("/api/v1/vhosts/vid-1-1", shards()), r#"{"code":2014}"#);
    assert_eq!(f.asked("/api/v1/streams/vid-1-1", shards()), r#"{"code":2048}"#);
    assert_eq!(f.asked("/api/v1/clients/99", shards()), r#"{"code":2049}"#);
    assert_eq!(text(&f.answer(&get("/api/v1/clients/x"))), r#"{"code":2049}"#);
    let silent = vec![(3, Err(())), (2, Err(())), (0, Ok(ShardSnapshot::default()))];
    assert_eq!(f.asked("/api/v1/streams/vid-1-1", silent.clone()), r#"{"code":2048,"unanswered":[2,3]}"#);
    let list = r#"{"code":0,"server":"vid-7-3","clients":[],"total":0,"unanswered":[2,3]}"#;
    assert_eq!(f.asked("/api/v1/clients/", silent), list);
}

#[test]
fn lists_come_in_pages_of_ten_or_more() {
    let f = Fixture::new();
    let crowd = || {
        let clients = (0..35).map(|id| client(id, ClientKind::Play)).collect();
        let stream = |n: u32| StreamSnapshot { name: format!("s{n:02}"), ..Default::default() };
        let streams = (0..35).map(stream).collect();
        vec![(0, Ok(ShardSnapshot { clients, streams, ..Default::default() }))]
    };
    for kind in ["clients", "streams"] {
        for (query, names) in [
            ("", if kind == "clients" { 0..10 } else { 0..35 }),
            ("?count=", 0..10),
            ("?start=0", 0..10),
            ("?count=1", 0..10),
            ("?count=-5", 0..10),
            ("?start=30", 30..35),
            ("?start=5&count=20", 5..25),
            ("?start=+5x&count=%2020abc", 5..25),
            ("?start=99&count=20", 0..0),
            ("?start=18446744073709551615&count=18446744073709551615", 0..0),
        ] {
            let body = f.asked(&format!("/api/v1/{kind}/{query}"), crowd());
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            let found: Vec<&str> = json[kind]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| if kind == "clients" { &c["id"] } else { &c["name"] }.as_str().unwrap())
                .collect();
            let expected: Vec<String> =
                names.map(|n| if kind == "clients" { n.to_string() } else { format!("s{n:02}") }).collect();
            assert_eq!(found, expected, "{kind}{query}");
            assert_eq!(json["total"], 35);
        }
    }
}

#[test]
fn objects_are_made_for_the_page_alone() {
    let f = Fixture::new();
    let ApiCall::Snapshot(query) = f.route(&get("/api/v1/clients/?start=5&count=20")) else { panic!() };
    let mut made = Vec::new();
    let object = |n: u32| {
        made.push(n);
        Object::new().with("n", n)
    };
    let page = list(&query, &f.context(), "clients", (0..10_000).collect(), object);
    assert!(page.to_text().ends_with(r#"{"n":24}],"total":10000}"#));
    assert_eq!(made, (5..25).collect::<Vec<_>>());
}

#[test]
fn a_query_asks_for_no_more_than_it_needs() {
    let f = Fixture::new();
    for (target, streams, clients) in [
        ("/api/v1/summaries", false, WantedClients::None),
        ("/api/v1/vhosts/", true, WantedClients::None),
        ("/api/v1/streams/x", true, WantedClients::None),
        ("/api/v1/clients/", false, WantedClients::All),
        ("/api/v1/clients/12", false, WantedClients::One(ClientId(12))),
        ("/metrics", true, WantedClients::None),
    ] {
        let ApiCall::Snapshot(query) = f.route(&get(target)) else { panic!("{target}") };
        assert_eq!(query.wanted(), Wanted { streams, clients }, "{target}");
    }
}

#[test]
fn pages_about_the_server() {
    let f = Fixture::new();
    let body = |target: &str| text(&f.answer(&get(target)));
    let start = r#"{"code":0,"server":"vid-7-3","#;
    assert_eq!(body("/api/"), format!(r#"{start}"urls":{{"v1":"the api version 1.0"}}}}"#));
    let index = body("/api/v1/");
    assert!(
        index.starts_with(&format!(r#"{start}"urls":{{"versions":"the version of SRS","summaries":"#)),
        "{index}"
    );
    assert_eq!(body("/api/v1/versions/"), index);
    let version = r#""data":{"major":3,"minor":0,"revision":170,"version":"3.0.170","software":"srs-shard/"#;
    assert!(body("/api/v1/versions").starts_with(&format!("{start}{version}")));
    assert!(body("/api/v1/features").contains(r#""build":"","build2":"","features":{"ssl":false,"#));
    assert!(body("/api/v1/authors").contains(r#""license":"The MIT License (MIT)","#));
    assert_eq!(body("/api/v1/tests/errors"), r#"{"code":100}"#);
    let redirect = f.answer(&get("/api/v1/tests/redirects?a=b"));
    assert_eq!(
        (redirect.status, redirect.fields),
        (301, vec![("Location", "/api/v1/tests/errors?a=b".into())])
    );
    assert_eq!(
        body("/api/v1/rusages"),
        format!(
            "{start}\"data\":{{\"ok\":true,\"sample_time\":3000,\"ru_utime\":1,\"ru_stime\":0,\"ru_maxrss\":300,\
             \"ru_ixrss\":0,\"ru_idrss\":0,\"ru_isrss\":0,\"ru_minflt\":5,\"ru_majflt\":6,\"ru_nswap\":0,\"ru_inblock\":0,\
             \"ru_oublock\":0,\"ru_msgsnd\":0,\"ru_msgrcv\":0,\"ru_nsignals\":0,\"ru_nvcsw\":0,\"ru_nivcsw\":0}}}}"
        )
    );
    let own = body("/api/v1/self_proc_stats");
    let expected = r#""data":{"ok":true,"sample_time":3000,"percent":0.25,"pid":7,"comm":"srs-shard","state":"S","ppid":1,"#;
    assert!(own.starts_with(&format!("{start}{expected}")), "{own}");
    assert!(own.ends_with(r#""guest_time":0,"cguest_time":0}}"#), "{own}");
    assert_eq!(
        body("/api/v1/system_proc_stats"),
        format!(
            "{start}\"data\":{{\"ok\":true,\"sample_time\":3000,\"percent\":0.50,\"user\":150,\"nice\":0,\"sys\":0,\
             \"idle\":150,\"iowait\":0,\"irq\":0,\"softirq\":0,\"steal\":0,\"guest\":0}}}}"
        )
    );
    assert_eq!(
        body("/api/v1/meminfos"),
        format!(
            "{start}\"data\":{{\"ok\":true,\"sample_time\":3000,\"percent_ram\":0.75,\"percent_swap\":0.00,\
             \"MemActive\":750,\"RealInUse\":750,\"NotInUse\":250,\"MemTotal\":1000,\"MemFree\":250,\"Buffers\":0,\
             \"Cached\":0,\"SwapTotal\":0,\"SwapFree\":0}}}}"
        )
    );
    let headers = "Host: localhost:1\r\nCookie: s\r\nX-A: \"q\"\r\nx-a: r\r\n";
    let echo = f.answer(&request("POST /api/v1/tests/requests?callback=f&method=PUT", headers));
    assert_eq!(
        text(&echo),
        format!(
            "f({start}\"data\":{{\"uri\":\"http://localhost/api/v1/tests/requests\",\"path\":\"/api/v1/tests/requests\",\
             \"METHOD\":\"PUT\",\"headers\":{{\"sigature\":\"SRS\",\"version\":\"3.0.170\",\
             \"link\":\"https://github.com/ossrs/srs\",\"time\":61500}},\
             \"request_headers\":{{\"host\":\"localhost:1\",\"x-a\":\"\\\"q\\\", r\"}}}}}})"
        )
    );
}

#[test]
fn summaries_add_the_shards_to_the_machine() {
    let f = Fixture::new();
    assert_eq!(
        f.asked("/api/v1/summaries", shards()),
        "{\"code\":0,\"server\":\"vid-7-3\",\"data\":{\"ok\":true,\"now_ms\":61500,\
         \"self\":{\"version\":\"3.0.170\",\"pid\":7,\"ppid\":1,\"argv\":\"./srs-shard -c \\\"x\\\"\",\"cwd\":\"/srv\",\
         \"mem_kbyte\":300,\"mem_percent\":0.30,\"cpu_percent\":0.25,\"srs_uptime\":60,\"config_version\":4,\
         \"draining\":false,\"log_lines_dropped\":7},\
         \"system\":{\"cpu_percent\":0.50,\"disk_read_KBps\":0,\"disk_write_KBps\":0,\"disk_busy_percent\":0.00,\
         \"mem_ram_kbyte\":1000,\"mem_ram_percent\":0.75,\"mem_swap_kbyte\":0,\"mem_swap_percent\":0.00,\
         \"cpus\":0,\"cpus_online\":0,\"uptime\":9.50,\"ilde_time\":3.00,\"load_1m\":0.50,\"load_5m\":0.25,\"load_15m\":1.00,\
         \"net_sample_time\":3000,\"net_recv_bytes\":0,\"net_send_bytes\":0,\"net_recvi_bytes\":0,\"net_sendi_bytes\":0,\
         \"srs_sample_time\":61500,\"srs_recv_bytes\":100,\"srs_send_bytes\":600,\
         \"conn_sys\":0,\"conn_sys_et\":0,\"conn_sys_tw\":0,\"conn_sys_udp\":0,\"conn_srs\":6}}}"
    );
}

#[test]
fn wrong_verbs_and_paths() {
    let f = Fixture::new();
    for (line, status) in [
        ("GET /", 404),
        ("GET /api2", 404),
        ("POST /api/v1/streams/", 405),
        ("DELETE /api/v1/vhosts/x", 405),
        ("PUT /api/v1/clients/1", 405),
        ("POST /api/v1/clients/", 405),
        ("POST /console/", 405),
        ("TRACE /api/v1/versions", 405),
        ("BREW /metrics", 405),
        ("GET /console", 302),
        ("POST /api/v1/versions", 200),
        ("OPTIONS /api/v1/streams/", 200),
        ("GET /api/v1/versions?callback=f&method=BREW", 405),
    ] {
        assert_eq!(f.answer(&request(line, "Host: localhost\r\n")).status, status, "{line}");
    }
    let redirect = f.answer(&get("/api/v1/streams?start=1&x=%0d%0a"));
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.fields, [("Location", "/api/v1/streams/?start=1&x=%0d%0a".into())]);
    assert!(matches!(f.route(&request("HEAD /api/v1/streams/", "Host: h\r\n")), ApiCall::Snapshot(_)));
    let closed = ApiContext { crossdomain: false, ..f.context() };
    let answer = |line| match route(&request(line, "Host: h\r\n"), LOCAL, &closed) {
        ApiCall::Answer(response) => (response.status, text(&response)),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer("OPTIONS /api/v1/streams/").0, 405);
}

#[test]
fn jsonp_calls_a_name_and_nothing_else() {
    let f = Fixture::new();
    let response = f.answer(&get("/api/v1/tests/errors?callback=jQuery1_2.$cb"));
    assert_eq!(text(&response), r#"jQuery1_2.$cb({"code":100})"#);
    assert_eq!(response.content_type, "text/javascript");
    for bad in
        ["alert(1)//", "a..b", ".a", "a.", "1a", "a%20b", "%3Cscript%3E", "a;b", "\u{fc}", &"a".repeat(129)]
    {
        let bad: String =
            bad.chars().map(|c| if c == '\u{fc}' { "%C3%BC".into() } else { c.to_string() }).collect();
        assert_eq!(f.answer(&get(&format!("/api/v1/versions?callback={bad}"))).status, 400, "{bad}");
    }
    assert_eq!(f.answer(&get("/api/v1/versions?callback=")).content_type, "application/json");
    assert!(f.asked("/api/v1/streams/?callback=f", shards()).starts_with("f({\"code\":0"));
}

#[test]
fn only_who_sits_at_the_machine_may_kick() {
    let f = Fixture::new();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for (peer, headers, refused) in [
        ("127.0.0.1", "Host: localhost:1985\r\n", ""),
        ("127.0.0.9", "Host: 127.0.0.1\r\n", ""),
        ("::1", "Host: [::1]:1985\r\n", ""),
        ("::ffff:127.0.0.1", "Host: LOCALHOST\r\n", ""),
        ("10.0.0.1", "Host: localhost\r\n", "not_loopback"),
        ("::ffff:10.0.0.1", "Host: localhost\r\n", "not_loopback"),
        ("127.0.0.1", "Host: rebound.example\r\n", "not_loopback_host"),
        ("127.0.0.1", "Host: localhost.example\r\n", "not_loopback_host"),
        ("127.0.0.1", "Host: 127.0.0.1.example\r\n", "not_loopback_host"),
        ("127.0.0.1", "Host: 10.0.0.1\r\n", "not_loopback_host"),
        ("127.0.0.1", "Host: localhost\r\nOrigin: http://localhost\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\norigin: null\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nReferer: x\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nForwarded: for=1.2.3.4\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nX-Real-IP: 127.0.0.1\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", "page_or_proxy"),
        ("127.0.0.1", "Host: localhost\r\nVia: 1.1 proxy\r\n", "page_or_proxy"),
    ] {
        let deleting = request("DELETE /api/v1/clients/12", headers);
        let jsonp = request("GET /api/v1/clients/12?callback=f&method=DELETE", headers);
        let body = format!(r#"{{"code":403,"reason":"{refused}"}}"#);
        let bodies = [body.clone(), format!("f({body})")];
        for (request, body) in [deleting, jsonp].into_iter().zip(bodies) {
            match route(&request, ip(peer), &f.context()) {
                ApiCall::Kick(kick) => {
                    assert!(refused.is_empty() && kick.client == ClientId(12), "{peer} {headers}");
                }
                ApiCall::Refuse(why, response) => {
                    assert_eq!((response.status, text(&response)), (403, body), "{peer} {headers}");
                    assert_eq!(why.reason.as_str(), refused);
                }
                other => panic!("{peer} {headers}: {other:?}"),
            }
        }
        // Reading is for everyone, and `method` means nothing without a callback.
        let reading = request("GET /api/v1/clients/12?method=DELETE", headers);
        assert!(matches!(route(&reading, ip(peer), &f.context()), ApiCall::Snapshot(_)));
    }
}

#[test]
fn kicks_say_what_became_of_them() {
    let f = Fixture::new();
    let ApiCall::Kick(kick) = f.route(&request("DELETE /api/v1/clients/12", "Host: localhost\r\n")) else {
        panic!()
    };
    let said = |outcome| {
        let response = kicked(&kick, &f.context(), outcome);
        (response.status, text(&response))
    };
    assert_eq!(said(KickOutcome::Closed), (200, r#"{"code":0,"server":"vid-7-3"}"#.into()));
    assert_eq!(said(KickOutcome::Unknown), (200, r#"{"code":2049}"#.into()));
    assert_eq!(said(KickOutcome::Unanswered(4)), (503, r#"{"code":503,"unanswered":[4]}"#.into()));
    let missing = f.answer(&request("DELETE /api/v1/clients/", "Host: localhost\r\n"));
    assert_eq!(text(&missing), r#"{"code":2049}"#);
}

#[test]
fn metrics_line_by_line() {
    let f = Fixture::new();
    let mut all = shards();
    all.push((2, Err(())));
    let body = f.asked("/metrics", all);
    let lines: Vec<&str> = body.lines().collect();
    for expected in [
        "# TYPE srs_streams gauge",
        "srs_streams 1",
        "srs_clients 6",
        "srs_cpu_percent 25",
        "srs_memory 100",
        "srs_send_bytes_total 600",
        "srs_receive_bytes_total 100",
        "srs_clients_errs_total 2",
        "srs_node_uname_info{sysname=\"Linux\"} 1",
        "srs_shard_up{shard=\"1\"} 1",
        "srs_shard_up{shard=\"2\"} 0",
        "srs_shard_connections{shard=\"0\"} 3",
        "srs_shard_connections_total{shard=\"1\"} 9",
        "srs_shard_drops_total{shard=\"0\",reason=\"edge_lagged\"} 1",
        "srs_shard_drops_total{shard=\"0\",reason=\"queue_length\"} 0",
        "srs_shard_closes_total{shard=\"1\",reason=\"send_timeout\"} 1",
        "srs_stream_bitrate_bits{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",owner=\"1\"} 250000",
        "srs_stream_fps{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",owner=\"1\"} 25",
        "srs_stream_gop_seconds{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",owner=\"1\"} 2",
        "srs_stream_viewers{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"0\",format=\"rtmp\",chunk_size=\"60000\"} 3",
        "srs_stream_viewers{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"rtmp\",chunk_size=\"60000\"} 1",
        "srs_stream_viewers{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"rtmp\",chunk_size=\"4096\"} 2",
        "srs_stream_viewers{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\"} 1",
        "srs_stream_keyframe_age_seconds{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",owner=\"1\"} 0.1",
        "srs_stream_drops_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"0\",format=\"rtmp\",chunk_size=\"60000\",reason=\"queue_length\"} 5",
        "srs_stream_drops_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"0\",format=\"rtmp\",chunk_size=\"60000\",reason=\"feed_trimmed\"} 2",
        "srs_stream_drops_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"0\",format=\"rtmp\",chunk_size=\"60000\",reason=\"edge_lagged\"} 1",
        "srs_stream_drops_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\",reason=\"edge_lagged\"} 1",
        "srs_stream_send_bytes_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\"} 100",
        "# TYPE srs_stream_viewer_lag_seconds histogram",
        "srs_stream_viewer_lag_seconds_bucket{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\",le=\"0.04\"} 1",
        "srs_stream_viewer_lag_seconds_bucket{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\",le=\"0.7\"} 2",
        "srs_stream_viewer_lag_seconds_bucket{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\",le=\"+Inf\"} 2",
        "srs_stream_viewer_lag_seconds_sum{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\"} 0.44",
        "srs_stream_viewer_lag_seconds_count{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\",shard=\"1\",format=\"flv\"} 2",
    ] {
        assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected}\n{body}");
    }
    check_exposition(&lines);
}

/// What Prometheus's own checker would say: each family once with HELP and TYPE in front, its samples together and
/// each set of labels once, counters named as such, values that are numbers.
fn check_exposition(lines: &[&str]) {
    let mut families = std::collections::HashSet::new();
    let mut samples = std::collections::HashSet::new();
    let (mut family, mut kind) = ("", "");
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} twice");
            let (name, of) = lines[at + 1].strip_prefix("# TYPE ").unwrap().split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of;
            assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
            at += 1;
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            assert!(samples.insert(series), "{series} twice");
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
            assert!(
                suffix.is_empty() || (kind == "histogram" && ["_bucket", "_sum", "_count"].contains(&suffix))
            );
        }
        at += 1;
    }
    assert!(families.len() > 30 && samples.len() > 100);
}
