//! From a configuration to running shards: what takes root first, then the user that serves, then threads.

use super::key_urls::KeyUrls;
use super::notify::{READY, notify};
use super::preside::preside;
use super::process::{Process, WaysOut};
use super::reload::{InForce, log_settings};
use super::shard::{API, HTTP, RTMP, Shard, ShardService};
use crate::cli::Exit;
use crate::config::mount::Mount;
use crate::config::schema::{DEFAULT_VHOST, LogTank, MAX_CORES};
use crate::config::units::ListenAddr;
use crate::config::{Config, Keys};
use crate::hooks::desk::Desk;
use crate::logging::{LogHandle, Sink};
use crate::outbound::Outbound;
use shards::account::Account;
use shards::daemon::Starting;
use shards::master::{self, Signals};
use shards::pidfile::{PidFile, PidFileError};
use shards::preflight::Limits;
use shards::{Cores, Ended, Pin, Plan, Port, StartError, placement, preflight};
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const _: () = assert!(MAX_CORES == placement::MAX_SHARDS as u32);

/// At the end events may take so long to be told.
const HOOKS_LIMIT: Duration = Duration::from_secs(2);

/// Why the server did not start.
#[derive(Debug)]
pub struct Failure {
    /// In a number.
    pub exit: Exit,
    /// In words, a line each.
    pub why: Vec<String>,
    /// Whether the terminal has them already, from the log.
    pub told: bool,
}

impl Failure {
    /// With one line.
    pub fn new(exit: Exit, why: impl fmt::Display) -> Failure {
        Failure { exit, why: vec![why.to_string()], told: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why.join("\n"))
    }
}

/// Runs a server until a signal ends it; `keys` and `in_force` are what `config` came with, `warnings` what there is to say of
/// that. A daemon tells its starter when it listens. There must be no thread but this.
pub fn serve(
    config: Config,
    keys: &Keys,
    mut in_force: InForce,
    warnings: &[String],
    starting: &mut Option<Starting>,
) -> Result<Exit, Failure> {
    // Before any thread: one that does not block them would be ended by them.
    let signals = Signals::block().map_err(|error| Failure::new(Exit::Internal, error))?;
    let is_daemon = starting.is_some();
    let find = |user: &String| Account::find(user, config.group.as_deref());
    let account = config.user.as_ref().map(find).transpose();
    let account = account.map_err(|error| Failure::new(Exit::User, error))?;
    let _pid_file = take_pid_file(&config, is_daemon, account.as_ref())?;
    let cores = config.cores.map_or(Cores::All, |n| Cores::Count(u16::try_from(n).unwrap_or(u16::MAX)));
    let pin = if config.pin { Pin::Yes } else { Pin::No };
    let plan = placement::plan(cores, pin).map_err(|error| Failure::new(Exit::Cores, error))?;
    let ports = ports(&config);
    let sockets = master::bind(&plan, &ports).map_err(|error| Failure::new(Exit::Listen, error))?;
    // Its folder may be root's to make; the file itself is made by whoever will have to open it anew.
    let sink = match config.log_tank(is_daemon) {
        LogTank::Console => Sink::Console,
        LogTank::File => {
            make_folder_of(&config.srs_log_file, account.as_ref())
                .map_err(|error| Failure::new(Exit::Log, error))?;
            Sink::File(config.srs_log_file.clone())
        }
    };
    if let Some(account) = &account {
        account.become_for_good().map_err(|error| Failure::new(Exit::User, error))?;
        in_force.is_served_by(account.to_string());
    }
    // As that user: the ring is another's to make than root's.
    let limits = preflight::preflight().map_err(|missing| Failure {
        exit: Exit::Preflight,
        why: missing.iter().map(ToString::to_string).collect(),
        told: false,
    })?;
    let to_console = sink == Sink::Console;
    let log =
        LogHandle::install(log_settings(&config), sink).map_err(|error| Failure::new(Exit::Log, error))?;
    warnings.iter().chain(&config.warnings()).for_each(|warning| log::warn!("{warning}"));
    let exit = run((config, keys), &mut in_force, &signals, &log, &plan, (&ports, sockets), limits, starting);
    exit.map_err(|failure| {
        failure.why.iter().for_each(|line| log::error!("{line}"));
        Failure { told: to_console, ..failure }
    })
}

/// The part that has a log.
#[allow(clippy::too_many_arguments)] // what the start has brought together
fn run(
    (config, keys): (Config, &Keys),
    in_force: &mut InForce,
    signals: &Signals,
    log: &LogHandle,
    plan: &Plan,
    (ports, sockets): (&[Port], master::Sockets),
    limits: Limits,
    starting: &mut Option<Starting>,
) -> Result<Exit, Failure> {
    let internal = |why: &dyn fmt::Display| Failure::new(Exit::Internal, why);
    let outbound =
        Outbound::start(config.http_client.ca_file.as_deref()).map_err(|error| internal(&error))?;
    let desk = Desk::open(&outbound, config.hooks.spool.as_deref(), config.hooks.backlog);
    let desk = desk.map_err(|error| internal(&error))?;
    let key_urls = KeyUrls::new(outbound.fetcher());
    let ways = WaysOut { desk, post: outbound.post(), key_urls, log_drops: log.drops() };
    let process = Arc::new(Process::new(config, keys, in_force.said(), limits.nofile, ways));
    let shared = Arc::clone(&process);
    let make = move |ctx| ShardService(Rc::new(Shard::new(ctx, Arc::clone(&shared))));
    let running = master::start(plan, sockets, make).map_err(|error| {
        let exit = if matches!(error, StartError::Listen(_)) { Exit::Listen } else { Exit::Internal };
        Failure::new(exit, error)
    })?;
    in_force.listens(ports, running.ports());
    *process.ports.write().unwrap_or_else(PoisonError::into_inner) = running.ports().to_vec();
    announce(&process, plan.shards());
    if let Some(starting) = starting.take()
        && let Err(error) = starting.up()
    {
        log::warn!("the terminal cannot be left: {error}");
    }
    notify(READY);
    preside(&process, &running, in_force, signals, log);
    let lost = running.join().into_iter().filter(|(_, ended)| *ended == Ended::Panicked).count();
    finish_hooks(&process);
    outbound.close();
    log::info!("stopped");
    Ok(if lost == 0 { Exit::Success } else { Exit::Internal })
}

fn take_pid_file(
    config: &Config,
    is_daemon: bool,
    account: Option<&Account>,
) -> Result<Option<PidFile>, Failure> {
    let Some(path) = config.pid_file(is_daemon) else { return Ok(None) };
    make_folder_of(&path, account).map_err(|error| Failure::new(Exit::PidFile, error))?;
    let taken = PidFile::take(&path).map_err(|error| {
        let exit = if matches!(error, PidFileError::Held { .. }) { Exit::Running } else { Exit::PidFile };
        Failure::new(exit, error)
    });
    taken.map(Some)
}

/// Makes the folder of a file, if there is none, for the user that will serve.
fn make_folder_of(file: &Path, account: Option<&Account>) -> Result<(), String> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    let made = std::fs::create_dir_all(folder).and_then(|()| {
        let Some((uid, gid)) = account.map(Account::ids) else { return Ok(()) };
        std::os::unix::fs::lchown(folder, Some(uid), Some(gid))
    });
    made.map_err(|error| format!("folder {}: cannot be made: {error}", folder.display()))
}

/// What the last clients' end brought is told, so far as that does not hold up the end.
fn finish_hooks(process: &Process) {
    let left = process.desk.finish(HOOKS_LIMIT);
    match (left, &process.plan().config.hooks.spool) {
        (0, _) => {}
        (_, Some(spool)) => {
            log::info!("hooks: {left} event(s) are told after the next start ({})", spool.display())
        }
        (_, None) => log::warn!("hooks: {left} event(s) are lost: the backend did not take them"),
    }
}

/// Every address to listen on, once; a bare port is both IPv4 and, where there is one, IPv6.
pub fn ports(config: &Config) -> Vec<Port> {
    let ipv6 = std::path::Path::new("/proc/net/if_inet6").exists();
    let services = [
        (RTMP, true, &config.listen),
        (HTTP, config.http_server.enabled, &config.http_server.listen),
        (API, config.http_api.enabled, &config.http_api.listen),
    ];
    let mut ports: Vec<Port> = Vec::new();
    for (name, _, addresses) in services.into_iter().filter(|(_, enabled, _)| *enabled) {
        for address in addresses {
            let bare = matches!(address, ListenAddr::Port(_));
            for at in address.sockets().filter(|at| ipv6 || !bare || at.is_ipv4()) {
                // Where the API shares a port of the HTTP server's, that has it.
                let is_taken =
                    |port: &Port| name == API && port.name == HTTP && port.at == at && at.port() != 0;
                if !ports.iter().any(is_taken) {
                    ports.push(Port { name, at });
                }
            }
        }
    }
    ports
}

fn announce(process: &Process, shards: u16) {
    let ports = process.ports.read().unwrap_or_else(PoisonError::into_inner).clone();
    let all: Vec<String> = ports.iter().map(|(name, at)| format!("{name} {at}")).collect();
    log::info!("{} on {shards} shard(s): {}", crate::SIGNATURE, all.join(", "));
    log::info!("process {}, in {}", process.about.pid, process.about.cwd);
    let port = |name| ports.iter().find(|(n, _)| *n == name).map(|(_, at)| at.port());
    let plan = process.plan();
    let (most, media_mib) = (plan.max_connections, plan.feed_memory_bytes >> 20);
    log::info!("limits: {most} connections, {media_mib} MiB of media");
    if let Some(wished) = plan.config.max_connections.filter(|wished| u64::from(*wished) > most) {
        log::warn!("max_connections {wished} is above what the limit of open files carries: {most}");
    }
    if let Some(http) = port(HTTP) {
        log::info!("player page: http://localhost:{http}/");
    }
    if let Some(rtmp) = port(RTMP) {
        log::info!("publish: ffmpeg -re -i FILE -c copy -f flv rtmp://localhost:{rtmp}/live/livestream");
        demo_urls(&plan.config, rtmp, port(HTTP)).iter().for_each(|url| log::info!("demo stream: {url}"));
    }
    if let Some(api) = port(API).or(port(HTTP).filter(|_| plan.shares_http_port)) {
        log::info!("API: http://localhost:{api}/api/v1/summaries, metrics: http://localhost:{api}/metrics");
    }
}

/// Where the demo stream is found, if there is one.
fn demo_urls(config: &Config, rtmp: u16, http: Option<u16>) -> Vec<String> {
    let Some((_, vhost)) = config.vhosts.resolve(DEFAULT_VHOST).filter(|_| config.demo) else {
        return Vec::new();
    };
    let (app, stream) = super::demo::NAME;
    let mounts = vhost.http_remux.mount.iter().filter(|_| vhost.http_remux.enabled);
    let path = |mount: &Mount| mount.path_of(DEFAULT_VHOST, app, stream);
    let over_http = http
        .into_iter()
        .flat_map(|port| mounts.clone().map(move |mount| format!("http://localhost:{port}{}", path(mount))));
    [format!("rtmp://localhost:{rtmp}/{app}/{stream}")].into_iter().chain(over_http).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_stream_is_announced_where_it_is() {
        let urls = |source, http| demo_urls(&Config::parse("x.toml", source).expect("good"), 1935, http);
        let rtmp = "rtmp://localhost:1935/live/demo";
        let remux = "demo = true\n[vhost.__defaultVhost__.http_remux]\nenabled = true\n";
        assert_eq!(urls(remux, Some(80)), [rtmp, "http://localhost:80/live/demo.flv"]);
        assert_eq!(urls(remux, None), [rtmp]);
        let mount = remux.to_owned() + "mount = [\"/x/[app]/[stream].ts\", \"a.b/[app]/[stream].aac\"]";
        let expected = ["http://localhost:80/x/live/demo.ts", "http://localhost:80/live/demo.aac?vhost=a.b"];
        assert_eq!(urls(&mount, Some(80))[1..], expected);
        assert_eq!(urls("demo = true\n[vhost.__defaultVhost__]", Some(80)), [rtmp], "without http_remux");
        assert!(urls("demo = true\n[vhost.a]", Some(80)).is_empty(), "no default vhost: no demo stream");
        assert!(urls("[vhost.__defaultVhost__]", Some(80)).is_empty());
    }
}
