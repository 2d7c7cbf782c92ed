//! What a shard counts of connections that are gone, and by vhost.

use crate::stats::rates::Rate;
use crate::stats::reason::{CloseReason, Tally};
use std::collections::BTreeMap;

/// Counters of connections that have ended, and of what passed.
#[derive(Default)]
pub struct ShardTotals {
    /// Bytes received by connections that ended.
    pub recv_bytes: u64,
    /// Bytes sent by connections that ended.
    pub sent_bytes: u64,
    /// Media messages received.
    pub recv_messages: u64,
    /// Clients that ever played or published.
    pub clients: u64,
    /// Why connections ended.
    pub closes: Tally<CloseReason>,
    /// Traffic by vhost.
    pub vhosts: BTreeMap<String, VhostTotals>,
}

/// Traffic of one vhost on this shard.
#[derive(Default)]
pub struct VhostTotals {
    /// Received and sent by connections that ended.
    pub(super) ended: (u64, u64),
    /// Received and sent in all, as of the last look.
    pub total: (u64, u64),
    /// Rates of those.
    pub rates: (Rate, Rate),
}
