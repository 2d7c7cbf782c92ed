use super::*;
use crate::config::schema::{DEFAULT_VHOST, HttpRemux, Vhost};
use crate::config::units::MAX_LIST;
use crate::config::{ListenAddr, LiveFormat, MemoryLimit, OnDuplicate, Overrides, Source, TimeJitter};
use proptest::prelude::*;
use std::time::Duration;

const FULL: &str = include_str!("../../../conf/srs-shard.toml");

fn parse(source: &str) -> Config {
    Config::parse("x.toml", source).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(source: &str) -> Vec<String> {
    let errors = Config::parse("x.toml", source).expect_err("the file is wrong");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// Paths of all keys and tables that a document has; the default vhost goes as `NAME`.
fn paths(prefix: &str, table: &DeTable<'_>, into: &mut Vec<String>) {
    for (key, value) in table.iter() {
        let name = key.get_ref().replace(DEFAULT_VHOST, ANY_NAME);
        let path = join(prefix, &name);
        if let Some(inner) = value.get_ref().as_table() {
            paths(&path, inner, into);
        }
        into.push(path);
    }
}

#[test]
fn the_full_file_has_every_key_at_its_default() {
    let document = DeTable::parse(FULL).expect("TOML");
    let mut written = Vec::new();
    paths("", document.get_ref(), &mut written);
    written.retain(|path| path != "vhost.NAME");
    let mut keys: Vec<String> = schema_keys().iter().map(|key| key.path.clone()).collect();
    written.sort();
    keys.sort();
    assert_eq!(written, keys);
    assert!(keys.len() > 50, "{} keys", keys.len());

    let vhosts = [(DEFAULT_VHOST.to_owned(), Vhost::default())].into();
    assert_eq!(parse(FULL), Config { vhosts, ..Config::default() });
}

#[test]
fn every_key_of_the_full_file_has_a_comment_that_says_when_it_takes_effect() {
    let mut comment = String::new();
    let mut table = String::new();
    for line in FULL.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').replace(DEFAULT_VHOST, ANY_NAME);
        } else if let Some((name, _)) = line.split_once(" = ") {
            let path = join(&table, name);
            let key = schema_keys().iter().find(|key| key.path == path).expect("a key of the schema");
            let reload = key.reload.expect("a key, not a table").as_str();
            assert!(comment.contains(&format!("Reload: {reload}.")), "{path}: {reload}, but {comment}");
        }
        comment.clear();
    }
}

#[test]
fn each_file_in_conf_is_good_and_raises_no_warning() {
    let mut files = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/conf")).expect("conf/") {
        let path = entry.expect("conf/").path();
        let source = Source::file(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let config = source.config(&Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.warnings(), Vec::<String>::new(), "{}", path.display());
        files += 1;
    }
    assert!(files >= 4);
}

#[test]
fn the_demo_has_everything_on() {
    let demo = Source::demo().config(&Overrides::default());
    let demo = demo.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(demo.demo && demo.http_api.enabled && demo.http_server.enabled);
    let vhost = &demo.vhosts[DEFAULT_VHOST];
    assert!(vhost.http_remux.enabled);
    let formats: Vec<LiveFormat> = vhost.http_remux.mount.iter().map(|m| m.format).collect();
    assert_eq!(formats, LiveFormat::ALL);
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("# nothing\n"), Config::default());
}

#[test]
fn values_arrive_where_they_belong() {
    let config = parse(
        r#"
        listen = ["127.0.0.1:1935", 19350]
        max_connections = 5000
        chunk_size = 4096
        cores = 8
        pin = "off"
        feed_memory = "2GiB"
        http_api = { enabled = "on", string_ids = true }
        [vhost."a.example"]
        min_latency = true
        [vhost."a.example".play]
        queue_length = 10
        mw_latency = 350
        send_min_interval = 10.5
        time_jitter = "zero"
        [vhost."a.example".publish]
        normal_timeout = 7000
        on_duplicate = "takeover"
        [vhost.b.http_remux]
        mount = "/[app]/[stream].ts"
        "#,
    );
    let local = ListenAddr::Addr(([127, 0, 0, 1], 1935).into());
    assert_eq!(config.listen, [local, ListenAddr::Port(19350)]);
    assert_eq!((config.max_connections, config.chunk_size), (Some(5000), 4096));
    assert_eq!((config.cores, config.pin), (Some(8), false));
    assert_eq!(config.feed_memory, MemoryLimit::Bytes(2 << 30));
    assert!(config.http_api.enabled && config.http_api.string_ids);
    let a = &config.vhosts["a.example"];
    assert!(a.min_latency);
    assert_eq!(a.play.queue_length, Duration::from_secs(10));
    assert_eq!(a.play.mw_latency, Some(Duration::from_millis(350)));
    assert_eq!(a.play.send_min_interval, Duration::from_micros(10_500));
    assert_eq!(a.play.time_jitter, TimeJitter::Zero);
    assert_eq!(a.publish.normal_timeout, Duration::from_secs(7));
    assert_eq!(a.publish.on_duplicate, OnDuplicate::Takeover);
    assert_eq!(config.vhosts["b"].http_remux.mount[0].format, LiveFormat::Ts);
    assert_eq!(config.vhosts.resolve("c"), None);
}

#[test]
fn a_typing_error_names_the_nearest_key() {
    assert_eq!(
        errors("listen = 1935\n\n[vhost.__defaultVhost__.play]\n  gop_cahce = true\n"),
        ["x.toml:4:3: vhost.__defaultVhost__.play.gop_cahce: no such key; \
             did you mean \"gop_cache\"?"]
    );
    assert_eq!(
        errors("[http_apy]\nenabled = true"),
        ["x.toml:1:2: http_apy: no such key; did you mean \"http_api\"?"]
    );
    assert_eq!(
        errors("[http_api]\nzzz = 1"),
        ["x.toml:2:1: http_api.zzz: no such key; \
             allowed here: enabled, listen, crossdomain, string_ids, raw_api, auth"]
    );
}

#[test]
fn a_key_in_the_wrong_table_is_told_its_place() {
    assert_eq!(
        errors("[vhost.\"a.example\"]\ngop_cache = true"),
        ["x.toml:2:1: vhost.\"a.example\".gop_cache: no such key here; \
             it belongs in [vhost.NAME.play]"]
    );
    assert_eq!(
        errors("[http_api]\nenabled = true\nmax_connections = 1"),
        ["x.toml:3:1: http_api.max_connections: no such key here; \
             it belongs at the top level, before the first [table]"]
    );
}

#[test]
fn a_directive_of_srs_that_is_not_here_is_called_that() {
    assert_eq!(
        errors("asprocess = false"),
        ["x.toml:1:1: asprocess: no such key: an SRS directive that this version does not act on; \
             remove it"]
    );
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let source = r#"chunk_size = 70000
listn = 1935
listen = ["127.0.0.1", 1935, true]
http_server = 8080
[http_api]
enabled = "yes"
[vhost."a b"]
[vhost.x.play]
queue_length = "ten"
mw_latency = "1 day"
[vhost.x.http_remux]
mount = "[vhost]/[app]/[stream].m3u8"
"#;
    let listen = "1935, \"127.0.0.1:1935\" or \"[::1]:1935\" (a port alone: every address, IPv4 and \
                  IPv6); or a list of 1 to 64 of them";
    let times = "\"500us\", \"350ms\", \"10s\", \"1m\", \"1h\"";
    assert_eq!(
        errors(source),
        [
            "x.toml:1:14: chunk_size: found 70000; allowed: an integer from 128 to 65536".to_owned(),
            "x.toml:2:1: listn: no such key; did you mean \"listen\"?".to_owned(),
            format!("x.toml:3:11: listen: found \"127.0.0.1\"; allowed: {listen}"),
            format!("x.toml:3:30: listen: found true; allowed: {listen}"),
            "x.toml:4:15: http_server: found 8080; allowed: a table, [http_server]".to_owned(),
            "x.toml:6:11: http_api.enabled: found \"yes\"; allowed: true, false, \"on\" or \"off\""
                .to_owned(),
            "x.toml:7:8: vhost.\"a b\": found \"a b\"; \
             allowed: a name of 1 to 255 printable bytes without '/' or '?'"
                .to_owned(),
            format!(
                "x.toml:9:16: vhost.x.play.queue_length: found \"ten\"; \
                 allowed: a duration from 1s to 10m: {times}, or a number of seconds"
            ),
            format!(
                "x.toml:10:14: vhost.x.play.mw_latency: found \"1 day\"; \
                 allowed: \"auto\", or a duration from 0 to 10s: {times}, or a number of milliseconds"
            ),
            "x.toml:12:9: vhost.x.http_remux.mount: found \"[vhost]/[app]/[stream].m3u8\": \
             does not end in .flv, .ts, .aac, .mp3 or .live.mp4"
                .to_owned(),
        ]
    );
    assert_eq!(MAX_LIST, 64, "the texts above say so");
}

#[test]
fn tables_and_values_are_not_taken_for_each_other() {
    assert_eq!(errors("vhost = 1"), ["x.toml:1:9: vhost: found 1; allowed: tables, [vhost.\"name\"]"]);
    assert_eq!(
        errors("[vhost]\nenabled = true"),
        ["x.toml:2:11: vhost.enabled: found true; allowed: tables, [vhost.\"name\"]"]
    );
    assert_eq!(
        errors("[chunk_size]\nx = 1"),
        ["x.toml:1:1: chunk_size: found a table; allowed: an integer from 128 to 65536"]
    );
}

#[test]
fn what_is_not_toml_is_reported_with_its_place() {
    let found = errors("listen = 1935\nchunk_size 60000\n[http_api\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("x.toml:2:"), "{found:?}");
    assert!(found.iter().all(|line| line.contains("not valid TOML: ")), "{found:?}");
    let found = errors("listen = 1935\nlisten = 1936\n");
    assert_eq!(found, ["x.toml:2:1: not valid TOML: duplicate key"]);
}

#[test]
fn columns_count_characters() {
    let found = errors("\"größe\" = 1\n\"é\" = 1 # x\nhttp_api = { \"ü\" = 1, listen = true }");
    let places: Vec<&str> = found.iter().map(|l| l.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["x.toml:1:1", "x.toml:2:1", "x.toml:3:14", "x.toml:3:32"]);
}

#[test]
fn the_same_address_twice_is_an_error() {
    assert_eq!(
        errors("listen = 8080\n[http_server]\nenabled = true\nlisten = [\"127.0.0.1:1\", \"[::]:8080\"]"),
        ["x.toml:4:10: http_server.listen: [::]:8080 is taken by listen"]
    );
    assert_eq!(
        errors("listen = [1935, \"0.0.0.0:1935\"]"),
        ["x.toml:1:10: listen: 0.0.0.0:1935 is in this list twice"]
    );
    // API and media may share a port, but neither may with RTMP.
    let shared = "[http_server]\nenabled = true\nlisten = 80\n[http_api]\nenabled = true\nlisten = 80\n";
    assert!(parse(shared).shares_http_port());
    assert!(!parse(&shared.replacen("80", "81", 1)).shares_http_port());
    assert_eq!(
        errors(&format!("listen = 80\n{shared}")),
        [
            "x.toml:4:10: http_server.listen: 0.0.0.0:80 is taken by listen",
            "x.toml:7:10: http_api.listen: 0.0.0.0:80 is taken by listen",
        ]
    );
    // The other side of the clash is a default: the fault stands where the file has something.
    assert_eq!(
        errors("listen = 1985\nhttp_api.enabled = true"),
        ["x.toml:1:10: listen: http_api.listen: 0.0.0.0:1985 is taken by listen"]
    );
    // A bad value is one fault; the default in its place is none. Other faults hide nothing.
    assert_eq!(errors("listen = 0.5\n[http_api]\nenabled = true\nlisten = 1935").len(), 1);
    assert_eq!(errors("pin = 7\nlisten = [1, 1]\nx = 1").len(), 3);
    parse("listen = 8080\n[http_server]\nenabled = false\nlisten = 8080");
    parse("listen = [0, 0]");
    parse("listen = [\"127.0.0.1:1935\", \"127.0.0.2:1935\"]");
}

#[test]
fn two_vhosts_whose_names_differ_in_case_are_an_error() {
    assert_eq!(
        errors("[vhost.a]\naliases = [\"b\", \"X\"]\n[vhost.B]\naliases = \"x\"\n"),
        [
            "x.toml:2:11: vhost.a.aliases: \"b\" is taken by vhost B",
            "x.toml:2:11: vhost.a.aliases: \"X\" is taken by vhost B",
        ]
    );
    assert_eq!(
        errors("[vhost.\"Cam.example\"]\n[vhost.\"cam.example\".play]\n"),
        ["x.toml:2:8: vhost.\"cam.example\": vhost Cam.example is the same: names of hosts have no case"]
    );
}

#[test]
fn two_mounts_in_one_place_are_an_error() {
    let flv = "mount = \"/[app]/[stream].flv\"\nenabled = true\n";
    assert_eq!(
        errors(&format!("[vhost.a.http_remux]\n{flv}[vhost.b.http_remux]\n{flv}")),
        ["x.toml:5:9: vhost.b.http_remux.mount: \"/[app]/[stream].flv\" is taken by vhost a"]
    );
    // [vhost] of the default vhost is any host.
    let any = format!("[vhost.__defaultVhost__.http_remux]\nenabled = true\n[vhost.a.http_remux]\n{flv}");
    assert_eq!(
        errors(&any),
        ["x.toml:4:9: vhost.a.http_remux.mount: \"/[app]/[stream].flv\" is taken by vhost \
             __defaultVhost__"]
    );
    let twice = "mount = [\"[vhost]/l/[stream].ts\", \"[vhost]/l/[stream].ts\"]";
    assert_eq!(
        errors(&format!("[vhost.a.http_remux]\nenabled = true\n{twice}")),
        ["x.toml:3:9: vhost.a.http_remux.mount: \"[vhost]/l/[stream].ts\" is in this list twice"]
    );
    let two_hosts = "[vhost.a.http_remux]\nenabled = true\n[vhost.b.http_remux]\nenabled = true";
    assert_eq!(parse(two_hosts).vhosts["a"].http_remux.mount, HttpRemux::default().mount);
}

#[test]
fn what_is_wrong_with_a_mount_is_said_where_it_stands() {
    let list = "[vhost.x.http_remux]\nmount = [\"/[app]/[stream].ts\", \"/[app].flv\", \"/[stream].ts\", 5]";
    assert_eq!(
        errors(list),
        [
            "x.toml:2:32: vhost.x.http_remux.mount: found \"/[app].flv\": [stream] must be there exactly \
             once, and in its last part",
            "x.toml:2:46: vhost.x.http_remux.mount: found \"/[stream].ts\": without [app] it needs a \
             folder, which is then the app",
            "x.toml:2:62: vhost.x.http_remux.mount: found 5; allowed: a template like \
             \"[vhost]/[app]/[stream].flv\"; or a list of 1 to 64 of them",
        ]
    );
}

#[test]
fn one_stream_may_not_hold_more_than_all_of_them() {
    assert_eq!(
        errors("feed_memory = \"16MiB\"\n[vhost.\"a.b\"]\n"),
        ["x.toml:1:15: feed_memory: vhost.\"a.b\".play.feed_max_bytes: 32MiB for one stream is more \
             than feed_memory (16MiB) has for all"]
    );
    parse("feed_memory = \"16MiB\"\n[vhost.\"a.b\".play]\nfeed_max_bytes = \"16MiB\"");
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let warnings = |source| parse(source).warnings().join("\n");
    assert_eq!(
        warnings("listen = 1935"),
        "no vhost is enabled: every client is refused; add [vhost.__defaultVhost__]"
    );
    assert_eq!(
        warnings("[vhost.\"a.b\".http_remux]\nenabled = true"),
        "vhost.\"a.b\".http_remux: nothing is served while http_server is off"
    );
    assert_eq!(
        warnings(
            "[vhost.a]\nhttp_remux.enabled = true\n[vhost.b]\nhttp_remux.enabled = true\n\
             [vhost.c]\nhttp_remux.enabled = true"
        ),
        "vhost.a.http_remux (and of 2 more): nothing is served while http_server is off"
    );
    assert_eq!(
        warnings("demo = true\n[vhost.a]"),
        "demo needs an enabled [vhost.__defaultVhost__]: there is no demo stream"
    );
    assert_eq!(warnings("[vhost.a]"), "");
}

#[test]
fn what_nobody_could_show_is_not_asked_for() {
    let auth = |lines: &str| errors(&format!("[vhost.a.auth]\nenabled = true\n{lines}"));
    assert_eq!(
        auth("publish = [\"key\", \"token\"]\nplay = \"sign\"\nkey.play = \"12345678\""),
        [
            "x.toml:3:11: vhost.a.auth.publish: \"key\" opens nothing: auth.key.publish is empty",
            "x.toml:3:11: vhost.a.auth.publish: \"token\" opens nothing: auth.token.key_files and \
             token.secret_files and token.jwks_url are empty",
            "x.toml:4:8: vhost.a.auth.play: \"sign\" opens nothing: auth.sign.secrets is empty",
        ]
    );
    assert_eq!(
        auth("token.param = \"key\""),
        ["x.toml:3:15: vhost.a.auth.token.param: \"key\" is auth.key.param already"]
    );
    assert!(auth("key.param = \"vhost\"")[0].contains("found \"vhost\"; allowed: a name of 1 to 32"));
    for url in ["http://id.example/keys", "ftp://localhost/", "https://", "http://10.0.0.1/", "keys.json"] {
        let found = auth(&format!("token.jwks_url = \"{url}\""));
        assert!(found[0].contains("allowed: an https URL, or http on this machine"), "{found:?}");
    }
    for url in
        ["", "https://id.example/keys?a=b", "http://127.1.2.3:80/", "http://[::1]/", "http://localhost/k"]
    {
        parse(&format!("[vhost.a.auth.token]\njwks_url = \"{url}\""));
    }
    parse("[vhost.a.auth]\npublish = \"key\"");

    let api = |lines: &str| errors(&format!("[http_api.auth]\n{lines}"));
    assert_eq!(
        api("enabled = true"),
        [
            "x.toml:2:11: http_api.auth.enabled: nobody could pass: there is neither a username with its password \
             nor a token"
        ]
    );
    let together = "username and password go together";
    assert_eq!(api("username = \"a\""), [format!("x.toml:2:12: http_api.auth.username: {together}")]);
    assert_eq!(
        api("password = \"a\""),
        [format!("x.toml:2:12: http_api.auth.password: http_api.auth.username: {together}")]
    );
    parse("http_api.auth = { enabled = true, tokens = \"0123456789abcdef\" }");
}

#[test]
fn keys_that_open_nothing_are_a_warning() {
    let warnings = |lines: &str| parse(&format!("[vhost.a.auth]\n{lines}")).warnings().join("\n");
    let key = "key.publish = \"12345678\"\n";
    let said = "vhost.a.auth.key.publish: it opens nothing: ";
    assert_eq!(warnings(&format!("{key}publish = \"key\"")), format!("{said}auth is off"));
    assert_eq!(
        warnings(&format!("{key}enabled = true")),
        format!("{said}auth.publish and auth.play do not ask for it")
    );
    assert_eq!(warnings(&format!("{key}publish = \"key\"\nenabled = true")), "");
    let signed = "enabled = true\nsign.secrets = \"0123456789abcdef\"\n";
    assert!(warnings(signed).starts_with("vhost.a.auth.sign: it opens nothing"));
    assert_eq!(warnings(&format!("{signed}play = \"sign\"")), "");
}

#[test]
fn a_secret_is_shown_neither_in_force_nor_in_a_fault() {
    let file = "[http_api.auth]\nusername = \"admin\"\npassword = \"s3cret\"\ntokens = [\"0123456789s3cret\"]\n\
                [vhost.a.auth]\nkey.publish = [\"live/a=0123-s3cret\", \"4567-s3cret\"]\nkey.play = []\n\
                sign.secrets = \"89abcdef-s3cret-s3cret\"\n";
    let config = parse(file);
    assert!(config.http_api.auth.password.is("s3cret") && !format!("{config:?}").contains("s3cret"));
    let in_force = Source::new("x.toml", file).in_force(&Overrides::default()).expect("good");
    assert!(!in_force.contains("s3cret"), "{in_force}");
    for line in [
        "password = \"***\"",
        "tokens = [\"***\"]",
        "publish = [\"live/a=***\", \"***\"]",
        "play = []",
        "secrets = [\"***\"]",
    ] {
        assert!(in_force.lines().any(|shown| shown.starts_with(line)), "{line}:\n{in_force}");
    }
    // What is shown is no secret: who starts with it is told.
    let again = Config::parse("y.toml", &in_force).expect_err("no secrets").to_string();
    assert_eq!(again.lines().filter(|line| line.contains(": found ***; allowed: ")).count(), 5, "{again}");

    for bad in [
        "http_api.auth.password = \"s3cret with blanks\"",
        "http_api.auth.tokens = [\"s3cret\"]",
        "http_api.auth.tokens = { s3cret = 1 }",
        "vhost.a.auth.key.play = [\"s3cret\", 7]",
        "vhost.a.auth.sign.secrets = \"s3cret\"",
    ] {
        let found = errors(bad).join("\n");
        assert!(found.contains(": found ***; allowed: ") && !found.contains("s3cret"), "{found}");
    }
    let variables = [("SRS_HTTP_API_AUTH_TOKENS", "s3cret"), ("SRS_VHOST_AUTH_KEY_PLAY", "s3cret")];
    let overrides =
        Overrides::of_environment(variables.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let found = Source::new("x.toml", "[vhost.a]").config(&overrides).expect_err("too short").to_string();
    assert!(found.contains("SRS_HTTP_API_AUTH_TOKENS: http_api.auth.tokens: found ***"), "{found}");
    assert_eq!((found.lines().count(), found.contains("s3cret")), (2, false), "{found}");
}

#[test]
fn vhosts_share_what_vhost_defaults_says() {
    let config = parse(
        r#"
        [vhost_defaults]
        tcp_nodelay = true
        [vhost_defaults.play]
        queue_length = 10
        gop_cache = false
        [vhost_defaults.http_remux]
        mount = ["/[app]/[stream].flv", "/[app]/[stream].ts"]
        [vhost.a]
        [vhost.b]
        tcp_nodelay = false
        play.queue_length = 20
        http_remux.mount = "[vhost]/[app]/[stream].flv"
        "#,
    );
    let (a, b) = (&config.vhosts["a"], &config.vhosts["b"]);
    assert_eq!((a.tcp_nodelay, b.tcp_nodelay), (true, false));
    assert_eq!((a.play.queue_length.as_secs(), b.play.queue_length.as_secs()), (10, 20));
    assert_eq!((a.play.gop_cache, b.play.gop_cache), (false, false));
    assert_eq!((a.http_remux.mount.len(), b.http_remux.mount.len()), (2, 1), "a list is one value");
    assert_eq!(config.vhosts["a"], config.vhost_defaults);
}

#[test]
fn a_fault_in_vhost_defaults_is_told_once_and_where_it_stands() {
    let table = "[vhost_defaults.play]\nqueue_length = \"x\"\nmw_latncy = 1\n[vhost.a]\n[vhost.b]\n";
    let found = errors(table);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("x.toml:2:16: vhost_defaults.play.queue_length: found \"x\""), "{found:?}");
    assert!(found[1].contains("did you mean \"mw_latency\"?"), "{found:?}");
    // A rule between keys speaks of the vhost, and shows the place in the shared table.
    let found =
        errors("feed_memory = \"1MiB\"\n[vhost_defaults]\nplay.feed_max_bytes = \"2MiB\"\n[vhost.a]\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("x.toml:3:23: vhost.a.play.feed_max_bytes: 2MiB"), "{found:?}");
}

proptest! {
    #[test]
    fn no_cut_of_a_good_file_makes_the_reader_panic(end in 0..FULL.len()) {
        if let Some(cut) = FULL.get(..end) {
            let _ = Config::parse("x.toml", cut).map_err(|errors| errors.to_string());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(key in "[a-z_.\"é]{1,12}", value in "\\PC{0,20}") {
        let source = format!("listen = 1935\n{key} = {value}\n[vhost.{key}]\n{key} = 1");
        let _ = Config::parse("x.toml", &source).map_err(|errors| errors.to_string());
    }

    #[test]
    fn one_wrong_letter_in_a_long_key_is_recognised(at in 0..14usize, letter in "[a-z]") {
        let mut key = "feed_max_bytes".to_owned();
        key.replace_range(at..=at, &letter);
        prop_assume!(key != "feed_max_bytes");
        let found = errors(&format!("vhost.a.play.{key} = 1"));
        prop_assert!(found[0].ends_with("did you mean \"feed_max_bytes\"?"), "{found:?}");
    }
}
