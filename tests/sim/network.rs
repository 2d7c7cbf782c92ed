//! The posts between shards: first in, first out per ordered pair, nothing promised between pairs.

use srs_shard::stream::post::Post;
use std::collections::VecDeque;

pub(crate) struct Network {
    shards: usize,
    queues: Vec<VecDeque<(u64, Post)>>,
    /// Drops the promise of order within a pair: for trying out the checks.
    pub(crate) unordered: bool,
}

impl Network {
    pub(crate) fn new(shards: usize) -> Network {
        Network { shards, queues: (0..shards * shards).map(|_| VecDeque::new()).collect(), unordered: false }
    }

    /// Mails a post that arrives at `at_ms`, or later if one before it on the same way does.
    pub(crate) fn mail(&mut self, from: usize, to: usize, post: Post, at_ms: u64) {
        let queue = &mut self.queues[from * self.shards + to];
        let at_ms = queue.back().map_or(at_ms, |(before, _)| at_ms.max(*before));
        queue.push_back((at_ms, post));
        if self.unordered && queue.len() > 1 {
            let last = queue.len() - 1;
            queue.swap(last - 1, last);
        }
    }

    /// The next post for a shard from another that has arrived.
    pub(crate) fn arrived(&mut self, from: usize, to: usize, now_ms: u64) -> Option<Post> {
        let queue = &mut self.queues[from * self.shards + to];
        queue.front().filter(|(at, _)| *at <= now_ms)?;
        queue.pop_front().map(|(_, post)| post)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}
