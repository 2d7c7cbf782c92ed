//! Answers about the server and the machine.

use super::ApiContext;
use super::ids::IdStyle;
use super::json::{Json, Object};
use super::snapshot::ShardSnapshot;
use crate::http::request::{Method, Request};
use crate::stats::system::SELF_STAT_FIELDS;
use std::collections::BTreeMap;

/// What every good answer begins with; SRS 4 and later say more.
pub(super) fn envelope(context: &ApiContext<'_>) -> Object {
    let object = Object::new().with("code", 0u32).with("server", context.server_id);
    match context.id_style {
        IdStyle::Numeric => object,
        IdStyle::String => {
            object.with("service", context.service_id).with("pid", context.process.pid.to_string())
        }
    }
}

fn data(context: &ApiContext<'_>, data: Object) -> Object {
    envelope(context).with("data", data)
}

pub(super) fn api_index(context: &ApiContext<'_>) -> Object {
    envelope(context).with("urls", Object::new().with("v1", "the api version 1.0"))
}

pub(super) fn v1_index(context: &ApiContext<'_>) -> Object {
    let urls = Object::new()
        .with("versions", "the version of SRS")
        .with("summaries", "the summary(pid, argv, pwd, cpu, mem) of SRS")
        .with("rusages", "the rusage of SRS")
        .with("self_proc_stats", "the self process stats")
        .with("system_proc_stats", "the system process stats")
        .with("meminfos", "the meminfo of system")
        .with("authors", "the license, copyright, authors and contributors")
        .with("features", "the supported features of SRS")
        .with("requests", "the request itself, for http debug")
        .with("vhosts", "manage all vhosts or specified vhost")
        .with("streams", "manage all streams or specified stream")
        .with("clients", "manage all clients or specified client, default query top 10 clients")
        .with("raw", "raw api for srs, support CUID srs for instance the config")
        .with("clusters", "origin cluster server API")
        .with("openapi.json", "this API as OpenAPI describes it");
    let tests = Object::new()
        .with("requests", "show the request info")
        .with("errors", "always return an error 100")
        .with("redirects", "always redirect to /api/v1/test/errors")
        .with("[vhost]", "http vhost for http://error.srs.com:1985/api/v1/tests/errors");
    envelope(context).with("urls", urls).with("tests", tests)
}

/// Tools look at the numbers to learn what the API can do, so these are SRS's.
pub(super) fn versions(context: &ApiContext<'_>) -> Object {
    let (major, minor, revision) = crate::SRS_VERSION;
    let version = Object::new()
        .with("major", major)
        .with("minor", minor)
        .with("revision", revision)
        .with("version", crate::srs_version())
        .with("software", crate::SIGNATURE);
    data(context, version)
}

pub(super) fn authors(context: &ApiContext<'_>) -> Object {
    let authors = Object::new()
        .with("license", "The MIT License (MIT)")
        .with("contributors", "The srs-shard contributors; the API is SRS's, https://github.com/ossrs/srs");
    data(context, authors)
}

/// What this build can do, in SRS's words.
const FEATURES: [(&str, bool); 15] = [
    ("ssl", false),
    ("hls", false),
    ("hds", false),
    ("callback", false),
    ("api", true),
    ("httpd", true),
    ("dvr", false),
    ("transcode", false),
    ("ingest", false),
    ("stat", true),
    ("caster", false),
    ("complex_send", true),
    ("tcp_nodelay", true),
    ("so_sendbuf", true),
    ("mr", true),
];

pub(super) fn features(context: &ApiContext<'_>) -> Object {
    let features = FEATURES.iter().fold(Object::new(), |object, &(name, on)| object.with(name, on));
    let object = Object::new()
        // Members of SRS's answer: how its configure script was called, and when.
        .with("options", "")
        .with("options2", "")
        .with("build", "")
        .with("build2", "")
        .with("features", features);
    data(context, object)
}

/// The request as it came. SRS 3 means to show its headers, but then puts what it says of itself in their place, and
/// tools know it so; the request's own are beside it. Those that tell who may do what are not echoed: with CORS any page
/// could read them.
pub(super) fn test_request(context: &ApiContext<'_>, request: &Request, method: Method) -> Object {
    let secret = |name: &str| {
        ["cookie", "authorization", "proxy-authorization"].iter().any(|s| name.eq_ignore_ascii_case(s))
    };
    let mut headers = BTreeMap::new();
    for (name, _) in request.headers.iter().filter(|(name, _)| !secret(name)) {
        // A name that comes twice means one list (RFC 9110 §5.3).
        let all: Vec<&str> = request.headers.all(name).collect();
        headers.insert(name.to_ascii_lowercase(), all.join(", "));
    }
    let headers = headers.into_iter().fold(Object::new(), |object, (name, value)| object.with(name, value));
    let own = Object::new()
        .with("sigature", "SRS")
        .with("version", crate::srs_version())
        .with("link", "https://github.com/ossrs/srs")
        .with("time", context.now_ms);
    let object = Object::new()
        .with("uri", format!("http://{}{}", request.host, request.path))
        .with("path", request.path.as_str())
        .with("METHOD", method.as_str())
        .with("headers", own)
        .with("request_headers", headers);
    data(context, object)
}

pub(super) fn rusages(context: &ApiContext<'_>) -> Object {
    let now = &context.system.now;
    let u = &now.usage;
    let object = Object::new()
        .with("ok", now.process.is_some())
        .with("sample_time", now.at_ms)
        .with("ru_utime", u.user_s() as u64)
        .with("ru_stime", u.system_s() as u64)
        .with("ru_maxrss", u.max_resident_kbytes)
        .with("ru_ixrss", 0u32)
        .with("ru_idrss", 0u32)
        .with("ru_isrss", 0u32)
        .with("ru_minflt", u.minor_faults)
        .with("ru_majflt", u.major_faults)
        .with("ru_nswap", 0u32)
        .with("ru_inblock", u.blocks_in)
        .with("ru_oublock", u.blocks_out)
        .with("ru_msgsnd", 0u32)
        .with("ru_msgrcv", 0u32)
        .with("ru_nsignals", 0u32)
        .with("ru_nvcsw", u.voluntary_switches)
        .with("ru_nivcsw", u.involuntary_switches);
    data(context, object)
}

pub(super) fn self_proc_stats(context: &ApiContext<'_>) -> Object {
    let system = context.system;
    let process = system.now.process.as_ref();
    let object = Object::new()
        .with("ok", process.is_some())
        .with("sample_time", system.now.at_ms)
        .with("percent", system.process_cpu())
        .with("pid", process.map_or(0, |p| p.pid))
        .with("comm", process.map_or("", |p| p.comm.as_str()))
        .with("state", process.map_or("0", |p| p.state.as_str()));
    let field = |name: &&str| process.map_or(0, |p| p.field(name));
    let object = SELF_STAT_FIELDS.iter().fold(object, |object, name| object.with(*name, field(name)));
    data(context, object)
}

pub(super) fn system_proc_stats(context: &ApiContext<'_>) -> Object {
    let system = context.system;
    let cpu = system.now.cpu.unwrap_or_default();
    let object = Object::new()
        .with("ok", system.now.cpu.is_some())
        .with("sample_time", system.now.at_ms)
        .with("percent", system.system_cpu())
        .with("user", cpu.user)
        .with("nice", cpu.nice)
        .with("sys", cpu.sys)
        .with("idle", cpu.idle)
        .with("iowait", cpu.iowait)
        .with("irq", cpu.irq)
        .with("softirq", cpu.softirq)
        .with("steal", cpu.steal)
        .with("guest", cpu.guest);
    data(context, object)
}

pub(super) fn meminfos(context: &ApiContext<'_>) -> Object {
    let now = &context.system.now;
    let memory = now.memory.unwrap_or_default();
    let object = Object::new()
        .with("ok", now.memory.is_some())
        .with("sample_time", now.at_ms)
        .with("percent_ram", memory.ram_fraction())
        .with("percent_swap", memory.swap_fraction())
        .with("MemActive", memory.active())
        .with("RealInUse", memory.real_in_use())
        .with("NotInUse", memory.total.saturating_sub(memory.real_in_use()))
        .with("MemTotal", memory.total)
        .with("MemFree", memory.free)
        .with("Buffers", memory.buffers)
        .with("Cached", memory.cached)
        .with("SwapTotal", memory.swap_total)
        .with("SwapFree", memory.swap_free);
    data(context, object)
}

pub(super) fn summaries(context: &ApiContext<'_>, shards: &[ShardSnapshot]) -> Object {
    data(context, summary(context, shards))
}

/// Process and machine at a glance.
fn summary(context: &ApiContext<'_>, shards: &[ShardSnapshot]) -> Object {
    let (system, process) = (context.system, context.process);
    let now = &system.now;
    let memory = now.memory.unwrap_or_default();
    let sum = |value: fn(&ShardSnapshot) -> u64| shards.iter().map(value).sum::<u64>();
    let (disk_read, disk_write) = system.disk_kbytes_per_s();
    let most_resident = now.usage.max_resident_kbytes;
    let resident_fraction = if memory.total > 0 { most_resident as f64 / memory.total as f64 } else { 0.0 };
    let own = Object::new()
        .with("version", crate::srs_version())
        .with("pid", process.pid)
        .with("ppid", process.ppid)
        .with("argv", process.argv.as_str())
        .with("cwd", process.cwd.as_str())
        .with("mem_kbyte", most_resident)
        .with("mem_percent", resident_fraction)
        .with("cpu_percent", system.process_cpu())
        .with("srs_uptime", context.now_ms.saturating_sub(process.started_ms) / 1000)
        .with("config_version", context.config_version)
        .with("draining", context.is_draining)
        .with("log_lines_dropped", context.log_lines_dropped);
    let [load_1m, load_5m, load_15m] = now.load;
    let machine = Object::new()
        .with("cpu_percent", system.system_cpu())
        .with("disk_read_KBps", disk_read)
        .with("disk_write_KBps", disk_write)
        .with("disk_busy_percent", system.disk_busy())
        .with("mem_ram_kbyte", memory.total)
        .with("mem_ram_percent", memory.ram_fraction())
        .with("mem_swap_kbyte", memory.swap_total)
        .with("mem_swap_percent", memory.swap_fraction())
        .with("cpus", now.cpus_possible)
        .with("cpus_online", now.cpus_online)
        .with("uptime", now.uptime_s)
        .with("ilde_time", now.idle_s)
        .with("load_1m", load_1m)
        .with("load_5m", load_5m)
        .with("load_15m", load_15m)
        .with("net_sample_time", now.at_ms)
        .with("net_recv_bytes", now.traffic.public_recv_bytes)
        .with("net_send_bytes", now.traffic.public_send_bytes)
        .with("net_recvi_bytes", now.traffic.private_recv_bytes)
        .with("net_sendi_bytes", now.traffic.private_send_bytes)
        .with("srs_sample_time", context.now_ms)
        .with("srs_recv_bytes", sum(|s| s.counters.recv_bytes))
        .with("srs_send_bytes", sum(|s| s.counters.send_bytes))
        .with("conn_sys", now.sockets.tcp)
        .with("conn_sys_et", now.sockets.tcp_established)
        .with("conn_sys_tw", now.sockets.tcp_time_wait)
        .with("conn_sys_udp", now.sockets.udp)
        .with("conn_srs", sum(|s| s.counters.connections));
    Object::new()
        .with("ok", system.is_complete())
        .with("now_ms", context.now_ms)
        .with("self", Json::from(own))
        .with("system", machine)
}

/// What a manager of servers is told; `shards` is None if it is told that this one is there, no more.
pub fn heartbeat(
    context: &ApiContext<'_>,
    device_id: &str,
    ip: &str,
    shards: Option<&[ShardSnapshot]>,
) -> Object {
    let mut beat = Object::new().with("device_id", device_id).with("ip", ip);
    if let Some(shards) = shards {
        beat.push("summaries", Object::new().with("data", summary(context, shards)));
    }
    // SRS 5 and later have these.
    beat.with("server", context.server_id)
        .with("service", context.service_id)
        .with("pid", context.process.pid.to_string())
}
