//! Mail between shards: outboxes that gather a turn's posts, one inbox per shard.
//!
//! Waking another shard costs more than the message (40–90 µs against 1), so posts gather in an outbox per
//! peer and leave as *one* channel item at the end of the turn, or earlier when [`FLUSH_POSTS`] have
//! gathered. Order holds between two shards; nothing is promised across pairs.

use crate::ShardId;
use crate::listen::Bound;
use crate::master::Control;
use std::cell::{Cell, RefCell};

/// Posts that make an outbox leave before the turn ends.
pub const FLUSH_POSTS: usize = 64;
/// Items an inbox holds. A peer adds at most one per turn and its windows are far smaller than that, so a
/// full inbox is a bug (or a shard that stands still); what does not fit stays in the outbox.
pub const INBOX_ITEMS: usize = 4096;

/// What lies in an inbox.
pub(crate) enum Mail<M> {
    Posts {
        from: ShardId,
        posts: Vec<M>,
    },
    Control(Control),
    /// More sockets to listen on.
    Listen(Vec<Bound>),
}

/// The outboxes of one shard, one per peer.
pub(crate) struct Outboxes<M> {
    me: ShardId,
    peers: Vec<Peer<M>>,
    waiting: Cell<bool>,
}

struct Peer<M> {
    inbox: flume::Sender<Mail<M>>,
    posts: RefCell<Vec<M>>,
}

impl<M> Outboxes<M> {
    pub(crate) fn new(me: ShardId, inboxes: Vec<flume::Sender<Mail<M>>>) -> Self {
        let peers = inboxes.into_iter().map(|inbox| Peer { inbox, posts: RefCell::default() }).collect();
        Outboxes { me, peers, waiting: Cell::new(false) }
    }

    pub(crate) fn shards(&self) -> u16 {
        self.peers.len() as u16
    }

    /// Puts a post into the outbox; true if it should leave now rather than at the end of the turn.
    pub(crate) fn put(&self, to: ShardId, post: M) -> bool {
        let Some(peer) = self.peers.get(to.index()) else { return false };
        let mut posts = peer.posts.borrow_mut();
        posts.push(post);
        self.waiting.set(true);
        posts.len() >= FLUSH_POSTS
    }

    /// Sends every outbox that holds something; returns how many inboxes were full.
    pub(crate) fn flush(&self) -> u64 {
        if !self.waiting.replace(false) {
            return 0;
        }
        let mut full = 0;
        for peer in &self.peers {
            let mut posts = peer.posts.borrow_mut();
            if posts.is_empty() {
                continue;
            }
            let item = Mail::Posts { from: self.me, posts: std::mem::take(&mut *posts) };
            match peer.inbox.try_send(item) {
                Ok(()) => {}
                Err(flume::TrySendError::Full(Mail::Posts { posts: back, .. })) => {
                    full += 1;
                    *posts = back;
                    self.waiting.set(true);
                }
                // The peer has ended: the process is stopping, and nobody reads this any more.
                Err(_) => {}
            }
        }
        full
    }

    /// Whether something could not leave yet.
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turns_posts_are_one_item_and_a_full_inbox_loses_nothing() {
        let (tx, rx) = flume::bounded::<Mail<u32>>(1);
        let boxes = Outboxes::new(ShardId(0), vec![tx.clone(), tx]);
        assert!(!boxes.put(ShardId(1), 1));
        boxes.put(ShardId(1), 2);
        assert_eq!(boxes.flush(), 0);
        boxes.put(ShardId(1), 3);
        assert_eq!(boxes.flush(), 1, "the inbox holds one item");
        assert!(boxes.waiting());
        let mut got = Vec::new();
        for _ in 0..2 {
            if let Ok(Mail::Posts { from: ShardId(0), posts }) = rx.try_recv() {
                got.push(posts);
            }
            boxes.flush();
        }
        assert_eq!(got, [vec![1, 2], vec![3]]);
        assert!(!boxes.waiting());
    }

    #[test]
    fn many_posts_ask_to_leave_early() {
        let (tx, _rx) = flume::bounded::<Mail<usize>>(1);
        let boxes = Outboxes::new(ShardId(0), vec![tx]);
        let early: Vec<bool> = (0..FLUSH_POSTS).map(|i| boxes.put(ShardId(0), i)).collect();
        assert_eq!(early.iter().position(|now| *now), Some(FLUSH_POSTS - 1));
    }
}
