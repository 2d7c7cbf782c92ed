//! What tests of the real binary share: the server, real clients, what they saw, and a browser.

#![allow(dead_code, unreachable_pub)] // each test binary uses its own part of it
#![allow(clippy::print_stderr)] // what a failed test has to say

pub mod backend;
pub mod chromium;
pub mod clip;
pub mod http;
pub mod log;
pub mod memory;
pub mod neighbour;
pub mod openssl;
pub mod packets;
pub mod player;
pub mod server;
pub mod tool;

use std::time::{Duration, Instant};

/// How long anything may take that is not measured: the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something; panics with `what` if it never does.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}
