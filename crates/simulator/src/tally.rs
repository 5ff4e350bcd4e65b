//! What a fleet sent, to hold against what a site sealed.

use std::collections::BTreeMap;

use serde::Serialize;

/// What the sensors of one kind did, or those of a whole fleet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Number of sensors.
    pub sensors: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Polls received.
    pub polls: u64,
    /// Answers sent. Those that were on their way when a connection broke may be lost.
    pub answers: u64,
    /// Polls that a faulty sensor left unanswered.
    pub silences: u64,
    /// Messages that could not be sent, because the server took none for too long.
    pub unsent: u64,
}

/// What a fleet sent, by the quantity that its sensors measure.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// The sum of all kinds.
    #[serde(flatten)]
    pub all: Counts,
    /// The counts of each kind.
    pub kinds: BTreeMap<&'static str, Counts>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.sensors += other.sensors;
        self.heartbeats += other.heartbeats;
        self.polls += other.polls;
        self.answers += other.answers;
        self.silences += other.silences;
        self.unsent += other.unsent;
    }
}

impl Tally {
    pub(crate) fn add(&mut self, quantity: &'static str, counts: Counts) {
        self.kinds.entry(quantity).or_default().add(counts);
        self.all.add(counts);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (quantity, counts) in &other.kinds {
            self.add(quantity, *counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_the_sum_of_its_kinds() {
        let of = |sensors, heartbeats, polls, answers, silences, unsent| Counts {
            sensors,
            heartbeats,
            polls,
            answers,
            silences,
            unsent,
        };
        let mut tally = Tally::default();
        tally.add("flow", of(1, 2, 3, 4, 5, 6));
        let mut other = Tally::default();
        other.add("flow", of(10, 20, 30, 40, 50, 60));
        other.add("smoke", of(100, 200, 300, 400, 500, 600));
        tally.merge(&other);
        assert_eq!(tally.all, of(111, 222, 333, 444, 555, 666));
        assert_eq!(tally.kinds["flow"], of(11, 22, 33, 44, 55, 66));
        assert_eq!(tally.kinds.len(), 2);
    }
}
