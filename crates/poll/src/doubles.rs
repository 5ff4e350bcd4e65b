//! Recognises several devices with one id.
//!
//! A device that is replaced or restarted shows a new mark (its addresses, or its start), and the
//! former one never comes back. Of several devices, each comes back after the others.

use core::time::Duration;
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use model::Heartbeat;

use crate::clock::Instant;

/// The marks that a sensor showed last.
#[derive(Debug)]
pub(crate) struct Alternation {
    newest: u64,
    /// The marks before it, each with the time at which it gave way, the newest last.
    before: VecDeque<(u64, Instant)>,
    /// Times that a mark came back, one after the other.
    returns: u8,
}

impl Alternation {
    /// Returns that show several devices: two of them have come back. One return may be a device
    /// with two interfaces whose first one failed.
    const RETURNS: u8 = 2;
    /// Time within which a device comes back: two and a half of the slowest heartbeat intervals.
    const WITHIN: Duration = Duration::from_secs(150);
    /// Most former marks that are remembered: those of a batch of devices with one configuration.
    const BEFORE_MAX: usize = 64;

    pub(crate) const fn of(mark: u64) -> Self {
        Self { newest: mark, before: VecDeque::new(), returns: 0 }
    }

    /// Takes the next mark. Returns whether there are several devices.
    pub(crate) fn see(&mut self, mark: u64, now: Instant) -> bool {
        if mark == self.newest {
            return false;
        }
        self.before.retain(|(_mark, since)| now.saturating_duration_since(*since) <= Self::WITHIN);
        let place = self.before.iter().position(|(before, _since)| *before == mark);
        let is_back = place.and_then(|place| self.before.remove(place)).is_some();
        self.returns = if is_back { self.returns.saturating_add(1) } else { 0 };
        if self.before.len() == Self::BEFORE_MAX {
            self.before.pop_front();
        }
        self.before.push_back((self.newest, now));
        self.newest = mark;
        self.returns >= Self::RETURNS
    }
}

/// What tells the device that sent a heartbeat from another one with the same id.
pub(crate) fn mark_of(heartbeat: &Heartbeat) -> u64 {
    let Heartbeat { mac_addr, public_key, poll_topic, read_topic, .. } = heartbeat;
    mark((mac_addr, public_key, poll_topic.as_str(), read_topic.as_str()))
}

/// A number that is another one for anything else, within a run.
pub(crate) fn mark(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(seconds_and_marks: &[(u64, u64)]) -> bool {
        let mut marks = seconds_and_marks.iter();
        let mut seen = Alternation::of(marks.next().unwrap().1);
        marks.any(|(second, mark)| {
            seen.see(*mark, Instant::after_start(Duration::from_secs(*second)))
        })
    }

    #[test]
    fn three_devices_and_more_take_turns() {
        assert!(finds(&[(0, 1), (10, 2), (20, 3), (30, 1), (40, 2)]));
        let batch = |devices: u64| {
            let turns: Vec<(u64, u64)> =
                (0..3 * devices).map(|turn| (turn * 30 / devices, turn % devices)).collect();
            finds(&turns)
        };
        let most = Alternation::BEFORE_MAX as u64 + 1;
        assert!(batch(4) && batch(most));
        assert!(!batch(most + 1), "so many are not remembered");
    }

    #[test]
    fn two_devices_are_those_that_come_back_after_each_other() {
        assert!(finds(&[(0, 1), (10, 2), (45, 1), (65, 2)]), "55 s after the second's first");
        assert!(!finds(&[(0, 1), (10, 2), (45, 2), (65, 2)]), "it was replaced");
        assert!(!finds(&[(0, 1), (10, 2), (45, 1), (65, 1)]), "an interface failed for a while");
        assert!(!finds(&[(0, 1), (10, 2), (45, 3), (65, 4)]), "each start has another mark");
        assert!(!finds(&[(0, 1), (10, 2), (200, 1), (220, 2), (500, 1)]), "days between them");
    }
}
