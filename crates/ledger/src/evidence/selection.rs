//! What is asked for: a span of the log, and in it all events or those of one sensor.

use std::str::FromStr;

use model::{Envelope, SensorId, Timestamp, action};

use crate::{
    ranges::LeafRanges,
    reader::LogReader,
    stored::{ReadError, StoredEnvelope},
};

/// Envelopes read at once in search of one.
const LOOK_LEAVES: usize = 4_096;
/// Bytes of them.
const LOOK_BYTES: usize = 4 << 20;

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

/// Whether an envelope beyond the end of a span shows that nothing is missing up to it. Where all
/// events were asked for, any does; of one sensor it takes one that numbers its polls.
pub(super) fn shows_edge(envelope: &[u8], sensor: Option<SensorId>) -> bool {
    let numbers = [action::SENSOR_READING, action::READINGS_MISSING];
    sensor.is_none()
        || (numbers.iter().any(|action| Envelope::has_action(envelope, action))
            && Envelope::parse(envelope).is_ok_and(|it| it.event.sensor() == sensor))
}

/// The leaves that an envelope orders to be erased, if it does.
pub(super) fn order(envelope: &[u8]) -> Option<LeafRanges> {
    if !Envelope::has_action(envelope, action::ENVELOPES_ERASED) {
        return None;
    }
    Envelope::parse(envelope).ok()?.event.sealwire?.erased?.parse().ok()
}

/// The first leaf that was received at this moment or later. Leaves that were erased in front of it
/// count with it: nobody knows any more.
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

/// The first leaf from `from` up to `end` with an envelope that is wanted.
pub(super) fn next_from(
    log: &LogReader,
    mut from: u64,
    end: u64,
    mut is_wanted: impl FnMut(&[u8]) -> bool,
) -> Result<Option<u64>, ReadError> {
    // Almost always it is near.
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

/// The last leaf before `before` with an envelope that is wanted.
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
