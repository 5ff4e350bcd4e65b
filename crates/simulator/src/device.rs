//! One device of a run: a sensor with its faults, and what it has done. No IO and no clock.
//!
//! Time is that of the run, from its begin.

use core::time::Duration;

use model::{Subject, Timestamp};

use crate::{
    faults::{Faults, Own},
    lateness::Due,
    sensor::{Sender, Sensor},
    tally::Counts,
};

/// A sensor of a run.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) sensor: Sensor,
    /// Where it gets polls.
    pub(crate) polled: Subject,
    /// Where it sends answers.
    pub(crate) read: Subject,
    pub(crate) counts: Counts,
    faults: Own,
    /// Times that it has started again.
    boots: u64,
    /// Polls before it last started. Its own numbers begin anew then.
    polls_before_boot: u64,
    /// Heartbeats so far, those that could not be sent included.
    heartbeats: u64,
    due: Due,
    /// An answer that comes no earlier than this after its poll counts as a miss.
    late_after: Duration,
}

/// How a device answers a poll.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Reaction {
    Silence,
    Answer {
        after: Duration,
        /// The answer, and then that of a second device with the same id.
        payloads: (Vec<u8>, Option<Vec<u8>>),
        /// Whether it comes too late to count.
        is_late: bool,
    },
}

impl Device {
    pub(crate) fn new(sensor: Sensor, faults: &Faults, answer_timeout: Duration) -> Self {
        let subject = |text: String| Subject::parse(&text).expect("it is of three plain words");
        let spec = sensor.spec();
        Self {
            polled: subject(sensor.poll_subject()),
            read: subject(sensor.read_subject()),
            faults: faults.of(spec, sensor.seed()),
            late_after: answer_timeout.min(spec.poll_interval),
            sensor,
            counts: Counts { sensors: 1, ..Counts::default() },
            due: Due::default(),
            boots: 0,
            polls_before_boot: 0,
            heartbeats: 0,
        }
    }

    pub(crate) const fn faults(&self) -> &Own {
        &self.faults
    }

    /// Takes a poll that arrives at this time of the run, and of the day.
    pub(crate) fn handle_poll(
        &mut self,
        faults: &Faults,
        elapsed: Duration,
        now: Timestamp,
    ) -> Reaction {
        self.boot(faults, elapsed);
        let of = self.of();
        self.counts.polls += 1;
        let poll = self.counts.polls;
        let treatment = faults.treatment(&self.faults, of, poll, elapsed);
        let is_off = faults.off_until(&self.faults, of, elapsed).is_some();
        if is_off || treatment.is_silent || self.sensor.is_silent_at(poll) {
            self.counts.silences += 1;
            return Reaction::Silence;
        }
        let seq = poll - self.polls_before_boot;
        let clock =
            Timestamp::from_unix_micros(now.unix_micros().saturating_add(treatment.clock_micros));
        // What is stuck shows the value from before the first poll.
        let measured = if treatment.is_stuck { 0 } else { poll };
        let payload = |sender| {
            let value = self.sensor.value(sender, measured) + treatment.drift;
            self.sensor.answer(value, seq, clock)
        };
        let own = treatment
            .wrong
            .map_or_else(|| payload(Sender::Sensor), |wrong| wrong.as_bytes().to_vec());
        let is_doubled = faults.is_doubled(&self.faults, elapsed);
        let double = is_doubled.then(|| payload(Sender::Double));
        Reaction::Answer {
            after: treatment.delay,
            payloads: (own, double),
            is_late: treatment.delay >= self.late_after,
        }
    }

    /// How late a poll is that arrives at this time of the run, once the sensor has settled.
    pub(crate) fn lateness(&mut self, elapsed: Duration) -> Option<Duration> {
        self.due.handle_poll(elapsed, self.sensor.spec().poll_interval)
    }

    /// The heartbeats that are due now, and when the next ones are. A sensor that is off sends
    /// none, and one that starts sends one at once.
    pub(crate) fn heartbeats(
        &mut self,
        faults: &Faults,
        elapsed: Duration,
    ) -> (Vec<Vec<u8>>, Duration) {
        self.boot(faults, elapsed);
        let of = self.of();
        if let Some(until) = faults.off_until(&self.faults, of, elapsed) {
            return (Vec::new(), until);
        }
        self.heartbeats += 1;
        let next = elapsed + self.sensor.heartbeat_delay(self.heartbeats);
        let boot = faults.next_boot(&self.faults, of, elapsed);
        let mut heartbeats = vec![self.sensor.heartbeat(Sender::Sensor)];
        if faults.is_doubled(&self.faults, elapsed) {
            heartbeats.push(self.sensor.heartbeat(Sender::Double));
        }
        (heartbeats, boot.map_or(next, |boot| next.min(boot)))
    }

    /// Messages a second that it sends unasked now, and when that changes.
    pub(crate) fn flood(&self, faults: &Faults, elapsed: Duration) -> (u32, Option<Duration>) {
        let per_second = faults.flood_per_second(&self.faults, elapsed);
        (per_second, faults.next_flood_change(&self.faults, elapsed))
    }

    /// What it sends unasked: a value, without a number of its own.
    pub(crate) fn flooding(&self) -> Vec<u8> {
        format!("{:.2}", self.sensor.value(Sender::Sensor, 0)).into_bytes()
    }

    /// Notices whether it has started again since the last look.
    fn boot(&mut self, faults: &Faults, elapsed: Duration) {
        let boots = faults.boots(&self.faults, self.of(), elapsed);
        if boots != self.boots {
            (self.boots, self.polls_before_boot) = (boots, self.counts.polls);
        }
    }

    const fn of(&self) -> (u64, u32) {
        (self.sensor.seed(), self.sensor.spec().index)
    }
}

#[cfg(test)]
mod tests {
    use model::{Answer, Protocol, SensorId, ToldTime};

    use super::*;
    use crate::fleet::SensorSpec;

    /// The sensor at `index` with these faults.
    struct Run {
        faults: Faults,
        device: Device,
    }

    impl Run {
        fn new(index: u32, faults: &str) -> Self {
            let faults: Faults = faults.parse().unwrap();
            let sensor = Sensor::new(SensorSpec::at(index), 7, Protocol::Nats);
            let device = Device::new(sensor, &faults, Duration::from_millis(500));
            Self { faults, device }
        }

        /// The answers to a poll at this second of the run.
        fn poll(&mut self, at: f64) -> Vec<Answer> {
            let now = Timestamp::from_unix_micros(1_795_460_483_000_000);
            let elapsed = Duration::from_secs_f64(at);
            match self.device.handle_poll(&self.faults, elapsed, now) {
                Reaction::Silence => Vec::new(),
                Reaction::Answer { payloads: (own, double), .. } => {
                    let payloads = [Some(own), double].into_iter().flatten();
                    payloads.map(|payload| Answer::parse(&payload).unwrap()).collect()
                }
            }
        }

        fn seqs(&mut self, at: f64) -> Vec<Option<u64>> {
            self.poll(at).into_iter().map(|answer| answer.seq).collect()
        }
    }

    #[test]
    fn a_sensor_that_is_off_is_silent_and_then_begins_anew() {
        let mut run = Run::new(3, "[[reboot]]\nfrom_s = 2\noutage = { off_ms = 1500 }");
        for (at, seqs) in [
            (0.5, vec![Some(1)]),
            (1.5, vec![Some(2)]),
            (2.5, vec![]),
            (3.6, vec![Some(1)]),
            (4.6, vec![Some(2)]),
        ] {
            assert_eq!(run.seqs(at), seqs, "at {at} s");
        }
        assert_eq!((run.device.counts.polls, run.device.counts.silences), (5, 1));
    }

    #[test]
    fn heartbeats_stop_while_it_is_off_and_one_comes_at_once_afterwards() {
        let mut run = Run::new(3, "[[reboot]]\nfrom_s = 2\noutage = { off_ms = 1500 }");
        let mut beat = |at: f64| {
            let at = Duration::from_secs_f64(at);
            let (heartbeats, next) = run.device.heartbeats(&run.faults, at);
            (heartbeats.len(), next.as_secs_f64())
        };
        assert_eq!(beat(0.0), (1, 3.5), "it knows when it will start again");
        assert_eq!(beat(2.5), (0, 3.5));
        let (count, next) = beat(3.5);
        assert!(count == 1 && (33.5..63.5).contains(&next), "{count}, {next}");
    }

    #[test]
    fn a_double_answers_after_its_sensor_with_a_value_of_its_own() {
        let mut run = Run::new(3, "[[doubled_id]]\nfrom_s = 1");
        assert_eq!(run.poll(0.5).len(), 1);
        let answers = run.poll(1.5);
        let [own, double] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(own.seq, double.seq);
        assert_ne!(own.value, double.value);
        let expected = run.device.sensor.value(Sender::Sensor, 2);
        assert_eq!(own.value, format!("{expected:.2}"));
        let (heartbeats, _) = run.device.heartbeats(&run.faults, Duration::from_secs(2));
        let ids: Vec<SensorId> =
            heartbeats.iter().map(|payload| model::Heartbeat::parse(payload).unwrap().id).collect();
        assert_eq!(ids, [run.device.sensor.spec().id; 2]);
    }

    #[test]
    fn what_is_stuck_stays_and_what_drifts_moves() {
        let mut stuck = Run::new(0, "[[stuck]]");
        let values: Vec<String> =
            (0..5).map(|at| stuck.poll(f64::from(at)).remove(0).value).collect();
        assert!(values.iter().all(|value| value == &values[0]), "{values:?}");
        let mut drifts = Run::new(0, "[[stuck]]\n[[drift]]\nper_hour = 3600");
        let mut value = |at| drifts.poll(at).remove(0).value.parse::<f64>().unwrap();
        let moved = value(11.0) - value(1.0);
        assert!((moved - 10.0).abs() < 0.02, "{moved}");
    }

    #[test]
    fn an_answer_is_late_when_the_poller_has_given_it_up() {
        for (by_ms, expected) in [(499, false), (500, true), (900, true)] {
            let mut run = Run::new(3, &format!("[[delay]]\nby_ms = [{by_ms}, {by_ms}]"));
            let now = Timestamp::from_unix_micros(0);
            let reaction = run.device.handle_poll(&run.faults, Duration::ZERO, now);
            let Reaction::Answer { is_late, after, .. } = reaction else { panic!("{reaction:?}") };
            assert_eq!((is_late, after), (expected, Duration::from_millis(by_ms)));
        }
    }

    #[test]
    fn a_wrong_clock_and_a_wrong_text_are_what_is_sent() {
        let mut run = Run::new(3, "[[clock_jump]]\nby_s = -60");
        let time = Timestamp::from_unix_micros(1_795_460_423_000_000);
        assert_eq!(run.poll(0.0).remove(0).time, Some(ToldTime::Moment(time)));
        let mut run = Run::new(3, "[[wrong]]\npayload = \"999\"");
        assert_eq!(run.poll(0.0).remove(0).value, "999");
    }
}
