//! Panics on purpose, in the two places where the core calls what it was given: a message that panics when it
//! is let go breaks its stream, a connection that panics when it is written to breaks its feed.

use bytes::Bytes;
use srs_shard::formats::message::{Kind, Message, WireTime};
use srs_shard::stream::encode::Format;
use std::cell::RefCell;

/// What a bomb breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stream(usize),
    Feed { stream: usize, shard: usize, format: Format },
}

thread_local! {
    /// What was hit in this run; None between runs: nothing goes off then.
    static HITS: RefCell<Option<Vec<Target>>> = const { RefCell::new(None) };
}

/// A run begins: bombs are live.
pub(crate) fn arm() {
    HITS.set(Some(Vec::new()));
}

/// A run ends: what is still on its way does nothing.
pub(crate) fn disarm() {
    HITS.set(None);
}

pub(crate) fn hits() -> u64 {
    HITS.with_borrow(|hits| hits.as_ref().map_or(0, Vec::len)) as u64
}

pub(crate) fn was_hit(target: Target) -> bool {
    HITS.with_borrow(|hits| hits.as_ref().is_some_and(|hits| hits.contains(&target)))
}

pub(crate) fn is_stream_bomb(target: &Target) -> bool {
    matches!(target, Target::Stream(_))
}

pub(crate) fn count(which: fn(&Target) -> bool) -> u64 {
    HITS.with_borrow(|hits| hits.iter().flatten().filter(|hit| which(hit)).count()) as u64
}

/// Panics.
pub(crate) fn go_off(target: Target) {
    let armed = HITS.with_borrow_mut(|hits| hits.as_mut().map(|hits| hits.push(target)).is_some());
    assert!(!armed, "on purpose");
}

struct Bomb(Target);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            go_off(self.0);
        }
    }
}

/// A message that breaks its stream.
pub(crate) fn message(stream: usize) -> Message {
    let payload = Bytes::from_owner(Bomb(Target::Stream(stream)));
    Message { kind: Kind::Data, time: WireTime(0), payload }
}
