//! The real binary, driven by real clients on their own; what is compared is content. One behaviour per module.
//!
//! Most of the time is spent waiting at the pace of the media: `cargo test --test e2e -- --test-threads=8`.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod api_auth;
mod api_fuzzed;
mod api_members;
mod credentials;
mod daemon;
mod drain;
mod duplicates;
mod gstreamer;
mod heartbeat;
mod hooks;
mod http_odds;
mod late_viewers;
mod logging;
mod proxied;
mod raw_update;
mod refusals;
mod reload;
mod republish;
mod rtmpdump;
mod same_content;
mod waiting_viewers;
