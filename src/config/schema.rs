//! The keys: what each means, its default, unit, cost, and when a change takes effect.
//!
//! A struct per table; beside it, in the same order, the one place that names each key's unit, range and
//! default. [`Default`] reads an empty table, so there is no second list of defaults.
//!
//! "Reload" says when a changed value takes effect once a reload hands out a new configuration: *at once*,
//! with the *next* client or publish, or after a *restart* only. "Memory" is what a value can cost; keys without it cost nothing worth naming.

mod auth;
mod heartbeat;
mod hooks;
mod stats;
mod vhost;

use super::load::{Reader, Section};
use super::log_level::{LogLevel, ModuleLevel, module_level};
use super::units::{
    ListenAddr, MemoryLimit, any_number_of, integer, listen_addr, memory_limit, millis, one_or_more, or_auto,
    path, secret, switch, text, word,
};
use super::vhosts::Vhosts;
use crate::access::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

pub use auth::{Auth, AuthKey, AuthSign, AuthToken};
pub use heartbeat::Heartbeat;
pub use hooks::{HookDeadlines, HookRetries, Hooks, HttpClient, HttpHooks, OnError};
pub use stats::Stats;
pub use vhost::{HttpRemux, OnDuplicate, Play, Publish, Refer, Security, TimeJitter, Vhost};

/// The vhost that serves every name which has no table of its own.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// More executors than this are refused: ids carry their shard in a few low bits.
pub const MAX_CORES: u32 = 256;

/// The RTMP specification's smallest sensible chunk, and the largest SRS takes without a warning.
const CHUNK_SIZES: std::ops::RangeInclusive<u32> = 128..=65_536;

/// `chunk_size`, unless it is configured.
pub const DEFAULT_CHUNK_SIZE: u32 = 60_000;
/// `play.send_timeout`, unless it is configured.
pub const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// `out_ack_size`, unless it is configured.
pub const DEFAULT_OUT_ACK_SIZE: u32 = 2_500_000;

/// When a changed value takes effect, once a reload hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At once.
    AtOnce,
    /// For clients that come from then on.
    NextClient,
    /// With each stream's next publish.
    NextPublish,
    /// After a restart only.
    Restart,
}
use Reload::{AtOnce, NextClient, NextPublish, Restart};

impl Reload {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            AtOnce => "at once",
            NextClient => "next client",
            NextPublish => "next publish",
            Restart => "restart",
        }
    }
}

const ZERO: Duration = Duration::ZERO;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// SIGQUIT's waits are at most this long.
const MAX_GRACE_WAIT: Duration = HOUR;
/// The longest `grace_max`: a week.
const MAX_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What users and groups may be called, in words.
const ACCOUNT_NAMES: &str = "a name of 1 to 32 printable ASCII bytes without '/' or ':', or a number";

fn is_account_name(name: &str) -> bool {
    let printable = name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    (1..=32).contains(&name.len()) && printable
}

/// What vhosts may be called, in words.
const VHOST_NAMES: &str = "a name of 1 to 255 printable bytes without '/' or '?'";

fn is_vhost_name(name: &str) -> bool {
    let printable = !name.contains(|c: char| c.is_whitespace() || c.is_control() || "/?".contains(c));
    (1..=255).contains(&name.len()) && printable
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where RTMP is served: an address or a list. Default 1935, on every address.
    /// Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// Connections of all kinds together; the one above is closed after accept. Default `"auto"` (`None`):
    /// what the limit of open files carries, which a number cannot exceed. Memory: a few KiB each.
    /// Reload: at once.
    pub max_connections: Option<u32>,
    /// Connections of all kinds from one address. Default `"auto"` (`None`): as many as there are.
    /// Reload: at once.
    pub max_connections_per_ip: Option<u32>,
    /// Connections that may come within a second; the others are closed after accept. Default `"auto"` (`None`): all.
    /// Reload: at once.
    pub accept_rate: Option<u32>,
    /// RTMP chunks that we send, in bytes, 128 to 65536. Default 60000. Larger ones cost players memory,
    /// smaller ones headers. Reload: next client.
    pub chunk_size: u32,
    /// Whether it goes into the background; whoever started it returns when it listens, or with what is wrong.
    /// Default false (SRS: true). A container's first process stays in the foreground. Reload: restart.
    pub daemon: bool,
    /// The file with the process's number, which it holds locked. Default `"auto"` (`None`): `./objs/srs.pid` for
    /// a daemon, else none. Reload: restart.
    pub pid: Option<PathBuf>,
    /// Where relative paths begin, but that of the configuration. Default `./`: where it was started.
    /// Reload: restart.
    pub work_dir: PathBuf,
    /// Whom it becomes once it listens, by name or number. Default `"auto"` (`None`): who started it.
    /// Reload: restart.
    pub user: Option<String>,
    /// The user's group. Default `"auto"` (`None`): the one that belongs to the user. Reload: restart.
    pub group: Option<String>,
    /// How long SIGQUIT lets clients come, so that others learn to send them elsewhere. Default 2300 ms.
    /// Reload: at once.
    pub grace_start_wait: Duration,
    /// How long clients may take to leave after that. Default `"auto"` (`None`): as long as they like.
    /// Reload: at once.
    pub grace_max: Option<Duration>,
    /// How long it lives on when the last client has left. Default 3200 ms. Reload: at once.
    pub grace_final_wait: Duration,
    /// Whether SIGTERM is what SIGQUIT is. Default false. Reload: at once.
    pub force_grace_quit: bool,
    /// Where the log goes: `"console"` (standard error) or `"file"`. Default `"auto"` (`None`): into the file for a
    /// daemon, else to the console. Reload: restart.
    pub srs_log_tank: Option<LogTank>,
    /// What is logged, in SRS's words. Default `"trace"`, which is one line per session and event;
    /// `RUST_LOG` overrides it. Reload: at once.
    pub srs_log_level: LogLevel,
    /// The same in the words of SRS 5, which are everybody else's. Default `"auto"` (`None`): what
    /// `srs_log_level` says. Reload: at once.
    pub srs_log_level_v2: Option<LogLevel>,
    /// What single modules log, in the words of `srs_log_level`: `["rtmp=info"]`. Default: none.
    /// Reload: at once.
    pub srs_log_levels: Vec<ModuleLevel>,
    /// Whether times in the log are UTC rather than local. Default false. Reload: at once.
    pub utc_time: bool,
    /// The log's file, if `srs_log_tank` is `"file"`; opened anew on SIGUSR1. Default `./objs/srs.log`.
    /// Reload: restart.
    pub srs_log_file: PathBuf,
    /// Executors, one per core. Default `"auto"` (`None`): the cores that affinity and cgroup quota
    /// allow. Memory: a few MiB each, and a copy of each stream's newest GOPs on every one with viewers
    /// of it (shared where the bytes are the same). Reload: restart.
    pub cores: Option<u32>,
    /// Whether each executor stays on its core. Default true; false permits more executors than cores.
    /// Reload: restart.
    pub pin: bool,
    /// Memory for the blocks of all streams together: `"25%"` of what the machine or its cgroup has
    /// (the default), or a size. Above it the coldest streams lose their older GOP, and new viewers are
    /// refused. Reload: at once.
    pub feed_memory: MemoryLimit,
    /// Whether the built-in demo stream is published as `live/demo`. Default false.
    /// Memory: its few seconds are part of the program. Reload: restart.
    pub demo: bool,
    /// `[http_api]`: the HTTP API and the metrics.
    pub http_api: HttpApi,
    /// `[http_server]`: live streams and files over HTTP.
    pub http_server: HttpServer,
    /// `[http_client]`: the requests that the server makes itself.
    pub http_client: HttpClient,
    /// `[hooks]`: what all vhosts' HTTP callbacks share.
    pub hooks: Hooks,
    /// `[stats]`: what of the machine is told.
    pub stats: Stats,
    /// `[heartbeat]`: the server tells a manager that it is there.
    pub heartbeat: Heartbeat,
    /// `[vhost_defaults]`: what holds in vhosts that don't say it themselves; it has all keys of a vhost.
    pub vhost_defaults: Vhost,
    /// `[vhost."name"]`: virtual hosts. Without any, every publish and play is refused, as in SRS.
    pub vhosts: Vhosts,
}

impl Section for Config {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        use {LogLevel as Level, LogTank as Tank};
        Self {
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(1935)]),
            max_connections: r.key("max_connections", AtOnce, or_auto(integer(1..=10_000_000)), None),
            max_connections_per_ip: r.key(
                "max_connections_per_ip",
                AtOnce,
                or_auto(integer(1..=10_000_000)),
                None,
            ),
            accept_rate: r.key("accept_rate", AtOnce, or_auto(integer(1..=1_000_000)), None),
            chunk_size: r.key("chunk_size", NextClient, integer(CHUNK_SIZES), DEFAULT_CHUNK_SIZE),
            daemon: r.key("daemon", Restart, switch(), false),
            pid: r.key("pid", Restart, or_auto(path()), None),
            work_dir: r.key("work_dir", Restart, path(), "./".into()),
            user: r.key("user", Restart, or_auto(text(ACCOUNT_NAMES, is_account_name)), None),
            group: r.key("group", Restart, or_auto(text(ACCOUNT_NAMES, is_account_name)), None),
            grace_start_wait: r.key(
                "grace_start_wait",
                AtOnce,
                millis(ZERO..=MAX_GRACE_WAIT),
                Duration::from_millis(2300),
            ),
            grace_max: r.key("grace_max", AtOnce, or_auto(millis(ZERO..=MAX_GRACE)), None),
            grace_final_wait: r.key(
                "grace_final_wait",
                AtOnce,
                millis(ZERO..=MAX_GRACE_WAIT),
                Duration::from_millis(3200),
            ),
            force_grace_quit: r.key("force_grace_quit", AtOnce, switch(), false),
            srs_log_tank: r.key("srs_log_tank", Restart, or_auto(word(Tank::WORDS)), None),
            srs_log_level: r.key("srs_log_level", AtOnce, word(Level::WORDS), Level::Trace),
            srs_log_level_v2: r.key("srs_log_level_v2", AtOnce, or_auto(word(Level::WORDS_V2)), None),
            srs_log_levels: r.key("srs_log_levels", AtOnce, any_number_of(module_level()), Vec::new()),
            utc_time: r.key("utc_time", AtOnce, switch(), false),
            srs_log_file: r.key("srs_log_file", Restart, path(), "./objs/srs.log".into()),
            cores: r.key("cores", Restart, or_auto(integer(1..=MAX_CORES)), None),
            pin: r.key("pin", Restart, switch(), true),
            feed_memory: r.key("feed_memory", AtOnce, memory_limit(), MemoryLimit::Percent(25)),
            demo: r.key("demo", Restart, switch(), false),
            http_api: r.section("http_api"),
            http_server: r.section("http_server"),
            http_client: r.section("http_client"),
            hooks: r.section("hooks"),
            stats: r.section("stats"),
            heartbeat: r.section("heartbeat"),
            vhost_defaults: r.shared_section("vhost_defaults"),
            vhosts: r.named_sections("vhost", "vhost_defaults", VHOST_NAMES, is_vhost_name).into(),
        }
    }
}

/// `[http_api]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpApi {
    /// Whether there is an API. Default false. Reload: at once.
    pub enabled: bool,
    /// Where it is served. Default 1985, on every address. Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// Whether pages of other origins may read it (CORS). Default true. Reload: at once.
    pub crossdomain: bool,
    /// Whether ids are strings as in SRS 4 and later, rather than the integers of SRS 3. Default false.
    /// Reload: at once.
    pub string_ids: bool,
    /// `[http_api.raw_api]`: what changes the running server.
    pub raw_api: RawApi,
    /// `[http_api.auth]`: who may change it.
    pub auth: ApiAuth,
}

impl Section for HttpApi {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(1985)]),
            crossdomain: r.key("crossdomain", AtOnce, switch(), true),
            string_ids: r.key("string_ids", AtOnce, switch(), false),
            raw_api: r.section("raw_api"),
            auth: r.section("auth"),
        }
    }
}

/// `[http_api.auth]`. While it is off, whatever changes anything is done for requests from this machine only, with no
/// page or proxy behind them; while it is on, for whoever has the password or a token.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiAuth {
    /// Whether the API asks who calls. Default false. Reload: at once.
    pub enabled: bool,
    /// Name for HTTP's Basic scheme, as in SRS 6. Default `""`: the scheme is not offered. Reload: at once.
    pub username: String,
    /// Password for it. Default `""`: there is none. Reload: at once.
    pub password: Secret,
    /// Tokens, any of which is as good: `Authorization: Bearer TOKEN`. Default none. Reload: at once.
    pub tokens: Vec<Secret>,
    /// Whether reading needs one of these, too, `/metrics` included, as in SRS 6. Default false. Reload: at once.
    pub reading: bool,
}

/// A password may be short, since users of SRS have such, but not empty.
const MIN_PASSWORD_BYTES: usize = 0;
/// A token is made by a machine.
const MIN_API_TOKEN_BYTES: usize = 16;

const USER_NAMES: &str = "a name of up to 255 printable characters without ':'";

fn is_user_name(text: &str) -> bool {
    text.len() <= 255 && !text.contains(|c: char| c.is_control() || c == ':')
}

impl Section for ApiAuth {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let no_password = Secret::default();
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            username: r.key("username", AtOnce, text(USER_NAMES, is_user_name), String::new()),
            password: r.key("password", AtOnce, secret(MIN_PASSWORD_BYTES), no_password),
            tokens: r.key("tokens", AtOnce, any_number_of(secret(MIN_API_TOKEN_BYTES)), Vec::new()),
            reading: r.key("reading", AtOnce, switch(), false),
        }
    }
}

/// `[http_api.raw_api]`. Who may call it says `[http_api.auth]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RawApi {
    /// Whether `/api/v1/raw` does anything. Default false. Reload: at once.
    pub enabled: bool,
    /// Whether `rpc=reload` reads the configuration again, as SIGHUP does. Default false. Reload: at once.
    pub allow_reload: bool,
    /// Whether `rpc=query` tells what the configuration says, to everyone who reaches the API; the URLs of
    /// hooks, too. Default false. Reload: at once.
    pub allow_query: bool,
    /// Whether `rpc=update` changes the configuration, and its file. Default false. Reload: at once.
    pub allow_update: bool,
}

impl Section for RawApi {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            allow_reload: r.key("allow_reload", AtOnce, switch(), false),
            allow_query: r.key("allow_query", AtOnce, switch(), false),
            allow_update: r.key("allow_update", AtOnce, switch(), false),
        }
    }
}

/// `[http_server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpServer {
    /// Whether there is an HTTP server; the mounts of `http_remux` need it. Default false.
    /// Reload: at once.
    pub enabled: bool,
    /// Where it is served. Default 8080, on every address. Reload: at once.
    pub listen: Vec<ListenAddr>,
    /// The directory of files to serve. Default `./objs/nginx/html`. Reload: at once.
    pub dir: PathBuf,
    /// Whether pages of other origins may play from it (CORS). Default true. Reload: at once.
    pub crossdomain: bool,
}

impl Section for HttpServer {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            listen: r.key("listen", AtOnce, one_or_more(listen_addr()), vec![ListenAddr::Port(8080)]),
            dir: r.key("dir", AtOnce, path(), "./objs/nginx/html".into()),
            crossdomain: r.key("crossdomain", AtOnce, switch(), true),
        }
    }
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTank {
    /// Standard error.
    Console,
    /// `srs_log_file`.
    File,
}

impl LogTank {
    const WORDS: &[(&str, Self)] = &[("console", Self::Console), ("file", Self::File)];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        word_of(Self::WORDS, self)
    }
}

/// The word that means a value.
pub(super) fn word_of<T: Copy + PartialEq>(words: &'static [(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, of)| *of == value).map_or("", |(word, _)| word)
}

/// The default of a table is what reading an empty one gives.
macro_rules! default_is_empty {
    ($($section:ty),*) => {$(
        impl Default for $section {
            fn default() -> Self {
                super::load::read_empty()
            }
        }
    )*};
}
default_is_empty!(Config, HttpApi, RawApi, ApiAuth, HttpServer, HttpClient, Hooks, Heartbeat, Stats);
default_is_empty!(Vhost, Play, Publish, HttpRemux, Security, Refer, HttpHooks, HookDeadlines, HookRetries);
default_is_empty!(Auth, AuthKey, AuthSign, AuthToken);

impl Config {
    /// Whether the API is on a port of the HTTP server, as SRS 5 and later permit.
    pub fn shares_http_port(&self) -> bool {
        let mut api = self.http_api.listen.iter().flat_map(|at| at.sockets());
        let http = || self.http_server.listen.iter().flat_map(|at| at.sockets());
        self.http_api.enabled && self.http_server.enabled && api.any(|at| http().any(|other| other == at))
    }

    /// Where the log goes, in the background or not.
    pub fn log_tank(&self, daemon: bool) -> LogTank {
        self.srs_log_tank.unwrap_or(if daemon { LogTank::File } else { LogTank::Console })
    }

    /// What is logged, in whichever words it was said.
    pub fn log_level(&self) -> LogLevel {
        self.srs_log_level_v2.unwrap_or(self.srs_log_level)
    }

    /// The pid file, if there is one.
    pub fn pid_file(&self, daemon: bool) -> Option<PathBuf> {
        self.pid.clone().or_else(|| daemon.then(|| "./objs/srs.pid".into()))
    }

    /// The size of the RTMP chunks that we send to a vhost's clients, in bytes.
    pub fn chunk_size_of(&self, vhost: &Vhost) -> u32 {
        vhost.chunk_size.unwrap_or(self.chunk_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mount::Mount;

    #[test]
    fn defaults_are_srs_defaults() {
        let config = Config::default();
        assert_eq!(config.listen, [ListenAddr::Port(1935)]);
        assert_eq!(config.chunk_size, 60_000);
        assert!(!config.http_api.enabled && !config.http_server.enabled && !config.demo);
        assert!(config.vhosts.is_empty());
        let vhost = Vhost::default();
        assert!(vhost.enabled && vhost.play.gop_cache && !vhost.tcp_nodelay && !vhost.http_remux.enabled);
        assert_eq!(vhost.play.queue_length, Duration::from_secs(30));
        assert_eq!(vhost.publish.firstpkt_timeout, Duration::from_secs(20));
        assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(5));
        assert_eq!((vhost.in_ack_size, vhost.out_ack_size), (0, 2_500_000));
        assert_eq!(config.chunk_size_of(&vhost), 60_000);
        assert_eq!(config.chunk_size_of(&Vhost { chunk_size: Some(4096), ..vhost }), 4096);
        let mounts = HttpRemux::default().mount;
        assert_eq!(mounts, [Mount::parse("[vhost]/[app]/[stream].flv").expect("a good template")]);
    }

    #[test]
    fn a_daemon_logs_into_a_file_and_has_a_pid_file() {
        let config = Config::default();
        assert!(!config.daemon);
        assert_eq!((config.log_tank(false), config.log_tank(true)), (LogTank::Console, LogTank::File));
        assert_eq!((config.pid_file(false), config.pid_file(true)), (None, Some("./objs/srs.pid".into())));
        let said = Config::parse("x", "pid = \"/run/x.pid\"\nsrs_log_tank = \"console\"").expect("good");
        assert_eq!(
            (said.log_tank(true), said.pid_file(false)),
            (LogTank::Console, Some("/run/x.pid".into()))
        );
    }
}
