//! The keys of HTTP callbacks: `[vhost."name".http_hooks]`, `[hooks]`, and `[http_client]` which makes the requests.

use super::Reload::{AtOnce, Restart};
use super::{HOUR, MINUTE, SECOND};
use crate::config::load::{Reader, Section};
use crate::config::units::{any_number_of, duration, http_url, integer, or_none, path, size, switch, word};
use std::path::PathBuf;
use std::time::Duration;

/// `[vhost."name".http_hooks]`. A hook without URLs is not called.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpHooks {
    /// Whether there are hooks. Default false. Reload: at once.
    pub enabled: bool,
    /// Asked when a client has said what it wants. Default none. Reload: at once.
    pub on_connect: Vec<String>,
    /// Told when an RTMP client has gone. Default none. Reload: at once.
    pub on_close: Vec<String>,
    /// Asked before a client publishes. Default none. Reload: at once.
    pub on_publish: Vec<String>,
    /// Told when it no longer does. Default none. Reload: at once.
    pub on_unpublish: Vec<String>,
    /// Asked before a client plays. Default none. Reload: at once.
    pub on_play: Vec<String>,
    /// Told when it no longer does. Default none. Reload: at once.
    pub on_stop: Vec<String>,
    /// What becomes of a client if the backend that is asked does not answer, or with 5xx. Default `"deny"`, as in SRS.
    /// Reload: at once.
    pub on_error: OnError,
    /// How long an event is told again that the backend did not take. Default `"24h"`. Memory: see `hooks.backlog`.
    /// Reload: at once.
    pub retry_for: Duration,
    /// `[vhost."name".http_hooks.timeout]`.
    pub timeout: HookDeadlines,
    /// `[vhost."name".http_hooks.retries]`.
    pub retries: HookRetries,
}

impl Section for HttpHooks {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let urls = || any_number_of(http_url());
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            on_connect: r.key("on_connect", AtOnce, urls(), Vec::new()),
            on_close: r.key("on_close", AtOnce, urls(), Vec::new()),
            on_publish: r.key("on_publish", AtOnce, urls(), Vec::new()),
            on_unpublish: r.key("on_unpublish", AtOnce, urls(), Vec::new()),
            on_play: r.key("on_play", AtOnce, urls(), Vec::new()),
            on_stop: r.key("on_stop", AtOnce, urls(), Vec::new()),
            on_error: r.key("on_error", AtOnce, word(OnError::WORDS), OnError::Deny),
            retry_for: r.key("retry_for", AtOnce, duration(SECOND..=7 * 24 * HOUR), 24 * HOUR),
            timeout: r.section("timeout"),
            retries: r.section("retries"),
        }
    }
}

/// `[vhost."name".http_hooks.timeout]`: of a decision, from the question to the last URL's answer, the wait for events
/// that come before it included; of an event, one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct HookDeadlines {
    /// Default `"2s"` (SRS: 30 s for each step). Reload: at once.
    pub on_connect: Duration,
    /// Default `"2s"`. Reload: at once.
    pub on_publish: Duration,
    /// Default `"2s"`. Reload: at once.
    pub on_play: Duration,
    /// Default `"10s"`. Reload: at once.
    pub on_close: Duration,
    /// Default `"10s"`. Reload: at once.
    pub on_unpublish: Duration,
    /// Default `"10s"`. Reload: at once.
    pub on_stop: Duration,
}

impl Section for HookDeadlines {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let limit = || duration(Duration::from_millis(10)..=MINUTE);
        Self {
            on_connect: r.key("on_connect", AtOnce, limit(), 2 * SECOND),
            on_publish: r.key("on_publish", AtOnce, limit(), 2 * SECOND),
            on_play: r.key("on_play", AtOnce, limit(), 2 * SECOND),
            on_close: r.key("on_close", AtOnce, limit(), 10 * SECOND),
            on_unpublish: r.key("on_unpublish", AtOnce, limit(), 10 * SECOND),
            on_stop: r.key("on_stop", AtOnce, limit(), 10 * SECOND),
        }
    }
}

/// `[vhost."name".http_hooks.retries]`: how often a backend that did not answer is asked again, within the deadline.
/// Events are told again until `retry_for`.
#[derive(Clone, Debug, PartialEq)]
pub struct HookRetries {
    /// Default 0, as in SRS. Reload: at once.
    pub on_connect: u32,
    /// Default 0. Reload: at once.
    pub on_publish: u32,
    /// Default 0. Reload: at once.
    pub on_play: u32,
}

impl Section for HookRetries {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            on_connect: r.key("on_connect", AtOnce, integer(0..=10), 0),
            on_publish: r.key("on_publish", AtOnce, integer(0..=10), 0),
            on_play: r.key("on_play", AtOnce, integer(0..=10), 0),
        }
    }
}

/// What becomes of a client about whom the backend says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
}

impl OnError {
    const WORDS: &[(&str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

/// `[hooks]`: what all vhosts' hooks share.
#[derive(Clone, Debug, PartialEq)]
pub struct Hooks {
    /// A folder for events that are still to be told: they survive the process. Default `""` (`None`): they do not.
    /// Reload: restart.
    pub spool: Option<PathBuf>,
    /// What events that are still to be told may hold; above that new ones are lost, and counted. Default `"16MiB"`, about
    /// 15,000. Memory: that, and once more with `spool`. Reload: restart.
    pub backlog: u64,
}

impl Section for Hooks {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            spool: r.key("spool", Restart, or_none(path()), None),
            backlog: r.key("backlog", Restart, size(64 << 10..=4 << 30), 16 << 20),
        }
    }
}

/// `[http_client]`: the requests that the server makes itself.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClient {
    /// A file with certificates (PEM) that are trusted beside the system's, for https URLs. Default `""` (`None`).
    /// Reload: restart.
    pub ca_file: Option<PathBuf>,
}

impl Section for HttpClient {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self { ca_file: r.key("ca_file", Restart, or_none(path()), None) }
    }
}
