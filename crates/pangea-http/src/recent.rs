//! A map that forgets its oldest entries.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// The newest entries, up to a total weight. The owner sets the weight of each entry: one, or a
/// number of bytes.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    weight_max: usize,
    weight: usize,
    by_key: HashMap<K, (usize, V)>,
    /// Keys from the oldest to the newest.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { weight_max, weight: 0, by_key: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds an entry of weight one. If the key exists, its value is replaced, and its age stays.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.insert_weighing(1, key, value);
    }

    /// As [`Recent::insert`], with an entry of this weight.
    pub(crate) fn insert_weighing(&mut self, weight: usize, key: K, value: V) {
        self.weight += weight;
        match self.by_key.insert(key.clone(), (weight, value)) {
            Some((before, _)) => self.weight -= before,
            None => self.order.push_back(key),
        }
        while self.weight > self.weight_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.weight -= self.by_key.remove(&oldest).map_or(0, |(weight, _)| weight);
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    /// Entries from the oldest to the newest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| Some((key, self.get(key)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut recent = Recent::new(2);
        for (key, value) in [(1, 'a'), (2, 'b'), (1, 'c'), (3, 'd')] {
            recent.insert(key, value);
        }
        assert_eq!(
            (recent.get(&1), recent.get(&2), recent.get(&3)),
            (None, Some(&'b'), Some(&'d'))
        );
        assert!(recent.iter().eq([(&2, &'b'), (&3, &'d')]));
        recent.insert_weighing(2, 4, 'e');
        assert!(recent.iter().eq([(&4, &'e')]));
    }
}
