//! What a configuration means, worked out once for all shards: made at the start and with each reload.

use crate::access::auth::{Auth, Params, Shown, Way};
use crate::access::jwt::TokenRules;
use crate::access::{self, Asked, Verb};
use crate::config::schema::Vhost;
use crate::config::{Config, Keys, Said};
use crate::stats::reason::CloseReason;
use crate::stream::settings::Settings;
use crate::web::api::VhostInfo;
use crate::web::api::ids::IdStyle;
use crate::web::live::Mounts;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

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
    /// What clients must show, if `auth` is on.
    pub auth: Option<Auth>,
}

/// Who asks for something, and what speaks for it.
#[derive(Clone)]
pub struct Asking<'a> {
    /// What it wants.
    pub verb: Verb,
    /// Application.
    pub app: &'a str,
    /// Stream.
    pub stream: &'a str,
    /// Its address.
    pub ip: IpAddr,
    /// The page that embeds it.
    pub page_url: &'a str,
    /// What it shows; see [`Auth::shown`].
    pub shown: Shown,
}

/// Read-only, the same for all shards.
#[derive(Debug)]
pub struct Plan {
    /// 1 at the start, one more with each reload.
    pub version: u64,
    /// The configuration.
    pub config: Config,
    /// Which of its keys somebody has said.
    pub said: Said,
    vhosts: BTreeMap<String, Arc<VhostPlan>>,
    /// HTTP paths of live streams.
    pub mounts: Mounts,
    /// The API is on a port of the HTTP server.
    pub shares_http_port: bool,
    /// For the API.
    pub vhost_infos: Vec<VhostInfo>,
    /// Bytes of media that all shards together may hold.
    pub feed_memory_bytes: u64,
    /// Connections that may be open at once.
    pub max_connections: u64,
}

impl VhostPlan {
    /// Whether a client may do what it wants, by its address, its page and what it shows, at a time in seconds since
    /// 1970; else why not, in a word and in full.
    pub fn admits(&self, asking: &Asking<'_>, now_s: u64) -> Result<(), (CloseReason, String)> {
        let Vhost { security, refer, .. } = &self.config;
        let Asking { verb, app, stream, ip, page_url, ref shown } = *asking;
        let of_verb = if verb == Verb::Play { &refer.play } else { &refer.publish };
        let is_welcome = |domains: &[String]| domains.is_empty() || access::is_of(page_url, domains);
        if refer.enabled && !(is_welcome(&refer.all) && is_welcome(of_verb)) {
            return Err((CloseReason::ReferDenied, format!("page {:?}", self.without_secrets(page_url))));
        }
        if security.enabled {
            access::judge(&security.allow, &security.deny, verb, ip).map_err(|denied| {
                (CloseReason::SecurityDenied, format!("{} from {ip}, {denied}", verb.as_str()))
            })?;
        }
        if let Some(auth) = &self.auth {
            let asked = Asked { verb, vhost: &self.name, app, stream };
            auth.judge(&asked, shown, now_s).map_err(|refused| {
                let reason = match refused.way {
                    Way::Key => CloseReason::KeyDenied,
                    Way::Sign => CloseReason::SignDenied,
                    Way::Token => CloseReason::TokenDenied,
                };
                (reason, format!("{} from {ip}, {refused}", verb.as_str()))
            })?;
        }
        Ok(())
    }

    /// What a client shows, if it must show anything; see [`Auth::shown`].
    pub fn shown(&self, value_of: impl Fn(&str) -> Option<String>, bearer: Option<&str>) -> Shown {
        self.auth.as_ref().map_or_else(Shown::default, |auth| auth.shown(value_of, bearer))
    }

    /// A URL of a client's as API and log may have it.
    pub fn without_secrets(&self, url: &str) -> String {
        self.auth.as_ref().map_or_else(|| url.to_owned(), |auth| auth.hide_in(url))
    }
}

impl Plan {
    /// Works out a configuration; `keys` are those of the files that it names, `said` which of its own somebody has said,
    /// `nofile` is the limit of open files.
    pub fn new(config: Config, keys: &Keys, said: Said, nofile: u64, version: u64) -> Plan {
        let carries = nofile.saturating_sub(OWN_DESCRIPTORS).max(1);
        let plan = |(name, vhost): (&String, &Vhost)| {
            let plan = VhostPlan {
                name: name.as_str().into(),
                config: vhost.clone(),
                settings: Arc::new(vhost.into()),
                chunk_bytes: config.chunk_size_of(vhost),
                auth: auth_of(vhost, keys),
            };
            (name.clone(), Arc::new(plan))
        };
        let info =
            |(name, vhost): (&String, &Vhost)| VhostInfo { name: name.clone(), enabled: vhost.enabled };
        Plan {
            version,
            said,
            vhosts: config.vhosts.iter().map(plan).collect(),
            mounts: Mounts::new(&config),
            shares_http_port: config.shares_http_port(),
            vhost_infos: config.vhosts.iter().map(info).collect(),
            feed_memory_bytes: config.feed_memory.bytes(memory_bytes()),
            max_connections: config.max_connections.map_or(carries, |max| u64::from(max).min(carries)),
            config,
        }
    }

    /// The enabled vhost that serves a name: its own, else the default one.
    pub fn vhost(&self, name: &str) -> Option<&Arc<VhostPlan>> {
        let (resolved, _) = self.config.vhosts.resolve(name)?;
        self.vhosts.get(resolved)
    }

    /// The vhost of this very name, as streams and clients have it, if it is enabled.
    pub fn vhost_named(&self, name: &str) -> Option<&Arc<VhostPlan>> {
        self.vhosts.get(name).filter(|vhost| vhost.config.enabled)
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

fn auth_of(vhost: &Vhost, keys: &Keys) -> Option<Auth> {
    let auth = vhost.auth.enabled.then(|| vhost.auth.clone())?;
    Some(Auth {
        tokens: TokenRules {
            keys: keys.of(&auth),
            audience: auth.token.audience,
            issuer: auth.token.issuer,
            leeway_s: auth.token.leeway.as_secs(),
        },
        publish: auth.publish,
        play: auth.play,
        params: Params {
            key: auth.key.param,
            sign: auth.sign.param,
            expires: auth.sign.expires_param,
            token: auth.token.param,
        },
        publish_keys: auth.key.publish,
        play_keys: auth.key.play,
        sign_secrets: auth.sign.secrets,
    })
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
