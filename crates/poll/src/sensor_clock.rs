//! Watches the clock of one sensor, and the uptime that it counts, from answer to answer.
//!
//! A time is compared with the one before it and with the site's monotonic clock, so that a clock
//! of the site that is set does not count against the sensor. Nothing is corrected: the answer at
//! which a clock moved gets a word for it.

use core::time::Duration;

use model::{Answer, ToldTime};

use crate::clock::Instant;

/// The newest answer's times. Of a sensor without any, there is nothing to watch.
#[derive(Debug)]
pub(crate) struct SensorClock {
    time: Option<(i64, Instant)>,
    uptime: Option<Uptime>,
}

#[derive(Debug)]
struct Uptime {
    boot: Option<Box<str>>,
    millis: u64,
    at: Instant,
}

/// What the clock of a sensor did between two answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moved {
    /// Its time is earlier than the time that has passed says.
    Back,
    /// Its time is later than that.
    Ahead,
    /// Its uptime is less than before, and it names no other start.
    UptimeBack,
    /// Its uptime is less than before by 2^32, so its count of milliseconds has 32 bits.
    UptimeWrapped,
}

impl Moved {
    /// The word for it, in events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Back => "clock_back",
            Self::Ahead => "clock_ahead",
            Self::UptimeBack => "uptime_back",
            Self::UptimeWrapped => "uptime_wrapped",
        }
    }
}

impl SensorClock {
    /// By how much two answers may disagree in any case: a clock that is read once a second, and a
    /// network that was slow for one of them.
    const TOLERANCE: Duration = Duration::from_secs(2);
    /// Of the time between two answers, the part by which a clock may run fast or slow: far more
    /// than the worst crystal.
    const DRIFT: u32 = 1_000;

    /// Takes the times of an answer into `clock`, and says how it moved. From a reading to `now`
    /// may be any time up to `delay_max`.
    pub(crate) fn look(
        clock: &mut Option<Box<Self>>,
        answer: &Answer,
        delay_max: Duration,
        now: Instant,
    ) -> impl Iterator<Item = Moved> {
        let time = match &answer.time {
            Some(ToldTime::Moment(time)) => Some((time.unix_micros(), now)),
            Some(ToldTime::Text { .. }) | None => None,
        };
        let uptime = answer.uptime_ms.map(|millis| Uptime {
            boot: answer.boot.as_deref().map(Box::from),
            millis,
            at: now,
        });
        let is_there = time.is_some() || uptime.is_some();
        let before = clock.take();
        if is_there {
            *clock = Some(Box::new(Self { time, uptime }));
        }
        let mut moved = [None, None];
        if let (Some(before), Some(newest)) = (before, clock) {
            // The error of both times.
            let error = Duration::from_millis(answer.time_error_ms.unwrap_or(0).saturating_mul(2));
            let tolerance = Self::TOLERANCE.max(delay_max).saturating_add(error);
            if let (Some(before), Some(newest)) = (before.time, newest.time) {
                moved[0] = of_time(before, newest, tolerance);
            }
            if let (Some(before), Some(newest)) = (&before.uptime, &newest.uptime) {
                moved[1] = of_uptime(before, newest, tolerance);
            }
        }
        moved.into_iter().flatten()
    }
}

/// How far two clocks may be apart after `passed`.
fn apart_max(passed: Duration, tolerance: Duration) -> i128 {
    i128::try_from((tolerance + passed / SensorClock::DRIFT).as_micros()).unwrap_or(i128::MAX)
}

fn of_time(before: (i64, Instant), newest: (i64, Instant), tolerance: Duration) -> Option<Moved> {
    let passed = newest.1.saturating_duration_since(before.1);
    let by_sensor = i128::from(newest.0) - i128::from(before.0);
    let step = by_sensor - i128::try_from(passed.as_micros()).unwrap_or(i128::MAX);
    if step.abs() <= apart_max(passed, tolerance) {
        None
    } else if step < 0 {
        Some(Moved::Back)
    } else {
        Some(Moved::Ahead)
    }
}

fn of_uptime(before: &Uptime, newest: &Uptime, tolerance: Duration) -> Option<Moved> {
    const WRAP: i128 = 1 << 32;
    if before.boot != newest.boot || before.millis <= newest.millis {
        return None;
    }
    let passed = newest.at.saturating_duration_since(before.at);
    let expected = i128::from(before.millis) + i128::try_from(passed.as_millis()).ok()?;
    let step = i128::from(newest.millis) + WRAP - expected;
    let is_wrap = step.saturating_mul(1_000).abs() <= apart_max(passed, tolerance);
    Some(if is_wrap { Moved::UptimeWrapped } else { Moved::UptimeBack })
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-29, in microseconds.
    const BEGIN: i64 = 1_795_900_000_000_000;
    const PATIENCE: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::after_start(Duration::from_millis(millis))
    }

    fn told(time_ms: Option<i64>, uptime: Option<(&str, u64)>) -> Answer {
        Answer {
            time: time_ms.map(|millis| {
                ToldTime::Moment(Timestamp::from_unix_micros(BEGIN + millis * 1_000))
            }),
            boot: uptime.map(|(boot, _)| String::from(boot)),
            uptime_ms: uptime.map(|(_, millis)| millis),
            ..Answer::default()
        }
    }

    fn words(answers: &[(u64, Answer)]) -> Vec<&'static str> {
        let mut clock = None;
        let looked = answers.iter().flat_map(|(now, answer)| {
            SensorClock::look(&mut clock, answer, PATIENCE, at(*now)).collect::<Vec<_>>()
        });
        looked.map(Moved::as_str).collect()
    }

    #[test]
    fn a_clock_that_is_set_is_told_once_and_one_that_drifts_never() {
        let run = |times: &[i64]| {
            let answers = (0..).step_by(1_000).zip(times);
            let answers: Vec<_> =
                answers.map(|(now, time)| (now, told(Some(*time), None))).collect();
            words(&answers)
        };
        assert_eq!(run(&[0, 1_000, 2_000, 3_500, 3_900]), Vec::<&str>::new());
        assert_eq!(run(&[0, 1_000, 3_602_000, 3_603_000]), ["clock_ahead"]);
        assert_eq!(run(&[0, 1_000, -3_598_000, -3_597_000]), ["clock_back"]);
        assert_eq!(run(&[0, 0, 0, 0, 0]), Vec::<&str>::new(), "a second's worth each");
        let year = [(0, told(Some(0), None)), (31_536_000_000, told(Some(31_520_000_000), None))];
        assert_eq!(words(&year), Vec::<&str>::new(), "500 ppm in a year");
    }

    #[test]
    fn an_uptime_goes_back_only_with_another_boot() {
        let boot = |now, boot, millis| (now, told(None, Some((boot, millis))));
        assert_eq!(words(&[boot(0, "a", 90_000), boot(1_000, "b", 12)]), Vec::<&str>::new());
        assert_eq!(words(&[boot(0, "a", 90_000), boot(1_000, "a", 12)]), ["uptime_back"]);
        let last = (1 << 32) - 500;
        assert_eq!(words(&[boot(0, "a", last), boot(1_000, "a", 500)]), ["uptime_wrapped"]);
        let none = (500, told(None, None));
        assert_eq!(words(&[boot(0, "a", 9), none, boot(1_000, "a", 1)]), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn a_step_is_found_if_it_is_larger_than_what_a_network_and_a_crystal_explain(
            intervals in prop::collection::vec(100_u64..3_600_000, 2..20),
            latencies in prop::collection::vec(0_u64..500, 20),
            step in -100_000_000_i64..100_000_000,
            place in 1_usize..20,
        ) {
            let place = place.min(intervals.len() - 1);
            let mut answers = Vec::new();
            let (mut now, mut set_by) = (0, 0);
            for (number, (interval, latency)) in intervals.iter().zip(&latencies).enumerate() {
                now += interval;
                if number == place {
                    set_by = step;
                }
                let time = i64::try_from(now).unwrap() + set_by;
                answers.push((now + latency, told(Some(time), None)));
            }
            let found = words(&answers);
            if step.unsigned_abs() <= 1_500 {
                prop_assert_eq!(found, Vec::<&str>::new());
            } else if step.unsigned_abs() > 2_500 + 3_600_000 / 1_000 {
                prop_assert_eq!(found, [if step < 0 { "clock_back" } else { "clock_ahead" }]);
            }
        }
    }
}
