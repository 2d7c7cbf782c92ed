//! `rpc=query`: what the configuration says, in SRS's names and order. As in SRS only what somebody has said is told, not
//! the defaults; times are numbers in SRS's units.

use super::super::ids::vhost_id;
use super::super::json::{Json, Object};
use super::super::{ApiContext, code};
use crate::access::Rule;
use crate::config::Said;
use crate::config::schema::{
    Config, HttpHooks, HttpRemux, LogTank, Play, Publish, Refer, Security, TimeJitter, Vhost,
};
use crate::http::request::Request;
use std::time::Duration;

/// The answer, or SRS's code.
pub(super) fn answer(request: &Request, context: &ApiContext<'_>) -> Result<Object, u32> {
    let found = Object::new().with("code", 0u32);
    match request.query.value("scope").unwrap_or_default() {
        "global" => Ok(found.with("global", global(context))),
        "minimal" => Ok(found.with("minimal", Object::new().with("listen", listen(context.config)))),
        "vhost" => {
            let name = request.query.value("vhost").unwrap_or_default();
            let (name, vhost) = context.config.vhosts.get_key_value(name).ok_or(code::RAW_PARAMS)?;
            Ok(found.with("vhost", one_vhost(context, name, vhost)))
        }
        _ => Err(code::RAW_NOT_ALLOWED),
    }
}

/// An object that is made of what is said.
struct Told<'a> {
    said: &'a Said,
    table: String,
    object: Object,
}

impl<'a> Told<'a> {
    fn of(said: &'a Said, table: impl Into<String>) -> Self {
        Told { said, table: table.into(), object: Object::new() }
    }

    /// A member, if its key is said.
    fn key(self, name: &'static str, value: impl Into<Json>) -> Self {
        self.key_as(name, name, value)
    }

    /// The same, if SRS's answer has another name for it.
    fn key_as(mut self, key: &str, name: &'static str, value: impl Into<Json>) -> Self {
        if self.said.key(&self.table, key) {
            self.object.push(name, value);
        }
        self
    }

    /// A member in any case.
    fn always(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.object.push(name, value);
        self
    }

    /// A table, if anything in it is said.
    fn table(self, name: &'static str, make: impl FnOnce(Told<'a>) -> Told<'a>) -> Self {
        let path = if self.table.is_empty() { name.to_owned() } else { format!("{}.{name}", self.table) };
        if !self.said.table(&path) {
            return self;
        }
        let inner = make(Told::of(self.said, path)).object;
        self.always(name, inner)
    }
}

fn global(context: &ApiContext<'_>) -> Object {
    let config = context.config;
    let (api, http, raw) = (&config.http_api, &config.http_server, &config.http_api.raw_api);
    let heartbeat = &config.heartbeat;
    let first =
        |list: &[crate::config::ListenAddr]| list.first().map(ToString::to_string).unwrap_or_default();
    let vhosts = config.vhosts.iter().fold(Object::new(), |object, (name, vhost)| {
        object.with(name.clone(), vhost_summary(context, name, vhost))
    });
    Told::of(context.said, "")
        .always("listen", listen(config))
        .key("pid", config.pid.as_ref().map_or_else(String::new, |path| path.display().to_string()))
        .key("chunk_size", config.chunk_size)
        .key("srs_log_tank", config.srs_log_tank.map_or("auto", LogTank::as_str))
        .key("srs_log_level", config.srs_log_level.as_str())
        .key("srs_log_file", config.srs_log_file.display().to_string())
        .key("max_connections", or_auto(config.max_connections))
        .key("daemon", config.daemon)
        .key("utc_time", config.utc_time)
        .table("heartbeat", |told| {
            told.key("enabled", heartbeat.enabled)
                .key("interval", heartbeat.interval.as_secs())
                .key("url", heartbeat.url.as_str())
                .key("device_id", heartbeat.device_id.as_str())
                .key("summaries", heartbeat.summaries)
        })
        .table("stats", |told| {
            told.key("network", config.stats.network).key("disk", config.stats.disk.clone())
        })
        .table("http_api", |told| {
            told.key("enabled", api.enabled)
                .key("listen", first(&api.listen))
                .key("crossdomain", api.crossdomain)
                .table("raw_api", |told| {
                    told.key("enabled", raw.enabled)
                        .key("allow_reload", raw.allow_reload)
                        .key("allow_query", raw.allow_query)
                        .key("allow_update", raw.allow_update)
                })
        })
        .table("http_server", |told| {
            told.key("enabled", http.enabled)
                .key("listen", first(&http.listen))
                .key("dir", http.dir.display().to_string())
        })
        .always("nb_vhosts", config.vhosts.len())
        .always("vhosts", vhosts)
        .object
}

/// As in SRS a switch that is off is left out.
fn vhost_summary(context: &ApiContext<'_>, name: &str, vhost: &Vhost) -> Object {
    let switches = [
        ("http_remux", vhost.http_remux.enabled),
        ("http_hooks", vhost.http_hooks.enabled),
        ("origin", true),
        ("security", vhost.security.enabled),
        ("refer", vhost.refer.enabled),
        ("min_latency", vhost.min_latency),
        ("gop_cache", vhost.play.gop_cache),
        ("tcp_nodelay", vhost.tcp_nodelay),
        ("time_jitter", vhost.play.time_jitter != TimeJitter::Off),
        ("atc", vhost.play.atc),
    ];
    let object = Object::new()
        .with("id", vhost_id(name, context.id_style))
        .with("name", name)
        .with("enabled", vhost.enabled);
    switches.into_iter().filter(|(_, on)| *on).fold(object, |object, (name, on)| object.with(name, on))
}

fn one_vhost(context: &ApiContext<'_>, name: &str, vhost: &Vhost) -> Object {
    let Vhost { play, publish, refer, security, http_remux, http_hooks, .. } = vhost;
    Told::of(context.said, Said::vhost_table(name))
        .always("id", vhost_id(name, context.id_style))
        .always("name", name)
        .always("enabled", vhost.enabled)
        .key("chunk_size", or_auto(vhost.chunk_size))
        .key("min_latency", vhost.min_latency)
        .key("tcp_nodelay", vhost.tcp_nodelay)
        .table("play", |told| tell_play(told, play))
        .table("publish", |told| tell_publish(told, publish))
        .table("refer", |told| tell_refer(told, refer))
        .table("security", |told| tell_security(told, security))
        .table("http_remux", |told| tell_http_remux(told, http_remux))
        .table("http_hooks", |told| tell_http_hooks(told, http_hooks))
        .object
}

fn tell_play<'a>(told: Told<'a>, play: &Play) -> Told<'a> {
    told.key("time_jitter", play.time_jitter.as_str())
        .key("atc", play.atc)
        .key("atc_auto", play.atc_auto)
        .key("mw_latency", or_auto(play.mw_latency.map(millis)))
        .key("gop_cache", play.gop_cache)
        .key("queue_length", play.queue_length.as_secs())
        .key("reduce_sequence_header", play.reduce_sequence_header)
        .key("send_min_interval", millis(play.send_min_interval))
}

fn tell_publish<'a>(told: Told<'a>, publish: &Publish) -> Told<'a> {
    told.key("firstpkt_timeout", millis(publish.firstpkt_timeout))
        .key("normal_timeout", millis(publish.normal_timeout))
}

fn tell_refer<'a>(told: Told<'a>, refer: &Refer) -> Told<'a> {
    told.always("enabled", refer.enabled)
        .key("all", texts(&refer.all))
        .key("publish", texts(&refer.publish))
        .key("play", texts(&refer.play))
}

fn tell_security<'a>(told: Told<'a>, security: &Security) -> Told<'a> {
    told.always("enabled", security.enabled)
        .always("allows", rules("allow", &security.allow))
        .always("denies", rules("deny", &security.deny))
}

fn tell_http_remux<'a>(told: Told<'a>, remux: &HttpRemux) -> Told<'a> {
    let mounts: Vec<String> = remux.mount.iter().map(ToString::to_string).collect();
    // SRS has one; where there are several the answer is a list.
    let mounts: Json = match mounts.as_slice() {
        [one] => one.clone().into(),
        _ => mounts.into(),
    };
    told.always("enabled", remux.enabled).key("fast_cache", remux.fast_cache.as_secs()).key("mount", mounts)
}

fn tell_http_hooks<'a>(told: Told<'a>, hooks: &HttpHooks) -> Told<'a> {
    told.always("enabled", hooks.enabled)
        .key("on_connect", texts(&hooks.on_connect))
        .key("on_close", texts(&hooks.on_close))
        .key("on_publish", texts(&hooks.on_publish))
        .key("on_unpublish", texts(&hooks.on_unpublish))
        .key("on_play", texts(&hooks.on_play))
        .key("on_stop", texts(&hooks.on_stop))
}

fn rules(action: &'static str, rules: &[Rule]) -> Vec<Object> {
    let rule = |rule: &Rule| {
        let text = rule.to_string();
        let (method, entry) = text.split_once(' ').unwrap_or((&text, ""));
        Object::new().with("action", action).with("method", method).with("entry", entry)
    };
    rules.iter().map(rule).collect()
}

fn listen(config: &Config) -> Vec<String> {
    config.listen.iter().map(ToString::to_string).collect()
}

fn texts(list: &[String]) -> Vec<String> {
    list.to_vec()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The number, or the word for none.
fn or_auto(number: Option<impl Into<Json>>) -> Json {
    number.map_or_else(|| "auto".into(), Into::into)
}
