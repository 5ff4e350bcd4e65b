//! When each sensor next needs attention.
//!
//! A heap of deadlines, in which each sensor knows its place. Four entries share a parent, because
//! they lie side by side in memory: with 100,000 sensors that is three to four times as fast as a
//! tree. A timer wheel is faster still, but gives sensors of one tick in any order.
//!
//! Invariants:
//! - no entry is later than those below it;
//! - `places` has the place of each entry of `heap`, and of nothing else. So each sensor has at
//!   most one entry.

use core::time::Duration;

use model::SensorId;

use crate::{clock::Instant, sensors::Slot};

/// One deadline per sensor, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: Vec<Entry>,
    /// Of each slot: its place in the heap.
    places: Vec<u32>,
}

/// Sensors with the same deadline come in the order of their slots.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Entry {
    deadline: Instant,
    slot: Slot,
}

#[expect(
    clippy::indexing_slicing,
    reason = "places are within the heap, and slots within `places`"
)]
impl Schedule {
    /// Entries below one.
    const WIDTH: usize = 4;
    /// The place of a sensor without a deadline.
    const NOWHERE: u32 = u32::MAX;

    /// Replaces the deadline of a sensor; `None` removes it.
    pub(crate) fn arm(&mut self, slot: Slot, deadline: Option<Instant>) {
        if self.places.len() <= slot.index() {
            self.places.resize(slot.index() + 1, Self::NOWHERE);
        }
        let place = self.places[slot.index()];
        match deadline.map(|deadline| Entry { deadline, slot }) {
            None if place == Self::NOWHERE => {}
            None => self.remove(place as usize),
            Some(entry) if place == Self::NOWHERE => {
                self.heap.push(entry);
                self.rise(self.heap.len() - 1, entry);
            }
            Some(entry) => self.replace(place as usize, entry),
        }
    }

    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// The sensor whose deadline passed the longest ago, if any passed. It stays first until
    /// [`arm`](Self::arm) replaces its deadline.
    pub(crate) fn due(&self, now: Instant) -> Option<Slot> {
        self.heap.first().filter(|entry| entry.deadline <= now).map(|entry| entry.slot)
    }

    fn remove(&mut self, place: usize) {
        self.places[self.heap[place].slot.index()] = Self::NOWHERE;
        let Some(last) = self.heap.pop().filter(|_| place < self.heap.len()) else { return };
        self.replace(place, last);
    }

    fn replace(&mut self, place: usize, entry: Entry) {
        if entry < self.heap[place] {
            self.rise(place, entry);
        } else {
            self.sink(place, entry);
        }
    }

    /// Puts an entry at `place` or above.
    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 && entry < self.heap[(place - 1) / Self::WIDTH] {
            let above = (place - 1) / Self::WIDTH;
            self.put(place, self.heap[above]);
            place = above;
        }
        self.put(place, entry);
    }

    /// Puts an entry at `place` or below.
    fn sink(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = place * Self::WIDTH + 1;
            let below = first.min(self.heap.len())..(first + Self::WIDTH).min(self.heap.len());
            let Some(soonest) = below.min_by_key(|place| self.heap[*place]) else { break };
            if entry <= self.heap[soonest] {
                break;
            }
            self.put(place, self.heap[soonest]);
            place = soonest;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.slot.index()] = Slot::number(place);
    }
}

/// Spreads first polls, so that a fleet that appears together does not answer all at once. The
/// polls stay spread, because each sensor keeps its own schedule.
///
/// The first ones come one after the other. If more sensors appear than can be polled so within
/// [`CROWD`](Self::CROWD), each further one is first polled at its own point of its interval, which
/// follows from its id and is the same after each start.
#[derive(Debug, Default)]
pub(crate) struct FirstPolls {
    free_from: Instant,
}

impl FirstPolls {
    /// Time between two first polls.
    const SPACING: Duration = Duration::from_micros(500);
    /// Time within which a small fleet is polled first: 100 sensors.
    const CROWD: Duration = Duration::from_millis(50);
    /// Longest time until a first poll, whatever the interval: the reading of a sensor that is
    /// polled once a day comes today.
    const SPREAD_MAX: Duration = Duration::from_secs(60 * 60);

    /// Time of the first poll of a sensor that appears at `now`.
    pub(crate) fn next(&mut self, sensor: SensorId, interval: Duration, now: Instant) -> Instant {
        let slot = self.free_from.max(now);
        if slot.saturating_duration_since(now) < Self::CROWD {
            self.free_from = slot + Self::SPACING;
            return slot;
        }
        let spread = interval.min(Self::SPREAD_MAX).as_micros();
        // At most an hour in microseconds, of which the product is a share.
        let after = (u128::from(point(sensor)) * spread) >> u64::BITS;
        now + Duration::from_micros(u64::try_from(after).unwrap_or_default())
    }
}

/// Where a sensor lies between all others: a number that is spread evenly over all numbers even if
/// ids follow each other (the finaliser of MurmurHash3).
fn point(sensor: SensorId) -> u64 {
    let (high, low) = sensor.halves();
    let mut mixed = high ^ low.rotate_left(32);
    for multiplier in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(multiplier);
    }
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sensors_come_in_the_order_of_their_deadlines(
            inputs in prop::collection::vec((0_usize..40, prop::option::of(1_u64..100)), 0..200),
        ) {
            let at = |micros| Instant::after_start(Duration::from_micros(micros));
            let mut schedule = Schedule::default();
            let mut expected = BTreeMap::new();
            for (index, deadline) in inputs {
                let slot = Slot::new(index);
                schedule.arm(slot, deadline.map(at));
                match deadline {
                    Some(deadline) => expected.insert(slot, at(deadline)),
                    None => expected.remove(&slot),
                };
                prop_assert_eq!(schedule.soonest(), expected.values().min().copied());
            }
            let mut order: Vec<_> = expected.into_iter().map(|(slot, at)| (at, slot)).collect();
            order.sort();
            let none = order.first().and_then(|(soonest, _)| schedule.due(soonest.just_before()));
            prop_assert_eq!(none, None, "nothing is due before its deadline");
            for (deadline, slot) in order {
                prop_assert_eq!(schedule.due(deadline), Some(slot));
                schedule.arm(slot, None);
            }
            prop_assert_eq!(schedule.soonest(), None);
        }
    }
}
