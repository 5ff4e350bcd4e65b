//! What is asked for: a span of the log, and in it all events or those of one sensor.

use std::str::FromStr;

use model::{Envelope, SensorId, Timestamp};

use crate::{LogReader, ReadError, StoredEnvelope};

/// Envelopes read at once in search of one that was not erased.
const LOOK_LEAVES: usize = 256;

/// Which rows of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// From here on; from the log's begin where it is `None`.
    pub from: Option<Bound>,
    /// Up to here, this one left out; up to the checkpoint where it is `None`.
    pub to: Option<Bound>,
    /// Events of this sensor only.
    pub sensor: Option<SensorId>,
}

/// Where a span begins or ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// At the first leaf that was received at this moment or later.
    At(Timestamp),
    /// At this leaf.
    Leaf(u64),
}

impl Bound {
    /// The moment, if it is one.
    pub(super) const fn moment(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Leaf(_) => None,
        }
    }

    /// The leaf at which a log is cut here.
    pub(super) fn leaf(self, log: &LogReader) -> Result<u64, ReadError> {
        match self {
            Self::Leaf(leaf) => Ok(leaf),
            Self::At(at) => first_received_from(log, at),
        }
    }
}

impl FromStr for Bound {
    type Err = InvalidBound;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || InvalidBound { text: text.chars().take(64).collect() };
        match text.strip_prefix("leaf:") {
            Some(leaf) => leaf.parse().map(Self::Leaf).map_err(|_| refused()),
            None => text.parse().map(Self::At).map_err(|_| refused()),
        }
    }
}

/// A text that says neither a time nor a leaf.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is neither a time nor a leaf: use RFC 3339 such as 2026-11-23T19:01:23Z, or leaf:123"
)]
pub struct InvalidBound {
    text: String,
}

/// The first leaf that was received at this moment or later. Leaves that were erased in front of it count with it: nobody knows any more.
fn first_received_from(log: &LogReader, at: Timestamp) -> Result<u64, ReadError> {
    let at = at.to_string();
    let (mut low, mut high) = (0, log.size());
    while low < high {
        let middle = low + (high - low) / 2;
        match present_from(log, middle, high)? {
            Some((leaf, received_at)) if received_at < at => low = leaf + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first leaf from `from` up to `end` that was not erased, and when it was received.
pub(super) fn present_from(
    log: &LogReader,
    mut from: u64,
    end: u64,
) -> Result<Option<(u64, String)>, ReadError> {
    // Almost always it is the very first.
    let mut count = 1;
    while from < end {
        let stored = log.envelopes(from, count, usize::MAX)?;
        from += stored.len() as u64;
        count = LOOK_LEAVES;
        if let Some(present) = stored.into_iter().find_map(received).filter(|(leaf, _)| *leaf < end)
        {
            return Ok(Some(present));
        }
    }
    Ok(None)
}

/// The last leaf before `before` that was not erased; the genesis entry never is.
pub(super) fn present_before(log: &LogReader, before: u64) -> Result<u64, ReadError> {
    let mut end = before;
    while end > 0 {
        let begin = end.saturating_sub(if end == before { 1 } else { LOOK_LEAVES as u64 });
        let mut leaf = begin;
        let mut last = None;
        while leaf < end {
            let count = usize::try_from(end - leaf).unwrap_or(LOOK_LEAVES);
            let stored = log.envelopes(leaf, count, usize::MAX)?;
            leaf += stored.len() as u64;
            last = stored.into_iter().filter_map(received).next_back().or(last);
        }
        if let Some((leaf, _)) = last {
            return Ok(leaf);
        }
        end = begin;
    }
    Ok(0)
}

fn received(stored: StoredEnvelope) -> Option<(u64, String)> {
    let received_at = Envelope::received_at_of(stored.bytes.as_deref()?).unwrap_or_default();
    Some((stored.leaf, received_at.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_time_or_a_leaf() {
        assert_eq!("leaf:12".parse(), Ok(Bound::Leaf(12)));
        let at = "2026-11-01T00:00:00Z";
        assert_eq!(at.parse(), Ok(Bound::At(at.parse().unwrap())));
        for text in ["", "12", "leaf:", "leaf:-1", "leaf: 1", "yesterday", "2026-11-01"] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
    }
}
