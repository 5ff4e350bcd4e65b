//! What the newest answers of a sensor say of its clock, and the site's times of readings of a
//! sensor that has none.
//!
//! Both follow from sealed events alone, so anyone who has the events can calculate them again.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::{
    event::{Event, SUCCESS},
    timestamp::Timestamp,
};

/// The times of one sealed answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnswerTimes {
    /// When the site received the answer.
    pub received: Timestamp,
    /// Time by the sensor's clock.
    pub sensor_time: Option<Timestamp>,
    /// Milliseconds since the sensor's start.
    pub uptime_ms: Option<u64>,
    /// The start from which `uptime_ms` counts.
    pub boot: Option<String>,
    /// What a reader of the reading must know.
    pub flags: Option<String>,
}

impl AnswerTimes {
    /// The times of a sealed reading; `None` if it has no answer or names no time of its own.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.status.as_deref() != Some(SUCCESS) {
            return None;
        }
        let detail = event.sealwire.as_ref()?;
        Some(Self {
            received: event.timestamp.as_deref()?.parse().ok()?,
            sensor_time: detail.sensor_time,
            uptime_ms: detail.uptime,
            boot: detail.boot.clone(),
            flags: detail.flags.clone(),
        })
    }
}

/// How far a sensor's clock can be trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ClockQuality {
    /// Number of answers that were looked at.
    pub answers: usize,
    /// By how many milliseconds the sensor's time is ahead of the moment at which the site received
    /// it: the median. A sound clock is behind by as long as the answer takes. `None` if the sensor
    /// names no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<i64>,
    /// How far the answers' offsets are apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_ms: Option<u64>,
    /// When the sensor started, by its uptime. `None` if it counts none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Boot id of that start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The flags of the newest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
}

impl ClockQuality {
    /// Answers that are looked at: enough for a median that one late answer does not move.
    pub const ANSWERS_MAX: usize = 9;

    /// The quality that these answers show, oldest first.
    #[must_use]
    pub fn of(answers: &[AnswerTimes]) -> Self {
        let mut offsets: Vec<i64> = answers.iter().filter_map(offset_ms).collect();
        offsets.sort_unstable();
        let spread = offsets.first().zip(offsets.last());
        let newest = answers.last();
        let start = starts_by_uptime(answers).pop().flatten();
        Self {
            answers: answers.len(),
            offset_ms: offsets.get(offsets.len() / 2).copied(),
            spread_ms: spread.map(|(least, most)| most.abs_diff(*least)),
            started_at: start,
            boot: newest.filter(|_| start.is_some()).and_then(|newest| newest.boot.clone()),
            flags: newest.and_then(|newest| newest.flags.clone()),
        }
    }
}

fn offset_ms(answer: &AnswerTimes) -> Option<i64> {
    let time = answer.sensor_time?;
    Some((time.unix_micros() - answer.received.unix_micros()) / 1_000)
}

/// The site's times at which readings were taken that say for how long their sensor was running,
/// oldest first. `None` for a reading that does not say it.
///
/// All readings after one start share the estimate of that start: the earliest moment at which an
/// answer says that it was, because no answer arrives before it is sent. So two of them are as far
/// apart as their uptimes are, however long each was on its way.
#[must_use]
pub fn times_by_uptime(answers: &[AnswerTimes]) -> Vec<Option<Timestamp>> {
    let starts = starts_by_uptime(answers);
    let time = |(answer, start): (&AnswerTimes, Option<Timestamp>)| {
        let since = micros(answer.uptime_ms?);
        Some(Timestamp::from_unix_micros(start?.unix_micros().saturating_add(since)))
    };
    answers.iter().zip(starts).map(time).collect()
}

/// When the sensor started, for each answer. An uptime that goes back is another start, whatever
/// boot id it has.
fn starts_by_uptime(answers: &[AnswerTimes]) -> Vec<Option<Timestamp>> {
    let is_same_start = |one: &AnswerTimes, next: &AnswerTimes| {
        one.boot == next.boot && one.uptime_ms.is_some() && one.uptime_ms <= next.uptime_ms
    };
    let starts = answers.chunk_by(is_same_start).flat_map(|run| {
        let start = |answer: &AnswerTimes| {
            let since = micros(answer.uptime_ms?);
            Some(answer.received.unix_micros().saturating_sub(since))
        };
        let earliest = run.iter().filter_map(start).min();
        core::iter::repeat_n(earliest.map(Timestamp::from_unix_micros), run.len())
    });
    starts.collect()
}

fn micros(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-29, in microseconds.
    const BEGIN: i64 = 1_795_900_000_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_micros(BEGIN + millis * 1_000)
    }

    fn answer(received: i64, time: Option<i64>, uptime: Option<(&str, u64)>) -> AnswerTimes {
        AnswerTimes {
            received: at(received),
            sensor_time: time.map(at),
            uptime_ms: uptime.map(|(_, millis)| millis),
            boot: uptime.map(|(boot, _)| String::from(boot)),
            flags: None,
        }
    }

    #[test]
    fn one_late_answer_does_not_move_the_offset() {
        let answers: Vec<AnswerTimes> = [3, 4, 900, 5, 3]
            .into_iter()
            .zip(0..)
            .map(|(latency, number)| {
                let time = number * 1_000;
                answer(time + latency, Some(time + 60_000), None)
            })
            .collect();
        let quality = ClockQuality::of(&answers);
        assert_eq!((quality.offset_ms, quality.spread_ms), (Some(59_996), Some(897)));
        assert_eq!((quality.answers, quality.started_at), (5, None));
        assert_eq!(ClockQuality::of(&[]), ClockQuality::default());
        let mute = ClockQuality::of(&[answer(0, None, None)]);
        assert_eq!((mute.answers, mute.offset_ms), (1, None));
    }

    #[test]
    fn each_start_has_its_own_times() {
        let answers = [
            answer(10_000, None, Some(("a", 4_990))),
            answer(11_300, None, Some(("a", 5_990))), // 300 ms late
            answer(20_000, None, Some(("b", 995))),
            answer(21_000, None, None),
            answer(22_000, None, Some(("b", 10))), // a boot id that stays the same
        ];
        let times = times_by_uptime(&answers);
        let expected = [Some(10_000), Some(11_000), Some(20_000), None, Some(22_000)];
        assert_eq!(times, expected.map(|time| time.map(at)));
        let quality = ClockQuality::of(&answers);
        assert_eq!((quality.started_at, quality.boot.as_deref()), (Some(at(21_990)), Some("b")));
    }

    proptest! {
        #[test]
        fn times_by_uptime_keep_the_distances_and_are_late_by_the_least_latency(
            begun in -10_000_000_000_i64..0,
            readings in prop::collection::vec((1_i64..100_000, 0_i64..5_000), 1..30),
        ) {
            let mut taken = 0;
            let (mut answers, mut truth) = (Vec::new(), Vec::new());
            for (interval, latency) in &readings {
                taken += interval;
                let uptime = u64::try_from(taken - begun).unwrap();
                answers.push(answer(taken + latency, None, Some(("x", uptime))));
                truth.push(taken);
            }
            let least = readings.iter().map(|(_, latency)| latency).min().unwrap();
            let times: Vec<Option<Timestamp>> = times_by_uptime(&answers);
            let expected: Vec<_> = truth.iter().map(|taken| Some(at(taken + least))).collect();
            prop_assert_eq!(times, expected);
        }
    }
}
