//! What a fleet sent, to hold against what a site sealed.

use std::collections::BTreeMap;

use model::{Protocol, SensorId};
use serde::Serialize;

/// What one sensor did, or the sensors of one kind, or those of a whole fleet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Number of sensors.
    pub sensors: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Polls received.
    pub polls: u64,
    /// Polls answered in time, wrong answers included. Answers that were on their way when a
    /// connection broke may be lost.
    pub answers: u64,
    /// Polls that a sensor left unanswered.
    pub silences: u64,
    /// Polls answered so late that the poller has given them up.
    pub late: u64,
    /// Second answers to a poll, by a second device with the same id.
    pub doubles: u64,
    /// Messages that nobody asked for.
    pub floods: u64,
    /// Messages that could not be sent, because the server took none for too long or the connection
    /// broke before.
    pub unsent: u64,
    /// Answers sent so shortly before a connection broke that they may be lost.
    pub at_risk: u64,
}

/// What one sensor did.
#[derive(Clone, Debug)]
pub struct SensorCounts {
    /// Index of the sensor in the fleet.
    pub index: u32,
    /// UUID of the sensor.
    pub id: SensorId,
    /// Name of the sensor.
    pub alias: String,
    /// The quantity that it measures.
    pub quantity: &'static str,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// What it did.
    pub counts: Counts,
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
    /// Polls without an answer in time.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.silences + self.late
    }

    fn add(&mut self, other: Self) {
        self.sensors += other.sensors;
        self.heartbeats += other.heartbeats;
        self.polls += other.polls;
        self.answers += other.answers;
        self.silences += other.silences;
        self.late += other.late;
        self.doubles += other.doubles;
        self.floods += other.floods;
        self.unsent += other.unsent;
        self.at_risk += other.at_risk;
    }
}

impl Tally {
    /// The sums of what sensors did.
    #[must_use]
    pub fn of(sensors: &[SensorCounts]) -> Self {
        let mut tally = Self::default();
        for SensorCounts { quantity, counts, .. } in sensors {
            tally.kinds.entry(quantity).or_default().add(*counts);
            tally.all.add(*counts);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::SensorSpec;

    #[test]
    fn the_whole_is_the_sum_of_its_kinds() {
        let of = |by: u64| Counts {
            sensors: by,
            heartbeats: 2 * by,
            polls: 3 * by,
            answers: 4 * by,
            silences: 5 * by,
            late: 6 * by,
            doubles: 7 * by,
            floods: 8 * by,
            unsent: 9 * by,
            at_risk: 10 * by,
        };
        let sensor = |index, quantity, by| SensorCounts {
            index,
            id: SensorSpec::at(index).id,
            alias: SensorSpec::at(index).alias,
            quantity,
            protocol: Protocol::Nats,
            counts: of(by),
        };
        let sensors = [sensor(0, "flow", 1), sensor(1, "flow", 10), sensor(2, "smoke", 100)];
        let tally = Tally::of(&sensors);
        assert_eq!(tally.all, of(111));
        assert_eq!(tally.kinds["flow"], of(11));
        assert_eq!(tally.kinds.len(), 2);
        assert_eq!(of(1).misses(), 11);
    }
}
