//! Reading a file against the schema.
//!
//! serde stops at the first fault and forgets where values stood, so the schema reads the parsed document
//! itself: a `Reader` is one table of it, hands out its keys, notes what is wrong and goes on with the
//! default. What nobody asked for is unknown. An empty document gives the defaults, and asking through it
//! gives the list of all keys.

use super::check::{self, ConfigError, ConfigErrors, Position, Problem, hint, key_text};
use super::schema::Config;
use super::units::{Bad, Unit};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A longer file is refused: it is not a configuration.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// The configuration that runs without a file.
const DEMO: &str = include_str!("../../conf/demo.toml");

/// Stands for a vhost's name in the list of all keys.
const ANY_NAME: &str = "NAME";

impl Config {
    /// Reads and checks a file; all that is wrong comes back at once.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let unreadable = |why: String| ConfigErrors {
            file: file.clone(),
            errors: vec![ConfigError {
                position: None,
                key: String::new(),
                problem: Problem::Unreadable(why),
            }],
        };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|open| open.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(format!("longer than {MAX_FILE_BYTES} bytes")));
        }
        let source = String::from_utf8(bytes)
            .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
        Self::parse(&file, &source)
    }

    /// Reads and checks a file's text; `file` is the name used in errors.
    pub fn parse(file: &str, source: &str) -> Result<Self, ConfigErrors> {
        let (document, syntax) = DeTable::parse_recoverable(source);
        let mut notes = Notes::new(source);
        for error in &syntax {
            notes.fault(error.span(), String::new(), Problem::Syntax(error.message().trim().to_owned()));
        }
        let mut config = Self::default();
        // What was saved of a broken document would only yield faults that are none.
        if syntax.is_empty() {
            config = read_table(String::new(), Some(document.get_ref()), &mut notes);
            check::rules(&config, &mut notes);
        }
        if notes.faults.is_empty() {
            return Ok(config);
        }
        let mut errors = notes.faults;
        errors.sort_by_key(|error| error.position);
        Err(ConfigErrors { file: file.to_owned(), errors })
    }

    /// What runs without a file: the built-in `conf/demo.toml`.
    pub fn demo() -> Result<Self, ConfigErrors> {
        Self::parse("conf/demo.toml (built in)", DEMO)
    }
}

/// A table of the schema.
pub(super) trait Section {
    /// Reads it, asking for each of its keys once.
    fn read(reader: &mut Reader<'_, '_>) -> Self;
}

/// One table of the document, absent or not, while it is read.
pub(super) struct Reader<'n, 'd> {
    path: String,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
    notes: &'n mut Notes<'d>,
}

impl<'d> Reader<'_, 'd> {
    /// The value of a key, else its default; a bad value is noted.
    pub(super) fn key<U: Unit>(&mut self, name: &'static str, unit: U, default: U::Value) -> U::Value {
        let path = self.ask(name);
        let Some(value) = self.table.and_then(|table| table.get(name)) else {
            return default;
        };
        self.notes.places.insert(path.clone(), value.span());
        let mut bad = Vec::new();
        let parsed = unit.read(value, &mut bad);
        for Bad { span, fault } in bad {
            match fault {
                Some(fault) => self.notes.bad_text(span, path.clone(), fault),
                None => self.notes.bad_value(span, path.clone(), Some(value.get_ref()), unit.allowed()),
            }
        }
        parsed.unwrap_or(default)
    }

    /// A table within this one.
    pub(super) fn section<S: Section>(&mut self, name: &'static str) -> S {
        let path = self.ask(name);
        let table = self.sub_table(name, &path, &format!("a table, [{path}]"));
        read_table(path, table, self.notes)
    }

    /// A table of tables with names of the user's choice, which `good` judges and `allowed` explains.
    pub(super) fn named_sections<S: Section>(
        &mut self,
        name: &'static str,
        allowed: &str,
        good: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, S> {
        let path = self.ask(name);
        let shape = format!("tables, [{path}.\"name\"]");
        let mut sections = BTreeMap::new();
        for (key, value) in self.sub_table(name, &path, &shape).into_iter().flat_map(DeTable::iter) {
            let section_name = key.get_ref().as_ref();
            let section_path = format!("{path}.{}", key_text(section_name));
            if !good(section_name) {
                self.notes.bad_value(key.span(), section_path, None, allowed.to_owned());
                continue;
            }
            match value.get_ref().as_table() {
                Some(table) => {
                    self.notes.places.insert(section_path.clone(), key.span());
                    let section = read_table(section_path, Some(table), self.notes);
                    sections.insert(section_name.to_owned(), section);
                }
                None => {
                    self.notes.bad_value(value.span(), section_path, Some(value.get_ref()), shape.clone())
                }
            }
        }
        if self.notes.listing {
            let _: S = read_table(format!("{path}.{ANY_NAME}"), None, self.notes);
        }
        sections
    }

    fn sub_table(&mut self, name: &str, path: &str, allowed: &str) -> Option<&'d DeTable<'d>> {
        let value = self.table?.get(name)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            let found = Some(value.get_ref());
            self.notes.bad_value(value.span(), path.to_owned(), found, allowed.to_owned());
        }
        table
    }

    /// Notes that the schema has a key, and gives the key's path.
    fn ask(&mut self, name: &'static str) -> String {
        self.known.push(name);
        let path = join(&self.path, name);
        if self.notes.listing {
            self.notes.keys.push(path.clone());
        }
        path
    }
}

/// What is found out while a document is read.
pub(super) struct Notes<'d> {
    source: &'d str,
    /// Whether [`Notes::keys`] is wanted.
    listing: bool,
    keys: Vec<String>,
    places: BTreeMap<String, Range<usize>>,
    faults: Vec<ConfigError>,
}

impl<'d> Notes<'d> {
    fn new(source: &'d str) -> Self {
        Self { source, listing: false, keys: Vec::new(), places: BTreeMap::new(), faults: Vec::new() }
    }

    /// A fault between keys, placed at the first of `paths` that the file has. It is none if one of them
    /// has a bad value, in whose place the default stands.
    pub(super) fn conflict(&mut self, paths: &[&str], text: String) {
        let bad = |e: &ConfigError| {
            matches!(e.problem, Problem::Value { .. } | Problem::Text { .. }) && paths.contains(&&*e.key)
        };
        if self.faults.iter().any(bad) {
            return;
        }
        let found = paths.iter().find_map(|path| Some((*path, self.places.get(*path)?.clone())));
        let (path, span) = match found {
            Some((path, span)) => (path, Some(span)),
            None => (paths.first().copied().unwrap_or_default(), None),
        };
        // The rule speaks of its first key; say so when the fault stands at another.
        let text = match paths.first() {
            Some(first) if *first != path => format!("{first}: {text}"),
            _ => text,
        };
        self.fault(span, path.to_owned(), Problem::Conflict(text));
    }

    fn bad_value(&mut self, span: Range<usize>, key: String, value: Option<&DeValue<'_>>, allowed: String) {
        let found = match value {
            Some(DeValue::Table(_)) => "a table".to_owned(),
            _ => shorten(self.source.get(span.clone()).unwrap_or_default()),
        };
        self.fault(Some(span), key, Problem::Value { found, allowed });
    }

    fn bad_text(&mut self, span: Range<usize>, key: String, fault: String) {
        let found = shorten(self.source.get(span.clone()).unwrap_or_default());
        self.fault(Some(span), key, Problem::Text { found, fault });
    }

    fn fault(&mut self, span: Option<Range<usize>>, key: String, problem: Problem) {
        let position: Option<Position> = span.map(|span| check::position(self.source, &span));
        self.faults.push(ConfigError { position, key, problem });
    }
}

/// A table with no key set: the defaults.
pub(super) fn read_empty<S: Section>() -> S {
    read_table(String::new(), None, &mut Notes::new(""))
}

/// The paths of all keys and tables of the schema; a vhost's name is `NAME`.
pub(super) fn schema_keys() -> &'static [String] {
    static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut notes = Notes { listing: true, ..Notes::new("") };
        let _: Config = read_table(String::new(), None, &mut notes);
        notes.keys
    });
    &KEYS
}

fn read_table<'d, S: Section>(path: String, table: Option<&'d DeTable<'d>>, notes: &mut Notes<'d>) -> S {
    let mut reader = Reader { path, table, known: Vec::new(), notes };
    let section = S::read(&mut reader);
    let Reader { path, known, notes, .. } = reader;
    for key in table.into_iter().flat_map(DeTable::keys) {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            let problem = Problem::UnknownKey(hint(name, &known));
            notes.fault(Some(Spanned::span(key)), join(&path, &key_text(name)), problem);
        }
    }
    section
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as a message quotes it: one line, not too long.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut line: String =
        text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{DEFAULT_VHOST, HttpRemux, Vhost};
    use crate::config::units::MAX_LIST;
    use crate::config::{ListenAddr, LiveFormat, MemoryLimit, OnDuplicate, TimeJitter};
    use proptest::prelude::*;
    use std::time::Duration;

    const FULL: &str = include_str!("../../conf/srs-shard.toml");

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
        let mut keys = schema_keys().to_vec();
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
        for line in FULL.lines() {
            if line.starts_with('#') {
                comment.push_str(line);
            } else {
                let is_key = line.contains(" = ");
                assert!(!is_key || comment.contains("Reload: "), "{line}");
                comment.clear();
            }
        }
    }

    #[test]
    fn each_file_in_conf_is_good_and_raises_no_warning() {
        let mut files = 0;
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/conf")).expect("conf/") {
            let path = entry.expect("conf/").path();
            let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(config.warnings(), Vec::<String>::new(), "{}", path.display());
            files += 1;
        }
        assert!(files >= 4);
    }

    #[test]
    fn the_demo_has_everything_on() {
        let demo = Config::demo().unwrap_or_else(|errors| panic!("{errors}"));
        assert!(demo.demo && demo.http_api.enabled && demo.http_server.enabled);
        let vhost = demo.vhost("localhost").expect("a default vhost");
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
        let a = config.vhost("a.example").expect("a");
        assert!(a.min_latency);
        assert_eq!(a.play.queue_length, Duration::from_secs(10));
        assert_eq!(a.play.mw_latency, Some(Duration::from_millis(350)));
        assert_eq!(a.play.send_min_interval, Duration::from_micros(10_500));
        assert_eq!(a.play.time_jitter, TimeJitter::Zero);
        assert_eq!(a.publish.normal_timeout, Duration::from_secs(7));
        assert_eq!(a.publish.on_duplicate, OnDuplicate::Takeover);
        assert_eq!(config.vhost("b").expect("b").http_remux.mount[0].format, LiveFormat::Ts);
        assert_eq!(config.vhost("c"), None);
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
                 allowed here: enabled, listen, crossdomain, string_ids"]
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
            errors("daemon = false"),
            ["x.toml:1:1: daemon: no such key: an SRS directive that this version does not act on; \
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
        let list =
            "[vhost.x.http_remux]\nmount = [\"/[app]/[stream].ts\", \"/[app].flv\", \"/[stream].ts\", 5]";
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
            warnings("demo = true\n[vhost.a]"),
            "demo needs an enabled [vhost.__defaultVhost__]: there is no demo stream"
        );
        assert_eq!(warnings("[vhost.a]"), "");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
        let text = |path: &str| Config::load(Path::new(path)).expect_err("no such file").to_string();
        assert_eq!(
            text("/nonexistent/x.toml"),
            "/nonexistent/x.toml: cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(text("/dev/zero"), "/dev/zero: cannot be read: longer than 4194304 bytes");
        let path = std::env::temp_dir().join(format!("srs-shard-config-{}.toml", std::process::id()));
        std::fs::write(&path, b"listen = 1\n#\xff").expect("a temporary file");
        let found = text(&path.display().to_string());
        std::fs::remove_file(&path).expect("our own file");
        assert_eq!(found, format!("{}: cannot be read: not UTF-8 at byte 12", path.display()));
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
}
