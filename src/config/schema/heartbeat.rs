//! The keys of `[heartbeat]`.

use super::Reload::AtOnce;
use super::{HOUR, SECOND};
use crate::config::load::{Reader, Section};
use crate::config::units::{http_url, seconds, switch, text};
use std::time::Duration;

/// `[heartbeat]`: a POST in JSON, again and again, that tells a manager of servers that this one is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Whether it is told. Default false. Reload: at once.
    pub enabled: bool,
    /// How often; seconds, or with a unit. Default `"9.9s"`. Reload: at once.
    pub interval: Duration,
    /// Where. Default `"http://127.0.0.1:8085/api/v1/servers"`. Reload: at once.
    pub url: String,
    /// What this server is called there. Default `""`. Reload: at once.
    pub device_id: String,
    /// Whether what `/api/v1/summaries` says is told, too. Default false. Reload: at once.
    pub summaries: bool,
}

impl Section for Heartbeat {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let url = "http://127.0.0.1:8085/api/v1/servers".to_owned();
        Self {
            enabled: r.key("enabled", AtOnce, switch(), false),
            interval: r.key("interval", AtOnce, seconds(SECOND..=24 * HOUR), Duration::from_millis(9_900)),
            url: r.key("url", AtOnce, http_url(), url),
            device_id: r.key("device_id", AtOnce, text(DEVICE_IDS, is_device_id), String::new()),
            summaries: r.key("summaries", AtOnce, switch(), false),
        }
    }
}

const DEVICE_IDS: &str = "a text of at most 255 bytes";

fn is_device_id(text: &str) -> bool {
    text.len() <= 255
}
