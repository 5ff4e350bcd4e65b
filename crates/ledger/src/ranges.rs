//! Sets of leaves, in the notation of page numbers: `12-40,57`.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};

/// A set of leaves as ranges. The ranges are in order, not empty, and do not touch.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeafRanges(Vec<Range<u64>>);

impl LeafRanges {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a leaf. It must not come before the last leaf of the set; adding that leaf again
    /// changes nothing.
    pub fn push(&mut self, leaf: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == leaf => last.end += 1,
            Some(last) if last.end > leaf => {}
            _ => self.0.push(leaf..leaf + 1),
        }
    }

    /// The set of these leaves, given in any order.
    #[must_use]
    pub fn from_leaves(mut leaves: Vec<u64>) -> Self {
        leaves.sort_unstable();
        let mut ranges = Self::new();
        leaves.into_iter().for_each(|leaf| ranges.push(leaf));
        ranges
    }

    /// Whether the set has a leaf.
    #[must_use]
    pub fn contains(&self, leaf: u64) -> bool {
        let after = self.0.partition_point(|range| range.start <= leaf);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|range| leaf < range.end)
    }

    /// Whether the set has any leaf of `range`.
    #[must_use]
    pub fn overlap(&self, range: &Range<u64>) -> bool {
        let next = self.0.partition_point(|own| own.end <= range.start);
        self.0.get(next).is_some_and(|own| own.start < range.end)
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// The leaves in order.
    pub fn leaves(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(Clone::clone)
    }

    /// Number of leaves.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether the set has no leaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The index after the last leaf; 0 if the set is empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// The leaves of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::merged(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The set of the leaves of these ranges. They may be in any order; none may be empty.
    fn merged(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Splits the set into sets of at most `ranges_max` ranges.
    pub fn chunks(&self, ranges_max: usize) -> impl Iterator<Item = Self> {
        self.0.chunks(ranges_max).map(|ranges| Self(ranges.to_vec()))
    }
}

impl fmt::Display for LeafRanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, range) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let last = range.end - 1;
            if range.start == last {
                write!(formatter, "{comma}{last}")?;
            } else {
                write!(formatter, "{comma}{}-{last}", range.start)?;
            }
        }
        Ok(())
    }
}

impl From<LeafRanges> for String {
    fn from(ranges: LeafRanges) -> Self {
        ranges.to_string()
    }
}

impl TryFrom<String> for LeafRanges {
    type Error = InvalidRanges;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for LeafRanges {
    type Err = InvalidRanges;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || InvalidRanges { text: text.chars().take(64).collect() };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u64 = first.trim().parse().map_err(|_| refused())?;
            let last: u64 = last.trim().parse().map_err(|_| refused())?;
            // JSON carries integers below 2^53 exactly. That is also far below the end of u64, so
            // adding to a leaf cannot overflow.
            if first > last || last >= 1 << 53 {
                return Err(refused());
            }
            ranges.push(first..last + 1);
        }
        Ok(Self::merged(ranges))
    }
}

/// The text does not name a set of leaves.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is not a list of leaves: use numbers and ranges separated by commas, such as 12-40,57"
)]
pub struct InvalidRanges {
    text: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_set_is_what_its_text_says(leaves in vec(0..60_u64, 1..40), others in vec(0..60_u64, 0..40)) {
            let set: BTreeSet<u64> = leaves.iter().copied().collect();
            let ranges = LeafRanges::from_leaves(leaves);
            prop_assert!(ranges.leaves().eq(set.iter().copied()));
            prop_assert_eq!(ranges.count(), set.len() as u64);
            prop_assert_eq!(&ranges.to_string().parse::<LeafRanges>().unwrap(), &ranges);
            for leaf in 0..61 {
                prop_assert_eq!(ranges.contains(leaf), set.contains(&leaf));
                prop_assert_eq!(ranges.overlap(&(leaf..leaf + 3)), set.range(leaf..leaf + 3).next().is_some());
            }
            let both: BTreeSet<u64> = set.iter().chain(&others).copied().collect();
            let others = LeafRanges::from_leaves(others);
            prop_assert!(ranges.union(&others).leaves().eq(both.iter().copied()));
            let parts = ranges.chunks(2).fold(LeafRanges::new(), |all, part| all.union(&part));
            prop_assert_eq!(parts, ranges);
        }
    }

    #[test]
    fn what_names_no_leaves_is_refused() {
        for text in ["", "a", "5-3", "1,,2", "-", "1-", "9007199254740992"] {
            assert!(text.parse::<LeafRanges>().is_err(), "{text}");
        }
        assert_eq!("7, 1-3,2-5".parse::<LeafRanges>().unwrap().to_string(), "1-5,7");
    }
}
