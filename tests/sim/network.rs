//! The posts between shards: first in, first out per ordered pair, nothing promised between pairs.

use srs_shard::stream::post::Post;
use std::collections::VecDeque;

/// How credit comes back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CreditHabit {
    /// So much later than other posts.
    pub(crate) late_ms: u64,
    /// In so many parts; 0 and 1 are whole.
    pub(crate) crumbs: usize,
}

pub(crate) struct Network {
    shards: usize,
    queues: Vec<VecDeque<(u64, Post)>>,
    pub(crate) credit: CreditHabit,
}

impl Network {
    pub(crate) fn new(shards: usize) -> Network {
        let queues = (0..shards * shards).map(|_| VecDeque::new()).collect();
        Network { shards, queues, credit: CreditHabit::default() }
    }

    /// Mails a post that arrives at `at_ms`, or later if one before it on the same way does.
    pub(crate) fn mail(&mut self, from: usize, to: usize, post: Post, at_ms: u64) {
        let queue = &mut self.queues[from * self.shards + to];
        let last_ms = queue.back().map_or(0, |(before, _)| *before);
        let CreditHabit { late_ms, crumbs } = self.credit;
        let parts = crumbs.max(1);
        let part_of = |bytes: usize, n: usize| bytes * (n + 1) / parts - bytes * n / parts;
        let part_ms = |n: usize| last_ms.max(at_ms + late_ms * (n as u64 + 1) / parts as u64);
        match post {
            Post::MediaCredit { source, bytes } => queue.extend(
                (0..parts).map(|n| (part_ms(n), Post::MediaCredit { source, bytes: part_of(bytes, n) })),
            ),
            Post::FeedCredit { key, format, sub, bytes } => queue.extend((0..parts).map(|n| {
                let key = std::sync::Arc::clone(&key);
                (part_ms(n), Post::FeedCredit { key, format, sub, bytes: part_of(bytes, n) })
            })),
            post => queue.push_back((last_ms.max(at_ms), post)),
        }
    }

    /// What is on its way arrives by `by_ms`, and credit is whole and in time from now on.
    pub(crate) fn recover(&mut self, by_ms: u64) {
        self.credit = CreditHabit::default();
        self.queues.iter_mut().flatten().for_each(|(at, _)| *at = by_ms.min(*at));
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
