//! What all shards share: the configuration, worked out once, and a few process-wide totals.

use crate::config::{Config, schema::Vhost};
use crate::rtmp::session::{Identity, SessionConfig};
use crate::stats::system::Report;
use crate::stream::settings::Settings;
use crate::web::api::ids::IdStyle;
use crate::web::api::{ProcessInfo, VhostInfo};
use crate::web::live::Mounts;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Descriptors the process keeps for itself (rings, event fds, listeners, files, the log).
const OWN_DESCRIPTORS: u64 = 128;

/// A vhost as the shells use it.
#[derive(Debug)]
pub struct VhostPlan {
    /// Its name, as configured.
    pub name: Arc<str>,
    /// Its configuration.
    pub config: Vhost,
    /// What the stream core needs of it.
    pub settings: Arc<Settings>,
    /// Chunk size towards its clients.
    pub chunk_bytes: u32,
}

/// Shared by all shards, read-only but for totals.
pub struct Process {
    /// The configuration in force.
    pub config: Config,
    vhosts: BTreeMap<String, Arc<VhostPlan>>,
    /// HTTP paths of live streams.
    pub mounts: Mounts,
    /// RTMP sessions' configuration.
    pub session: Arc<SessionConfig>,
    /// The clock's origin: shards count milliseconds from here.
    pub started: Instant,
    /// For the API.
    pub about: ProcessInfo,
    /// For the API.
    pub vhost_infos: Vec<VhostInfo>,
    /// Made at start, `vid-…`.
    pub server_id: String,
    /// Made at start.
    pub service_id: String,
    /// The machine, sampled by the master.
    pub system: RwLock<Report>,
    /// Ports, as bound.
    pub ports: RwLock<Vec<(&'static str, std::net::SocketAddr)>>,
    /// Bytes of media that all shards together may hold.
    pub feed_memory_bytes: u64,
    /// Connections that may be open at once.
    pub max_connections: u64,
    connections: AtomicU64,
}

impl Process {
    /// Works out a configuration; `nofile` is the limit of open files.
    pub fn new(config: Config, nofile: u64) -> Process {
        let pid = std::process::id();
        let carries = nofile.saturating_sub(OWN_DESCRIPTORS).max(1);
        let max_connections = config.max_connections.map_or(carries, |max| u64::from(max).min(carries));
        let vhosts: BTreeMap<String, Arc<VhostPlan>> = config
            .vhosts
            .iter()
            .map(|(name, vhost)| {
                let plan = VhostPlan {
                    name: name.as_str().into(),
                    config: vhost.clone(),
                    settings: Arc::new(vhost.into()),
                    chunk_bytes: config.chunk_size_of(vhost),
                };
                (name.clone(), Arc::new(plan))
            })
            .collect();
        let mounts = Mounts::new(&config);
        let vhost_info =
            |(name, vhost): (&String, &Vhost)| VhostInfo { name: name.clone(), enabled: vhost.enabled };
        let now = unix_time();
        let noise = now.as_nanos() as u64 ^ u64::from(pid) << 32;
        Process {
            vhost_infos: config.vhosts.iter().map(vhost_info).collect(),
            vhosts,
            mounts,
            session: Arc::new(SessionConfig {
                identity: Identity { pid, ..Identity::default() },
                ..SessionConfig::default()
            }),
            started: Instant::now(),
            about: about(pid, now),
            server_id: format!("vid-{}-{}", noise % 100_000, noise / 100_000 % 1000),
            service_id: format!("{:08x}", noise as u32),
            system: RwLock::default(),
            ports: RwLock::default(),
            feed_memory_bytes: config.feed_memory.bytes(memory_bytes()),
            max_connections,
            connections: AtomicU64::new(0),
            config,
        }
    }

    /// The enabled vhost that serves a name: its own, else the default one.
    pub fn vhost(&self, name: &str) -> Option<&Arc<VhostPlan>> {
        let (resolved, _) = self.config.resolve(name)?;
        self.vhosts.get(resolved)
    }

    /// Takes a place among the connections, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.max_connections {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }

    /// Connections open now, on all shards.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Why a viewer is refused, for the log.
    pub fn feed_memory_reached(&self) -> String {
        format!("feed_memory of {} MiB reached", self.feed_memory_bytes >> 20)
    }

    /// How ids are written.
    pub fn id_style(&self) -> IdStyle {
        if self.config.http_api.string_ids { IdStyle::String } else { IdStyle::Numeric }
    }
}

/// A connection's place among `max_connections`.
pub struct Place(Arc<Process>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wall clock since 1970.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Memory this process may use: the machine's, or less if its cgroup says so.
fn memory_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let machine = total_kib.map_or(u64::MAX, |kib| kib << 10);
    shards::cgroup::memory_bytes().map_or(machine, |limit| limit.min(machine))
}

fn about(pid: u32, now: Duration) -> ProcessInfo {
    let kernel = |name| {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned()
    };
    ProcessInfo {
        pid,
        ppid: std::os::unix::process::parent_id(),
        argv: std::env::args().collect::<Vec<_>>().join(" "),
        cwd: std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
        started_ms: now.as_millis() as u64,
        uname: vec![
            ("sysname", kernel("ostype")),
            ("nodename", kernel("hostname")),
            ("release", kernel("osrelease")),
            ("version", kernel("version")),
            ("machine", std::env::consts::ARCH.to_owned()),
        ],
    }
}
