//! What the sensors of one connection do next. No IO and no clock: time is that of the run.

use core::{cmp::Ordering, time::Duration};
use std::collections::BinaryHeap;

/// Answers that wait on one connection: a thousand sensors' for ten seconds, at a poll a second.
/// Further ones are not sent, and counted.
pub(crate) const ANSWERS_MAX: usize = 10_000;

/// Things to do, the soonest first. What is due at the same time is done in the order in which it
/// was added.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Entry>,
    added: u64,
    /// Answers among the entries.
    answers: usize,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum What {
    Heartbeat,
    Flood,
    Answer { payload: Vec<u8>, purpose: Purpose },
}

/// Why an answer is sent, which decides how it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// To answer a poll in time.
    Answer,
    /// To answer a poll that the poller has given up.
    LateAnswer,
    /// To answer a poll that the sensor with the same id has answered.
    Double,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    order: u64,
    /// Number of the device.
    device: usize,
    what: What,
}

impl Agenda {
    /// Adds something that is due at this time. `Err` gives an answer back for which there is no
    /// room.
    pub(crate) fn add(&mut self, at: Duration, device: usize, what: What) -> Result<(), What> {
        if matches!(what, What::Answer { .. }) {
            if self.answers == ANSWERS_MAX {
                return Err(what);
            }
            self.answers += 1;
        }
        self.entries.push(Entry { at, order: self.added, device, what });
        self.added += 1;
        Ok(())
    }

    pub(crate) fn soonest(&self) -> Option<Duration> {
        self.entries.peek().map(|entry| entry.at)
    }

    /// Takes the answers out. Returns the device of each.
    pub(crate) fn take_answers(&mut self) -> Vec<usize> {
        let is_answer = |entry: &Entry| matches!(entry.what, What::Answer { .. });
        let devices = self.entries.iter().filter(|entry| is_answer(entry));
        let devices = devices.map(|entry| entry.device).collect();
        self.entries.retain(|entry| !is_answer(entry));
        self.answers = 0;
        devices
    }

    /// The next thing that is due at this time: when it was, whose it is, and what.
    pub(crate) fn due(&mut self, now: Duration) -> Option<(Duration, usize, What)> {
        self.soonest().filter(|at| *at <= now)?;
        let Entry { at, device, what, .. } = self.entries.pop()?;
        self.answers -= usize::from(matches!(what, What::Answer { .. }));
        Some((at, device, what))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap has the greatest first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soonest_comes_first_and_of_two_the_one_added_first() {
        let mut agenda = Agenda::default();
        let seconds = Duration::from_secs;
        for (at, device) in [(3, 0), (1, 1), (2, 2), (1, 3)] {
            agenda.add(seconds(at), device, What::Heartbeat).unwrap();
        }
        let due = std::iter::from_fn(|| agenda.due(seconds(2)).map(|(_, device, _)| device));
        assert_eq!(due.collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(agenda.soonest(), Some(seconds(3)));
    }

    #[test]
    fn answers_that_wait_have_a_limit_and_nothing_else_has() {
        let mut agenda = Agenda::default();
        let answer = || What::Answer { payload: vec![1], purpose: Purpose::Answer };
        (0..ANSWERS_MAX).for_each(|_| agenda.add(Duration::ZERO, 0, answer()).unwrap());
        assert_eq!(agenda.add(Duration::ZERO, 0, answer()), Err(answer()));
        agenda.add(Duration::ZERO, 0, What::Heartbeat).unwrap();
        assert!(agenda.due(Duration::ZERO).is_some());
        assert_eq!(agenda.add(Duration::ZERO, 0, answer()), Ok(()));
        assert_eq!(agenda.take_answers(), vec![0; ANSWERS_MAX]);
        let (_, _, left) = agenda.due(Duration::ZERO).unwrap();
        assert_eq!((left, agenda.due(Duration::ZERO).is_none()), (What::Heartbeat, true));
        assert_eq!(agenda.add(Duration::ZERO, 0, answer()), Ok(()), "there is room again");
    }
}
