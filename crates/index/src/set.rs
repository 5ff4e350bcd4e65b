//! Sets of places within a chunk, in memory and packed into blobs.
//!
//! A chunk has a fixed number of places. A packed set is a sorted list of 16-bit places, or one bit
//! for each place, whichever is smaller. So a frequent gram costs one bit for each term of the
//! chunk, and a rare one two bytes for each term that has it.

use std::ops::Range;

/// A set of places, with one bit for each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Set {
    words: Vec<u64>,
}

impl Set {
    /// An empty set for a chunk of `places` places, a multiple of 64.
    pub(crate) fn empty(places: usize) -> Self {
        Self { words: vec![0; places / 64] }
    }

    /// A set of all `places` places of a chunk.
    pub(crate) fn full(places: usize) -> Self {
        Self { words: vec![u64::MAX; places / 64] }
    }

    pub(crate) fn insert(&mut self, place: u16) {
        if let Some(word) = self.words.get_mut(usize::from(place) / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(crate) fn remove(&mut self, place: u16) {
        if let Some(word) = self.words.get_mut(usize::from(place) / 64) {
            *word &= !(1 << (place % 64));
        }
    }

    pub(crate) fn contains(&self, place: u16) -> bool {
        let word = self.words.get(usize::from(place) / 64).copied().unwrap_or_default();
        word >> (place % 64) & 1 == 1
    }

    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Keeps only places that are also in `other`.
    pub(crate) fn intersect(&mut self, other: &Self) {
        self.with(other, |own, other| own & other);
    }

    /// Adds the places of `other`.
    pub(crate) fn unite(&mut self, other: &Self) {
        self.with(other, |own, other| own | other);
    }

    /// Removes the places of `other`.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.with(other, |own, other| own & !other);
    }

    fn with(&mut self, other: &Self, combine: impl Fn(u64, u64) -> u64) {
        for (own, other) in self.words.iter_mut().zip(&other.words) {
            *own = combine(*own, *other);
        }
    }

    /// Keeps only places within the range.
    pub(crate) fn keep(&mut self, range: Range<u64>) {
        for (start, word) in (0..).step_by(64).zip(&mut self.words) {
            *word &= bits_within(start, &range);
        }
    }

    /// Adds all places within the range.
    pub(crate) fn fill(&mut self, range: Range<u64>) {
        let first = range.start / 64;
        let words = usize::try_from(first).ok().and_then(|first| self.words.get_mut(first..));
        let touched = range.end.div_ceil(64).saturating_sub(first);
        let words =
            words.unwrap_or_default().iter_mut().take(usize::try_from(touched).unwrap_or(0));
        for (start, word) in (first * 64..).step_by(64).zip(words) {
            *word |= bits_within(start, &range);
        }
    }

    /// The places, in ascending order.
    pub(crate) fn places(&self) -> impl DoubleEndedIterator<Item = u16> {
        let words = (0_u16..=u16::MAX).step_by(64).zip(&self.words);
        words.flat_map(|(start, word)| {
            let word = *word;
            // Most words of most sets are empty.
            let bits = if word == 0 { 0..0 } else { 0..64_u16 };
            bits.filter(move |bit| word >> bit & 1 == 1).map(move |bit| start + bit)
        })
    }

    /// Adds the places of a packed set.
    pub(crate) fn unite_packed(&mut self, packed: &[u8]) {
        if packed.len() == self.words.len() * 8 {
            for (own, other) in self.words.iter_mut().zip(packed.as_chunks().0) {
                *own |= u64::from_le_bytes(*other);
            }
        } else {
            for place in packed.as_chunks().0 {
                self.insert(u16::from_le_bytes(*place));
            }
        }
    }

    pub(crate) fn pack(&self) -> Vec<u8> {
        let len = self.len();
        if Self::is_sparse(len, self.words.len() * 64) {
            self.places().flat_map(u16::to_le_bytes).collect()
        } else {
            self.bits()
        }
    }

    /// One bit for each place.
    pub(crate) fn bits(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    const fn is_sparse(len: usize, places: usize) -> bool {
        len * 2 < places / 8
    }
}

/// The bits of a word, of which the first is for the place `start`, whose places are in the range.
fn bits_within(start: u64, range: &Range<u64>) -> u64 {
    let below = |end: u64| match end.saturating_sub(start) {
        bits @ 0..64 => (1 << bits) - 1,
        _ => u64::MAX,
    };
    below(range.end) & !below(range.start)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    const PLACES: usize = 4_096;

    fn places() -> impl Strategy<Value = BTreeSet<u16>> {
        prop_oneof![btree_set(0..4_096_u16, 0..20), btree_set(0..4_096_u16, 0..1_000)]
    }

    fn set_of(places: &BTreeSet<u16>) -> Set {
        let mut set = Set::empty(PLACES);
        places.iter().for_each(|place| set.insert(*place));
        set
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_does(a in places(), b in places(), from in 0..5_000_u64, len in 0..5_000_u64) {
            let (set_a, set_b) = (set_of(&a), set_of(&b));
            let sorted: Vec<u16> = a.iter().copied().collect();
            prop_assert_eq!(set_a.places().collect::<Vec<_>>(), &*sorted);
            prop_assert!(set_a.places().rev().eq(sorted.iter().rev().copied()));
            prop_assert_eq!(set_a.len(), a.len());
            prop_assert_eq!(set_a.is_empty(), a.is_empty());
            let combined = |combine: fn(&mut Set, &Set)| {
                let mut set = set_a.clone();
                combine(&mut set, &set_b);
                set.places().collect::<BTreeSet<_>>()
            };
            prop_assert_eq!(combined(Set::intersect), &a & &b);
            prop_assert_eq!(combined(Set::unite), &a | &b);
            prop_assert_eq!(combined(Set::subtract), &a - &b);
            let mut kept = set_a.clone();
            kept.keep(from..from + len);
            let expected = sorted.iter().copied().filter(|place| (from..from + len).contains(&u64::from(*place)));
            prop_assert!(kept.places().eq(expected));
            let mut filled = set_a.clone();
            filled.fill(from..from + len);
            let new = (from..from + len).filter_map(|place| u16::try_from(place).ok());
            let expected: BTreeSet<u16> = sorted.iter().copied().chain(new).collect();
            prop_assert!(filled.places().eq(expected.into_iter().filter(|place| usize::from(*place) < PLACES)));
        }

        #[test]
        fn packs_and_back(a in places(), b in places()) {
            let packed = set_of(&a).pack();
            prop_assert!(packed.len() <= PLACES / 8);
            let mut united = set_of(&b);
            united.unite_packed(&packed);
            prop_assert_eq!(united, set_of(&(&a | &b)));
        }
    }
}
