//! The selection of a bundle: a span of the log, and in it all events or those of one sensor.

use std::str::FromStr;

use model::{Envelope, SensorId, Timestamp, action};

use crate::{
    ranges::LeafRanges,
    reader::LogReader,
    stored::{ReadError, StoredEnvelope},
};

/// Most envelopes in one read of a search.
const LOOK_LEAVES: usize = 4_096;
/// Most bytes of envelopes in one read of a search.
const LOOK_BYTES: usize = 4 << 20;

/// Selects rows of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Beginning of the span; the beginning of the log if it is `None`.
    pub from: Option<Bound>,
    /// End of the span, excluded; the end of the checkpoint if it is `None`.
    pub to: Option<Bound>,
    /// Selects events of this sensor only.
    pub sensor: Option<SensorId>,
}

/// An end of a span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// At the first leaf that the site received at this moment or later.
    At(Timestamp),
    /// At the leaf with this index.
    Leaf(u64),
}

impl Bound {
    /// The moment, if the bound is one.
    pub(super) const fn moment(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Leaf(_) => None,
        }
    }

    /// The leaf at which this bound cuts the log.
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

/// The text is neither a time nor a leaf.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is neither a time nor a leaf: use RFC 3339 such as 2026-11-23T19:01:23Z, or leaf:123"
)]
pub struct InvalidBound {
    text: String,
}

/// Whether an envelope beyond the end of a span shows that nothing is missing up to it. In a span
/// of all events, every envelope does. In a span of one sensor, the envelope must be of the sensor
/// and number its polls.
pub(super) fn shows_edge(envelope: &[u8], sensor: Option<SensorId>) -> bool {
    let numbers = [action::SENSOR_READING, action::READINGS_MISSING];
    sensor.is_none()
        || (numbers.iter().any(|action| Envelope::has_action(envelope, action))
            && Envelope::parse(envelope).is_ok_and(|it| it.event.sensor() == sensor))
}

/// The leaves that an envelope orders to be erased, if it orders an erasure.
pub(super) fn order(envelope: &[u8]) -> Option<LeafRanges> {
    if !Envelope::has_action(envelope, action::ENVELOPES_ERASED) {
        return None;
    }
    Envelope::parse(envelope).ok()?.event.sealwire?.erased?.parse().ok()
}

/// The first leaf that the site received at this moment or later. Erased leaves just before it are
/// included, because their times are unknown.
///
/// # Errors
/// The log cannot be read.
pub fn first_received_from(log: &LogReader, at: Timestamp) -> Result<u64, ReadError> {
    let at = at.to_string();
    let (mut low, mut high) = (0, log.size());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut received_at = String::new();
        let is_present = |envelope: &[u8]| {
            Envelope::received_at_of(envelope).unwrap_or_default().clone_into(&mut received_at);
            true
        };
        match next_from(log, middle, high, is_present)? {
            Some(leaf) if received_at < at => low = leaf + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first leaf from `from` up to `end` whose envelope `is_wanted` accepts.
pub(super) fn next_from(
    log: &LogReader,
    mut from: u64,
    end: u64,
    mut is_wanted: impl FnMut(&[u8]) -> bool,
) -> Result<Option<u64>, ReadError> {
    // The leaf is almost always near, so begin with one.
    let mut count = 1;
    while from < end {
        let left = usize::try_from(end - from).unwrap_or(LOOK_LEAVES);
        for StoredEnvelope { leaf, bytes } in log.envelopes(from, left.min(count), LOOK_BYTES)? {
            if bytes.is_some_and(|bytes| is_wanted(&bytes)) {
                return Ok(Some(leaf));
            }
            from = leaf + 1;
        }
        count = LOOK_LEAVES;
    }
    Ok(None)
}

/// The last leaf before `before` whose envelope `is_wanted` accepts.
pub(super) fn last_before(
    log: &LogReader,
    before: u64,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<u64>, ReadError> {
    let (mut end, mut count) = (before, 1);
    while end > 0 {
        let begin = end.saturating_sub(count);
        let (mut from, mut last) = (begin, None);
        while let Some(leaf) = next_from(log, from, end, &is_wanted)? {
            (from, last) = (leaf + 1, Some(leaf));
        }
        if last.is_some() {
            return Ok(last);
        }
        (end, count) = (begin, LOOK_LEAVES as u64);
    }
    Ok(None)
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
