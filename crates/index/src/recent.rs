//! A map that forgets what was not used for long.

use std::{collections::HashMap, hash::Hash};

/// Keeps at least the `max / 2` entries that were used last, and at most `max`. When the newer half
/// is full, the older half is dropped.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    max: usize,
}

impl<K: Eq + Hash, V: Copy> Recent<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), max }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.newer.get(key) {
            return Some(*value);
        }
        let (key, value) = self.older.remove_entry(key)?;
        self.insert(key, value);
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.newer.len() >= self.max / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
    }

    pub(crate) fn clear(&mut self) {
        (self.newer, self.older) = (HashMap::new(), HashMap::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut recent = Recent::new(8);
        for number in 0..100 {
            recent.insert(number, number * 2);
            assert_eq!(recent.get(&0), Some(0), "it is used all the time");
            assert!(recent.newer.len() + recent.older.len() <= 8);
        }
        assert_eq!(
            (recent.get(&99), recent.get(&97), recent.get(&50)),
            (Some(198), Some(194), None)
        );
        recent.clear();
        assert_eq!(recent.get(&0), None);
    }
}
