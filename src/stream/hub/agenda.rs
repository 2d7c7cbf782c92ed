//! What a turn looks at: those to whom something came, and those whose time has come. With hundreds of streams most
//! wait for something at any moment; a turn that looked at all of them would take longer than what it does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Streams or feeds, by their slots.
#[derive(Default)]
pub(super) struct Agenda {
    /// To be looked at in the next turn.
    now: Vec<usize>,
    /// To be looked at when their time comes. Whose entry names another time, or none, is passed by.
    later: BinaryHeap<Reverse<(u64, usize)>>,
}

/// What a stream or a feed knows of its place on the agenda.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    listed: bool,
    due_ms: Option<u64>,
}

/// Where entries are found. A slot may have been freed meanwhile, or be another's.
pub(super) trait Entries {
    fn entry(&mut self, at: usize) -> Option<&mut Entry>;
}

impl Agenda {
    /// Something came for it.
    pub(super) fn mark(&mut self, at: usize, entry: &mut Entry) {
        if !std::mem::replace(&mut entry.listed, true) {
            self.now.push(at);
        }
    }

    /// It has nothing to do before then; None: before something comes.
    pub(super) fn defer(&mut self, at: usize, entry: &mut Entry, due_ms: Option<u64>) {
        if let Some(due_ms) = due_ms.filter(|_| due_ms != entry.due_ms) {
            self.later.push(Reverse((due_ms, at)));
        }
        entry.due_ms = due_ms;
    }

    /// Takes those who are to be looked at.
    pub(super) fn take_due(&mut self, now_ms: u64, entries: &mut impl Entries) -> Vec<usize> {
        while let Some(Reverse((due_ms, at))) = self.later.peek().copied()
            && due_ms <= now_ms
        {
            self.later.pop();
            if let Some(entry) = entries.entry(at).filter(|entry| entry.due_ms == Some(due_ms)) {
                entry.due_ms = None;
                self.mark(at, entry);
            }
        }
        let due = std::mem::take(&mut self.now);
        for at in &due {
            if let Some(entry) = entries.entry(*at) {
                entry.listed = false;
            }
        }
        due
    }

    /// When the next one's time comes.
    pub(super) fn next_ms(&mut self, entries: &mut impl Entries) -> Option<u64> {
        while let Some(Reverse((due_ms, at))) = self.later.peek().copied() {
            if entries.entry(at).is_some_and(|entry| entry.due_ms == Some(due_ms)) {
                return Some(due_ms);
            }
            self.later.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entries for Vec<Entry> {
        fn entry(&mut self, at: usize) -> Option<&mut Entry> {
            self.get_mut(at)
        }
    }

    #[test]
    fn who_has_something_or_is_due_is_looked_at_once() {
        let mut entries: Vec<Entry> = (0..4).map(|_| Entry::default()).collect();
        let mut agenda = Agenda::default();
        agenda.mark(2, &mut entries[2]);
        agenda.mark(2, &mut entries[2]);
        agenda.defer(2, &mut entries[2], Some(10));
        agenda.defer(0, &mut entries[0], Some(10));
        agenda.defer(1, &mut entries[1], Some(10));
        agenda.defer(1, &mut entries[1], Some(30));
        agenda.defer(3, &mut entries[3], Some(5));
        agenda.defer(3, &mut entries[3], None);
        assert_eq!(agenda.take_due(9, &mut entries), [2]);
        assert_eq!(agenda.next_ms(&mut entries), Some(10), "who has nothing more to do is passed by");
        let mut due = agenda.take_due(10, &mut entries);
        due.sort_unstable();
        assert_eq!(due, [0, 2]);
        assert_eq!(agenda.next_ms(&mut entries), Some(30));
        agenda.defer(1, &mut entries[1], Some(30));
        entries.truncate(1);
        assert_eq!(agenda.next_ms(&mut entries), None, "who is gone, too");
        assert!(agenda.take_due(100, &mut entries).is_empty());
    }
}
