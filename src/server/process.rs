//! What all shards share: what the process is, the plan in force, and a few process-wide totals.

use super::census::{Census, Counted};
use super::key_urls::KeyUrls;
use super::plan::Plan;
use crate::config::edit::Edit;
use crate::config::{Config, Keys, Said};
use crate::hooks::desk::Desk;
use crate::hooks::notice;
use crate::logging::Drops;
use crate::outbound::Post;
use crate::rtmp::session::{Identity, SessionConfig};
use crate::stats::reason::CloseReason;
use crate::stats::system::Report;
use crate::web::api::{ProcessInfo, ReloadOutcome};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// So many may ask for a reload or an update at once.
const CHANGES_ASKED: usize = 16;
/// Whoever asks waits so long.
const CHANGE_TAKES: Duration = Duration::from_secs(5);

/// What may be asked of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// Change it.
    Update(Edit),
}

/// Somebody who asks for another configuration and waits for what comes of it.
pub struct Asked {
    /// What for.
    pub order: Order,
    reply: SyncSender<ReloadOutcome>,
}

impl Asked {
    /// Tells what came of it.
    pub fn answer(self, outcome: ReloadOutcome) {
        let _ = self.reply.try_send(outcome);
    }
}

/// What is beside the shards, and does for them what would block one.
pub struct WaysOut {
    /// Where backends are asked and told.
    pub desk: Desk,
    /// Sends what is told now and then.
    pub post: Post,
    /// Fetches keys.
    pub key_urls: KeyUrls,
    /// Lines that the log has lost.
    pub log_drops: Drops,
}

/// Shared by all shards.
pub struct Process {
    plan: RwLock<Arc<Plan>>,
    /// Keys of tokens that are fetched.
    pub key_urls: KeyUrls,
    /// The limit of open files.
    pub nofile: u64,
    /// RTMP sessions' configuration.
    pub session: Arc<SessionConfig>,
    /// The clock's origin: shards count milliseconds from here.
    pub started: Instant,
    /// For the API.
    pub about: ProcessInfo,
    /// Made at start, `vid-…`.
    pub server_id: String,
    /// Made at start.
    pub service_id: String,
    /// Where backends are asked and told.
    pub desk: Desk,
    /// Sends what is told now and then.
    pub post: Post,
    /// The machine, sampled by the master.
    pub system: RwLock<Report>,
    /// Ports, as bound.
    pub ports: RwLock<Vec<(&'static str, std::net::SocketAddr)>>,
    /// Lines that the log has lost.
    pub log_drops: Drops,
    asked: Mutex<Vec<Asked>>,
    draining: AtomicBool,
    connections: AtomicU64,
    per_ip: Census<IpAddr>,
    /// Publishers and players of each vhost.
    pub per_vhost: Census<Arc<str>>,
}

impl Process {
    /// With the configuration that it starts with, the keys of its files, and which of its own are said; `nofile` is the
    /// limit of open files.
    pub fn new(config: Config, keys: &Keys, said: Said, nofile: u64, ways: WaysOut) -> Process {
        let WaysOut { desk, post, key_urls, log_drops } = ways;
        let pid = std::process::id();
        let now = unix_time();
        let keys = key_urls.complete(keys, &config);
        let noise = now.as_nanos() as u64 ^ u64::from(pid) << 32;
        Process {
            plan: RwLock::new(Arc::new(Plan::new(config, &keys, said, nofile, 1))),
            key_urls,
            nofile,
            session: Arc::new(SessionConfig {
                identity: Identity { pid, ..Identity::default() },
                ..SessionConfig::default()
            }),
            started: Instant::now(),
            about: about(pid, now),
            server_id: format!("vid-{}-{}", noise % 100_000, noise / 100_000 % 1000),
            service_id: format!("{:08x}", noise as u32),
            desk,
            post,
            system: RwLock::default(),
            ports: RwLock::default(),
            log_drops,
            asked: Mutex::default(),
            draining: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            per_ip: Census::default(),
            per_vhost: Census::default(),
        }
    }

    /// What is in force. Shards keep it until they are told that there is another.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in force, for those who ask from now on.
    pub fn set_plan(&self, plan: Arc<Plan>) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// It is on its way out.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Asks the master for another configuration and waits for what comes of it. Blocks the thread.
    pub fn ask_master(&self, order: Order) -> ReloadOutcome {
        let (reply, answer) = sync_channel(1);
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() == CHANGES_ASKED {
                return ReloadOutcome::Unanswered;
            }
            asked.push(Asked { order, reply });
        }
        shards::master::wake_waiting_signals();
        answer.recv_timeout(CHANGE_TAKES).unwrap_or(ReloadOutcome::Unanswered)
    }

    /// For the master: who asks for another configuration.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a place among the connections; the limit that is reached, if one is.
    pub fn enter(self: &Arc<Self>, ip: IpAddr, plan: &Plan) -> Result<Place, CloseReason> {
        let total = Total::enter(self, plan.max_connections).ok_or(CloseReason::MaxConnections)?;
        let per_ip = self.per_ip.enter(ip.to_canonical(), plan.config.max_connections_per_ip);
        Ok(Place { _total: total, _per_ip: per_ip.ok_or(CloseReason::MaxConnectionsPerIp)? })
    }

    /// Who tells a backend so.
    pub fn hook_server(&self) -> notice::Server {
        notice::Server { server_id: self.server_id.clone(), service_id: self.service_id.clone() }
    }

    /// Connections open now, on all shards.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection's place among those that there may be.
pub struct Place {
    _total: Total,
    _per_ip: Counted<IpAddr>,
}

/// One of `max_connections`.
struct Total(Arc<Process>);

impl Total {
    fn enter(process: &Arc<Process>, most: u64) -> Option<Total> {
        let total = Total(Arc::clone(process));
        (process.connections.fetch_add(1, Ordering::Relaxed) < most).then_some(total)
    }
}

impl Drop for Total {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wall clock since 1970.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
