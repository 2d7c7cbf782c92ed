//! What can be wrong with a configuration, where, and the rules between keys.
//!
//! A message is one line: file, line, column, key, what was found, what is allowed. Nothing here stops at
//! the first fault.

use super::load::{Notes, schema_keys};
use super::mount::{Binding, Mount};
use super::schema::{Auth, Config, DEFAULT_VHOST, LogTank, Vhost};
use super::units::{MemoryLimit, quoted, show_size};
use crate::access::Verb;
use crate::access::auth::Way;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

/// Everything that is wrong with one file, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file, as it was named to us.
    pub file: String,
    /// At least one.
    pub errors: Vec<ConfigError>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The key's path, such as `vhost.__defaultVhost__.play.gop_cache`; empty if there is none.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as such.
    File,
    /// A flag or an environment variable.
    Outside(String),
    /// Here in the file.
    At(Position),
}

/// A place in the file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// What is wrong with a file or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is not TOML, or holds a key twice.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// The schema has no such key here.
    #[error("no such key{0}")]
    UnknownKey(Hint),
    /// A value of the wrong type, unit or range.
    #[error("found {found}; allowed: {allowed}")]
    Value {
        /// The value as it is written.
        found: String,
        /// What the key takes.
        allowed: String,
    },
    /// A text of the right kind, with a mistake in it.
    #[error("found {found}: {fault}")]
    Text {
        /// The text as it is written.
        found: String,
        /// The mistake.
        fault: String,
    },
    /// A value that is good alone but not together with another.
    #[error("{0}")]
    Conflict(String),
}

/// What may have been meant by an unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A key of this table with nearly that name.
    Nearest(String),
    /// The tables that have this key.
    Elsewhere(Vec<String>),
    /// A directive of SRS that this version does not act on.
    SrsOnly,
    /// The keys of this table.
    Allowed(Vec<String>),
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            match &error.place {
                Place::File => write!(f, "{newline}{}", self.file)?,
                Place::Outside(by) => write!(f, "{newline}{by}")?,
                Place::At(Position { line, column }) => write!(f, "{newline}{}:{line}:{column}", self.file)?,
            }
            if !error.key.is_empty() {
                write!(f, ": {}", error.key)?;
            }
            write!(f, ": {}", error.problem)?;
        }
        Ok(())
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "; did you mean \"{name}\"?"),
            Self::Elsewhere(tables) => write!(f, " here; it belongs {}", tables.join(" or ")),
            Self::SrsOnly => write!(f, ": an SRS directive that this version does not act on; remove it"),
            Self::Allowed(keys) => write!(f, "; allowed here: {}", keys.join(", ")),
        }
    }
}

/// What SRS 3 to 7 have and this version has not: whoever brings an old file along should not be told of
/// typing errors.
const SRS_ONLY: &[&str] = &[
    "asprocess",
    "auto_reload_for_docker",
    "bandcheck",
    "circuit_breaker",
    "cluster",
    "dash",
    "disable_daemon_for_docker",
    "drop_if_not_match",
    "dvr",
    "empty_ip_ok",
    "exec",
    "exporter",
    "ff_log_dir",
    "ff_log_level",
    "forward",
    "gop_cache_max_frames",
    "hds",
    "hls",
    "http_static",
    "https",
    "ingest",
    "inotify_auto_reload",
    "kickoff_for_idle",
    "mix_correct",
    "mr",
    "mr_latency",
    "mw_msgs",
    "on_dvr",
    "on_forward",
    "on_hls",
    "on_hls_notify",
    "parse_sps",
    "pithy_print_ms",
    "query_latest_version",
    "rtc",
    "rtc_server",
    "server_id",
    "srt",
    "srt_server",
    "stream_caster",
    "tcmalloc_release_rate",
    "threads",
    "transcode",
    "try_annexb_first",
];

/// What to say about an unknown key of a table whose keys are `known`.
pub(super) fn hint(name: &str, known: &[&'static str]) -> Hint {
    let tables: Vec<String> = schema_keys().iter().filter_map(|key| home_of(&key.path, name)).collect();
    if !tables.is_empty() {
        return Hint::Elsewhere(tables);
    }
    if SRS_ONLY.contains(&name) {
        return Hint::SrsOnly;
    }
    let distance = |key: &&&str| strsim::damerau_levenshtein(name, key);
    // A third of the letters may be wrong; more is another word.
    let near = known.iter().min_by_key(distance).filter(|key| distance(key) <= (name.len() / 3).max(1));
    match near {
        Some(key) => Hint::Nearest((*key).to_owned()),
        None => Hint::Allowed(known.iter().map(|key| (*key).to_owned()).collect()),
    }
}

/// The table of a schema path, in words, if the path's last part is `name`.
fn home_of(path: &str, name: &str) -> Option<String> {
    match path.rsplit_once('.') {
        None if path == name => Some("at the top level, before the first [table]".to_owned()),
        Some((table, key)) if key == name => Some(format!("in [{table}]")),
        _ => None,
    }
}

/// The rules between keys. `notes` knows where each key stands and takes the faults.
pub(super) fn rules(config: &Config, notes: &mut Notes) {
    listen_addresses_differ(config, notes);
    vhosts_differ(config, notes);
    mounts_differ(config, notes);
    what_is_asked_for_can_be_shown(config, notes);
    if config.daemon && config.srs_log_tank == Some(LogTank::Console) {
        let text = "a daemon has no console: \"file\", or \"auto\", which is that for a daemon";
        notes.conflict(&["srs_log_tank", "daemon"], text.to_owned());
    }
    if config.group.is_some() && config.user.is_none() {
        notes.conflict(&["group", "user"], "user must say whose group it is".to_owned());
    }
    for (name, vhost) in config.vhosts.iter() {
        if let MemoryLimit::Bytes(limit) = config.feed_memory
            && vhost.play.feed_max_bytes > limit
        {
            let text = format!(
                "{} for one stream is more than feed_memory ({}) has for all",
                show_size(vhost.play.feed_max_bytes),
                show_size(limit)
            );
            notes.conflict(&[&vhost_path(name, "play.feed_max_bytes"), "feed_memory"], text);
        }
    }
}

fn listen_addresses_differ(config: &Config, notes: &mut Notes) {
    let services = [
        ("listen", true, &config.listen),
        ("http_api.listen", config.http_api.enabled, &config.http_api.listen),
        ("http_server.listen", config.http_server.enabled, &config.http_server.listen),
    ];
    let mut taken: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for (key, _, addrs) in services.into_iter().filter(|(_, enabled, _)| *enabled) {
        // Port 0 is another port each time.
        for addr in addrs.iter().filter(|addr| addr.port() != 0) {
            let other = addr.sockets().find_map(|socket| taken.get(&socket).copied().map(|by| (socket, by)));
            // API and media may share a port, as in SRS 5 and later.
            if let Some((socket, by)) =
                other.filter(|(_, by)| [*by, key] != ["http_api.listen", "http_server.listen"])
            {
                let text = match by == key {
                    true => format!("{socket} is in this list twice"),
                    false => format!("{socket} is taken by {by}"),
                };
                notes.conflict(&[key, by], text);
            }
            addr.sockets().for_each(|socket| _ = taken.entry(socket).or_insert(key));
        }
    }
}

/// Host names have no case, so such two would be one; and a name is one vhost's.
fn vhosts_differ(config: &Config, notes: &mut Notes) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for name in config.vhosts.keys() {
        if let Some(other) = taken.insert(name.to_ascii_lowercase(), name) {
            let text = format!("vhost {other} is the same: names of hosts have no case");
            notes.conflict(&[&format!("vhost.{}", key_text(name))], text);
        }
    }
    for (name, vhost) in config.vhosts.iter() {
        for alias in &vhost.aliases {
            if let Some(other) = taken.insert(alias.to_ascii_lowercase(), name) {
                notes.conflict(
                    &[&vhost_path(name, "aliases")],
                    format!("\"{alias}\" is taken by vhost {other}"),
                );
            }
        }
    }
}

/// Whoever is asked for something must be able to show it, and it must be clear which is which.
fn what_is_asked_for_can_be_shown(config: &Config, notes: &mut Notes) {
    let api = &config.http_api.auth;
    let key = |name: &str| format!("http_api.auth.{name}");
    if api.username.is_empty() != api.password.is_empty() {
        let text = "username and password go together".to_owned();
        notes.conflict(&[&key("username"), &key("password")], text);
    } else if api.enabled && api.username.is_empty() && api.tokens.is_empty() {
        let text = "nobody could pass: there is neither a username with its password nor a token".to_owned();
        notes.conflict(&[&key("enabled"), &key("username"), &key("password"), &key("tokens")], text);
    }
    for (name, Vhost { auth, .. }) in config.vhosts.iter().filter(|(_, vhost)| vhost.auth.enabled) {
        for (verb, ways) in [(Verb::Publish, &auth.publish), (Verb::Play, &auth.play)] {
            for way in ways.iter().filter(|way| !auth.has_any(**way, verb == Verb::Publish)) {
                let homes: &[&str] = match (way, verb) {
                    (Way::Key, Verb::Publish) => &["key.publish"],
                    (Way::Key, Verb::Play) => &["key.play"],
                    (Way::Sign, _) => &["sign.secrets"],
                    (Way::Token, _) => &["token.key_files", "token.secret_files", "token.jwks_url"],
                };
                let are = if homes.len() == 1 { "is" } else { "are" };
                let text = format!("\"{way}\" opens nothing: auth.{} {are} empty", homes.join(" and "));
                let paths: Vec<String> = std::iter::once(&verb.as_str())
                    .chain(homes)
                    .map(|home| vhost_path(name, &format!("auth.{home}")))
                    .collect();
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                notes.conflict(&paths, text);
            }
        }
        let params = [
            ("key.param", &auth.key.param),
            ("sign.param", &auth.sign.param),
            ("sign.expires_param", &auth.sign.expires_param),
            ("token.param", &auth.token.param),
        ];
        for (at, (home, param)) in params.iter().enumerate() {
            if let Some((other, _)) = params.iter().take(at).find(|(_, taken)| taken == param) {
                let paths = [*home, other].map(|home| vhost_path(name, &format!("auth.{home}")));
                notes.conflict(&[&paths[0], &paths[1]], format!("\"{param}\" is auth.{other} already"));
            }
        }
    }
}

fn mounts_differ(config: &Config, notes: &mut Notes) {
    let mut taken: BTreeMap<(String, String), &str> = BTreeMap::new();
    for (name, vhost) in config.vhosts.iter().filter(|(_, v)| v.enabled && v.http_remux.enabled) {
        for mount in &vhost.http_remux.mount {
            let place = (host_of(mount, name), mount.of_vhost(name).path().to_owned());
            if let Some(other) = taken.insert(place, name) {
                let text = match other == name {
                    true => format!("\"{mount}\" is in this list twice"),
                    false => format!("\"{mount}\" is taken by vhost {other}"),
                };
                let paths = [vhost_path(name, "http_remux.mount"), vhost_path(other, "http_remux.mount")];
                notes.conflict(&[&paths[0], &paths[1]], text);
            }
        }
    }
}

/// The Host that a mount is tied to; empty is any.
fn host_of(mount: &Mount, vhost: &str) -> String {
    match &mount.binding {
        Binding::Vhost if vhost == DEFAULT_VHOST => String::new(),
        Binding::Vhost => vhost.to_ascii_lowercase(),
        Binding::Any => String::new(),
        Binding::Host(host) => host.to_ascii_lowercase(),
    }
}

/// The path of a vhost's key, as in messages: names that TOML wants quoted are quoted.
pub(super) fn vhost_path(name: &str, key: &str) -> String {
    format!("vhost.{}.{key}", key_text(name))
}

/// One part of a key's path, quoted where TOML wants that.
pub(super) fn key_text(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

/// The place of a byte of the file.
pub(super) fn position(source: &str, span: &Range<usize>) -> Position {
    let before = source.get(..span.start).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

impl Config {
    /// What is allowed but hardly meant, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.vhosts.values().any(|v| v.enabled) {
            warnings
                .push(format!("no vhost is enabled: every client is refused; add [vhost.{DEFAULT_VHOST}]"));
        }
        if self.demo && self.vhosts.resolve(DEFAULT_VHOST).is_none() {
            warnings.push(format!("demo needs an enabled [vhost.{DEFAULT_VHOST}]: there is no demo stream"));
        }
        if !self.http_server.enabled {
            let mut remuxed = self.vhosts.iter().filter(|(_, v)| v.enabled && v.http_remux.enabled);
            if let Some((name, _)) = remuxed.next() {
                let more = more_text(remuxed.count());
                let path = vhost_path(name, "http_remux");
                warnings.push(format!("{path}{more}: nothing is served while http_server is off"));
            }
        }
        let served = self.vhosts.iter().filter(|(_, vhost)| vhost.enabled);
        let mut idle = served.filter_map(|(name, vhost)| Some((name, &vhost.auth, idle_auth(&vhost.auth)?)));
        if let Some((name, auth, home)) = idle.next() {
            let more = more_text(idle.count());
            let why =
                if auth.enabled { "auth.publish and auth.play do not ask for it" } else { "auth is off" };
            warnings.push(format!(
                "{}{more}: it opens nothing: {why}",
                vhost_path(name, &format!("auth.{home}"))
            ));
        }
        warnings
    }
}

/// What nobody is asked for although it is there, which leaves a door open.
fn idle_auth(auth: &Auth) -> Option<&'static str> {
    let is_idle = |way: Way, verb: Verb| {
        let publish = verb == Verb::Publish;
        let ways = if publish { &auth.publish } else { &auth.play };
        auth.has_any(way, publish) && !(auth.enabled && ways.contains(&way))
    };
    let never = |way: Way| is_idle(way, Verb::Publish) && is_idle(way, Verb::Play);
    let all = [
        ("key.publish", is_idle(Way::Key, Verb::Publish)),
        ("key.play", is_idle(Way::Key, Verb::Play)),
        ("sign", never(Way::Sign)),
        ("token", never(Way::Token)),
    ];
    all.into_iter().find(|(_, idle)| *idle).map(|(home, _)| home)
}

/// Of how many other vhosts the same could be said.
fn more_text(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and of {more} more)") }
}
