//! How many clients there are, of each address and of each vhost, on all shards: for the limits that say how many there
//! may be. Counted where connections come and go, never where media pass.

use ahash::RandomState;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is here, by something that several may have in common.
#[derive(Debug)]
pub struct Census<K>(Arc<Mutex<HashMap<K, u32, RandomState>>>);

/// A place in a [`Census`], given back when it is dropped.
#[derive(Debug)]
pub struct Counted<K: Eq + Hash> {
    census: Census<K>,
    key: K,
}

impl<K> Clone for Census<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Census<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> Census<K> {
    /// Counts one more, if there are less than `most`; None: as many as there are.
    pub fn enter(&self, key: K, most: Option<u32>) -> Option<Counted<K>> {
        let mut here = self.lock();
        let count = here.entry(key.clone()).or_default();
        if most.is_some_and(|most| *count >= most) {
            return None; // its entry is there already, or `most` is 0, which no limit is
        }
        *count += 1;
        Some(Counted { census: self.clone(), key })
    }

    /// How many there are.
    pub fn count<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> u32
    where
        K: Borrow<Q>,
    {
        self.lock().get(key).copied().unwrap_or(0)
    }
}

impl<K> Census<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, u32, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut here = self.census.lock();
        if let Some(count) = here.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_there_may_be() {
        let census = Census::<Arc<str>>::default();
        let key = || Arc::from("a");
        let first = census.enter(key(), Some(2)).expect("room");
        let second = census.enter(key(), Some(2)).expect("room");
        assert!(census.enter(key(), Some(2)).is_none());
        assert!(census.enter("b".into(), Some(2)).is_some(), "others have their own limit");
        assert!(census.enter(key(), None).is_some(), "no limit, and it is dropped at once");
        assert_eq!(census.count("a"), 2);
        drop(first);
        assert!(census.enter(key(), Some(2)).is_some());
        drop(second);
        assert_eq!((census.count("a"), census.count("b")), (0, 0));
        assert!(census.lock().is_empty(), "nothing is kept of who is gone");
    }
}
