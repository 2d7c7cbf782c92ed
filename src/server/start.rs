//! From a configuration to running shards, and the master's life after that: signals until the end.

use super::key_urls::KeyUrls;
use super::process::Process;
use super::reload::{InForce, ReloadError};
use super::shard::{API, HTTP, RTMP, Shard, ShardService};
use crate::cli::Exit;
use crate::config::mount::Mount;
use crate::config::schema::{DEFAULT_VHOST, MAX_CORES};
use crate::config::units::ListenAddr;
use crate::config::{Change, Config, Keys};
use crate::hooks::desk::Desk;
use crate::logging::LogHandle;
use crate::outbound::Outbound;
use crate::stats::system::{ProcTexts, Sample};
use crate::web::api::ReloadOutcome;
use shards::master::{Signal, Signals};
use shards::{Control, Cores, Ended, Pin, Port, Running, StartError, placement, preflight};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

const _: () = assert!(MAX_CORES == placement::MAX_SHARDS as u32);

/// The machine is sampled so often, for `/api/v1/summaries`.
const SYSTEM_SAMPLE: Duration = Duration::from_secs(3);
/// Memory that is free goes back to the system so often.
const GIVE_BACK: Duration = Duration::from_secs(60);
/// How often the master looks at its clock while it waits for signals.
const MASTER_TURN: Duration = Duration::from_millis(500);
/// While draining, clients may take so long before they are cut (SRS waits for ever; a second signal ends it).
const DRAIN_LIMIT: Duration = Duration::from_secs(3600);

/// At the end events may take so long to be told.
const HOOKS_LIMIT: Duration = Duration::from_secs(2);

/// Runs a server until a signal ends it; `keys` and `in_force` are what `config` came with.
/// The signals must have been blocked before the log's thread was started.
pub fn serve(config: Config, keys: &Keys, mut in_force: InForce, signals: &Signals, log: &LogHandle) -> Exit {
    let limits = match preflight::preflight() {
        Ok(limits) => limits,
        Err(missing) => {
            missing.iter().for_each(|what| log::error!("{what}"));
            return Exit::Preflight;
        }
    };
    let cores = config.cores.map_or(Cores::All, |n| Cores::Count(u16::try_from(n).unwrap_or(u16::MAX)));
    let pin = if config.pin { Pin::Yes } else { Pin::No };
    let plan = match placement::plan(cores, pin) {
        Ok(plan) => plan,
        Err(error) => {
            log::error!("{error}");
            return Exit::Cores;
        }
    };
    config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
    let ports = ports(&config);
    let outbound = match Outbound::start(config.http_client.ca_file.as_deref()) {
        Ok(outbound) => outbound,
        Err(error) => {
            log::error!("{error}");
            return Exit::Internal;
        }
    };
    let desk = match Desk::open(&outbound, config.hooks.spool.as_deref(), config.hooks.backlog) {
        Ok(desk) => desk,
        Err(error) => {
            log::error!("{error}");
            return Exit::Internal;
        }
    };
    let process = Arc::new(Process::new(
        config,
        keys,
        limits.nofile,
        desk,
        outbound.post(),
        KeyUrls::new(outbound.fetcher()),
        log.drops(),
    ));
    let shared = Arc::clone(&process);
    let started =
        shards::run(&plan, &ports, move |ctx| ShardService(Rc::new(Shard::new(ctx, Arc::clone(&shared)))));
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            log::error!("{error}");
            return if matches!(error, StartError::Listen(_)) { Exit::Listen } else { Exit::Internal };
        }
    };
    in_force.listens(&ports, running.ports());
    *process.ports.write().unwrap_or_else(PoisonError::into_inner) = running.ports().to_vec();
    announce(&process, plan.shards());
    preside(&process, &running, &mut in_force, signals, log);
    let lost = running.join().into_iter().filter(|(_, ended)| *ended == Ended::Panicked).count();
    finish_hooks(&process);
    outbound.close();
    log::info!("stopped");
    if lost == 0 { Exit::Success } else { Exit::Internal }
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

/// Acts on signals until the shards are told to stop.
fn preside(process: &Process, running: &Running, in_force: &mut InForce, signals: &Signals, log: &LogHandle) {
    let mut sampled: Option<Instant> = None;
    let mut drained_at: Option<Instant> = None;
    let mut given_back = Instant::now();
    loop {
        if given_back.elapsed() >= GIVE_BACK {
            given_back = Instant::now();
            shards::memory::give_back();
            log::debug!("free memory given back in {:?}", given_back.elapsed());
        }
        if sampled.is_none_or(|at| at.elapsed() >= SYSTEM_SAMPLE) {
            sampled = Some(Instant::now());
            let sample = Sample::parse(&ProcTexts::read(), super::process::unix_time().as_millis() as u64);
            process.system.write().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
        let mut again = || in_force.reload(process, running, log);
        match signals.wait(MASTER_TURN) {
            Some(Signal::Stop) => break,
            Some(Signal::Drain) if drained_at.is_none() => {
                log::info!("draining: {} connections may finish", process.connections());
                drained_at = Some(Instant::now());
                running.broadcast(Control::Drain);
            }
            Some(Signal::Drain) => break,
            Some(Signal::Reopen) => {
                log.reopen();
                log::info!("SIGUSR1: the log is opened anew");
            }
            Some(Signal::Reload) => _ = reload(process, drained_at.is_none().then(&mut again)),
            Some(Signal::Woken) | None => {}
        }
        let asked = process.asked_reloads();
        if !asked.is_empty() {
            let outcome = reload(process, drained_at.is_none().then(&mut again));
            asked.into_iter().for_each(|asked| asked.answer(outcome.clone()));
        }
        let done = drained_at.is_some_and(|at| process.connections() == 0 || at.elapsed() > DRAIN_LIMIT);
        if done || running.any_ended() {
            break;
        }
    }
    log::info!("stopping");
    running.broadcast(Control::Stop);
}

/// Says in the log what came of a reload; None: there is none while the server drains.
fn reload(process: &Process, reloaded: Option<Result<Vec<Change>, ReloadError>>) -> ReloadOutcome {
    match reloaded.unwrap_or(Err(ReloadError::Draining)) {
        Ok(changes) => {
            let plan = process.plan();
            changes.iter().for_each(|change| log::info!("reload: {change}"));
            log::info!("reload: version {} is in force, {} changes", plan.version, changes.len());
            plan.config.warnings().iter().for_each(|warning| log::warn!("{warning}"));
            ReloadOutcome::Applied { version: plan.version, changes }
        }
        Err(error) => {
            let version = process.plan().version;
            let errors: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
            errors.iter().for_each(|line| log::error!("reload: {line}"));
            log::error!("reload: version {version} stays in force");
            ReloadOutcome::Refused { version, errors }
        }
    }
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
