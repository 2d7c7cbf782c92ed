//! What the engine counts on each shard. Plain cells: read on the shard itself, copied out by value.

use std::cell::Cell;

/// A shard's own counters, only ever touched on that shard.
#[derive(Debug, Default)]
pub struct Counters {
    /// Turns run.
    pub turns: Cell<u64>,
    /// Heartbeats that fired: no turn had come for the heartbeat's period, or the service's next wish was due.
    pub heartbeats: Cell<u64>,
    /// Turns (or one peer's mail) that took longer than [`crate::executor::TURN_LIMIT`], and turns that came later than
    /// [`crate::executor::LATE_LIMIT`].
    pub loop_stalls: Cell<u64>,
    /// The longest turn yet, or the longest wait for one that was due, in µs.
    pub longest_turn_us: Cell<u64>,
    /// Panics caught in tasks and handlers.
    pub panics: Cell<u64>,
    /// Channel items received from peers.
    pub mail_items: Cell<u64>,
    /// Times a peer's inbox was full: the windows should make that impossible.
    pub mail_full: Cell<u64>,
    /// Connections accepted.
    pub accepted: Cell<u64>,
    /// Failed `accept` calls (EMFILE and the like).
    pub accept_errors: Cell<u64>,
    /// Looks at connections that wait in a crowd.
    pub crowd_looks: Cell<u64>,
    /// Tasks running now.
    pub tasks: Cell<u64>,
}

/// Adds to a counter cell.
pub fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get().wrapping_add(n));
}
