//! Derives events from sealed ones.
//!
//! The component reports the first value outside a sensor's declared range, and the first one
//! inside again. It compares numbers as they were written, or as a calibration corrects them. A
//! value that is not a number, or has a unit other than the range's, cannot be judged. The
//! component reports the first such value, and again the next value that it can judge. If a value
//! has no declared range any more, it ends what was reported of the earlier range.
//!
//! A range may have a hysteresis: a value that was outside is inside again only so far within the
//! bounds. It may have a delay: the first value outside is then reported as leaving the range, with
//! its time, and as outside once a value comes after the delay and none inside came before it.
//!
//! Each channel of a sensor with several is judged for itself, and its events name it. A channel
//! without a value in an answer stands as it stood before.
//!
//! A sensor is lost when its heartbeats stop or it announces that it disconnects, and back at its
//! next heartbeat. An answer in between does not bring it back, because that answer was already
//! under way.

use core::time::Duration;

use model::{
    Decimal, Range, action,
    derive::{Derived, InChannel, Question, RangeStanding, Seen, Sighting, Standing},
};

/// All events that follow from the sightings, in their order.
#[must_use]
pub fn judge(question: Question) -> Vec<Derived> {
    let Question { mut standings, sightings } = question;
    let mut derived = Vec::new();
    for sighting in sightings {
        let standing = standings.entry(sighting.sensor).or_default();
        for finding in findings(&sighting, standing) {
            let channel = finding.channel.as_deref();
            *standing = std::mem::take(standing).after(&finding.action, channel, finding.since);
            derived.push(finding);
        }
    }
    derived
}

fn findings(sighting: &Sighting, standing: &Standing) -> Vec<Derived> {
    let source = &sighting.source;
    let finding = |action: &str, (channel, value): (Option<&str>, Option<&str>), words: &str| {
        let is_leaving = action == action::LEAVING_RANGE;
        let name = channel.map(|name| format!(" {name}")).unwrap_or_default();
        let of_value = value.map(|value| format!(" {value}")).unwrap_or_default();
        let colon = if channel.is_some() || value.is_some() { ":" } else { "" };
        Derived {
            from_leaf: sighting.leaf,
            sensor: sighting.sensor,
            action: String::from(action),
            channel: channel.map(String::from),
            since: sighting.received_at.filter(|_| is_leaving),
            source: source.clone(),
            value: value.map(String::from),
            message: format!("{source}{colon}{name}{of_value}{words}"),
        }
    };
    let of_sensor = |action: &str, words: &str| vec![finding(action, (None, None), words)];
    let judged = |channel: Option<&str>, value: &str, range: Range, units: Option<&Units>| {
        let standing = standing.of(channel);
        let outside_for = standing.leaving_since.zip(sighting.received_at);
        let outside_for = outside_for.map(|(since, now)| now.since(since));
        let (action, words) = judgement(standing, outside_for, (value, range, units))?;
        Some(finding(action, (channel, Some(value)), &words))
    };
    // What was reported of a range that is not declared any more.
    let ended = |channel: Option<&str>, value: Option<&str>| {
        let is_to_end = !standing.of(channel).is_well();
        let words = "; no range is declared for it any more";
        is_to_end.then(|| finding(action::BACK_IN_RANGE, (channel, value), words))
    };
    let all_channels = || standing.channels.keys().map(String::as_str);
    match &sighting.seen {
        Seen::HeartbeatMissed if !standing.lost => {
            of_sensor(action::SENSOR_LOST, " is lost: its heartbeats stopped")
        }
        Seen::Disconnected if !standing.lost => {
            of_sensor(action::SENSOR_LOST, " is lost: it disconnected")
        }
        Seen::HeartbeatResumed if standing.lost => {
            of_sensor(action::SENSOR_BACK, " is back: its heartbeats resumed")
        }
        Seen::Value { value, range, units } => {
            let of_value = match range {
                None => ended(None, Some(value)),
                Some(range) => judged(None, value, *range, units.as_ref()),
            };
            all_channels().filter_map(|name| ended(Some(name), None)).chain(of_value).collect()
        }
        Seen::Values(values) => {
            let of_channel = |InChannel { channel, value, range }: &InChannel| {
                judged(Some(channel), value, *range, None)
            };
            ended(None, None).into_iter().chain(values.iter().filter_map(of_channel)).collect()
        }
        Seen::Described(with_range) => {
            let is_gone = |name: &&str| with_range.iter().all(|declared| declared != name);
            all_channels().filter(is_gone).filter_map(|name| ended(Some(name), None)).collect()
        }
        Seen::HeartbeatMissed | Seen::Disconnected | Seen::HeartbeatResumed | Seen::NoValue => {
            Vec::new()
        }
    }
}

/// The unit of a range and that of a value, if they differ.
type Units = (String, String);

/// What is to be reported of a value with its range: the action, and what is said of the value.
/// `outside_for` is how long values have been outside, if that waits for the range's delay.
fn judgement(
    standing: RangeStanding,
    outside_for: Option<Duration>,
    (value, range, units): (&str, Range, Option<&Units>),
) -> Option<(&'static str, String)> {
    // Nearly all values are within their range, and say nothing.
    let bounds = || range.bounds();
    match is_inside(value, range, units, standing.is_outside()) {
        Ok(false) if standing.out_of_range && !standing.not_judged => None,
        Ok(false) if standing.out_of_range || outside_for.unwrap_or_default() >= range.delay() => {
            Some((action::OUT_OF_RANGE, format!(" is outside {}", bounds())))
        }
        Ok(false) if outside_for.is_none() => {
            let delay = range.delay();
            let bounds = bounds();
            let words = format!(" is outside {bounds}; that is reported if it lasts {delay:?}");
            Some((action::LEAVING_RANGE, words))
        }
        Ok(true) if !standing.is_well() => {
            Some((action::BACK_IN_RANGE, format!(" is inside {} again", bounds())))
        }
        Err(reason) if !standing.not_judged => {
            let words = format!(" cannot be compared with {}: {reason}", bounds());
            Some((action::RANGE_NOT_JUDGED, words))
        }
        Ok(_) | Err(_) => None,
    }
}

/// Whether a value is within a range, far enough if the last one was outside; the error says why
/// this cannot be judged.
fn is_inside(
    value: &str,
    range: Range,
    units: Option<&Units>,
    was_outside: bool,
) -> Result<bool, String> {
    if let Some((of_range, of_value)) = units {
        return Err(format!("the value is in {of_value}, but the range is in {of_range}"));
    }
    let number = Decimal::parse(value).ok_or("the value is not a number")?;
    Ok(if was_outside { range.contains_again(&number) } else { range.contains(&number) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Range, SensorId, Timestamp, derive::Standing};

    use super::*;

    const SENSOR: SensorId = SensorId::from_bytes([7; 16]);

    fn value(text: &str) -> Seen {
        let range = Some(Range::new(0.0, 50.0).unwrap());
        Seen::Value { value: String::from(text), range, units: None }
    }

    /// The derived events of these sightings of one sensor, as pairs of leaf and action.
    #[track_caller]
    fn run(standing: Standing, seen: Vec<Seen>) -> Vec<(u64, String)> {
        let sightings = (0..)
            .zip(seen)
            .map(|(leaf, seen)| Sighting {
                leaf,
                sensor: SENSOR,
                source: String::from("Hall.T1"),
                seen,
                received_at: None,
            })
            .collect();
        let standings = BTreeMap::from([(SENSOR, standing)]);
        let derived = judge(Question { standings, sightings });
        derived.into_iter().map(|derived| (derived.from_leaf, derived.action)).collect()
    }

    #[test]
    fn a_range_is_left_once_and_entered_once() {
        let told = run(
            Standing::default(),
            ["50", "50.01", "51", "-1", "0", "25"].into_iter().map(value).collect(),
        );
        assert_eq!(told, vec![(1, "OUT_OF_RANGE".into()), (4, "BACK_IN_RANGE".into())]);
    }

    #[test]
    fn what_was_outside_is_inside_again_only_past_the_hysteresis() {
        let range = Range::new(0.0, 50.0).unwrap().with(2.0, 0).unwrap();
        let seen = |text: &str| Seen::Value { value: text.into(), range: Some(range), units: None };
        let values = ["49", "50.1", "49", "48.1", "48", "49.9", "-0.1", "1", "2"];
        let told = run(Standing::default(), values.into_iter().map(seen).collect());
        let told: Vec<_> = told.iter().map(|(leaf, action)| (*leaf, action.as_str())).collect();
        assert_eq!(
            told,
            [(1, "OUT_OF_RANGE"), (4, "BACK_IN_RANGE"), (6, "OUT_OF_RANGE"), (8, "BACK_IN_RANGE")]
        );
    }

    /// The derived events of values with a delay of ten seconds, each received at a second.
    #[track_caller]
    fn assert_delayed(values: &[(i64, &str)], expected: &[(i64, &str)]) {
        let range = Range::new(0.0, 50.0).unwrap().with(2.0, 10_000).unwrap();
        let at = |second: i64| Timestamp::from_unix_micros(second * 1_000_000);
        let sighting = |(second, value): &(i64, &str)| Sighting {
            leaf: second.cast_unsigned(),
            sensor: SENSOR,
            source: String::from("Hall.T1"),
            seen: Seen::Value { value: String::from(*value), range: Some(range), units: None },
            received_at: Some(at(*second)),
        };
        // All at once, and one by one with only what the derived events say between them.
        let sightings: Vec<_> = values.iter().map(sighting).collect();
        let question = Question { sightings: sightings.clone(), ..Question::default() };
        let derived = judge(question);
        let mut standing = Standing::default();
        let mut one_by_one = Vec::new();
        for sighting in sightings {
            let standings = BTreeMap::from([(SENSOR, standing.clone())]);
            for derived in judge(Question { standings, sightings: vec![sighting] }) {
                standing = standing.after(&derived.action, None, derived.since);
                one_by_one.push(derived);
            }
        }
        assert_eq!(derived, one_by_one);
        for derived in &derived {
            let since =
                (derived.action == "LEAVING_RANGE").then(|| at(derived.from_leaf.cast_signed()));
            assert_eq!(derived.since, since, "{derived:?}");
        }
        let told: Vec<_> =
            derived.iter().map(|it| (it.from_leaf.cast_signed(), it.action.as_str())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_lasts_as_long_as_the_delay_is_reported_and_nothing_shorter_is() {
        assert_delayed(
            &[(1, "51"), (5, "51"), (10, "51"), (11, "51"), (12, "51"), (13, "49"), (14, "48")],
            &[(1, "LEAVING_RANGE"), (11, "OUT_OF_RANGE"), (14, "BACK_IN_RANGE")],
        );
        assert_delayed(
            &[(1, "51"), (5, "47"), (6, "51"), (15, "51"), (16, "49"), (17, "20")],
            &[
                (1, "LEAVING_RANGE"),
                (5, "BACK_IN_RANGE"),
                (6, "LEAVING_RANGE"),
                (16, "OUT_OF_RANGE"), // 49 is within the bounds, but not past the hysteresis
                (17, "BACK_IN_RANGE"),
            ],
        );
    }

    #[test]
    fn a_value_that_cannot_be_judged_lets_a_delay_begin_anew() {
        assert_delayed(
            &[(1, "51"), (5, "open"), (12, "51"), (22, "51"), (23, "open"), (24, "51")],
            &[
                (1, "LEAVING_RANGE"),
                (5, "RANGE_NOT_JUDGED"),
                (12, "LEAVING_RANGE"),
                (22, "OUT_OF_RANGE"),
                (23, "RANGE_NOT_JUDGED"),
                (24, "OUT_OF_RANGE"), // it was reported before
            ],
        );
    }

    #[test]
    fn a_clock_that_was_set_back_delays_longer_and_reports_nothing_early() {
        assert_delayed(
            &[(100, "51"), (50, "51"), (109, "51"), (110, "51")],
            &[(100, "LEAVING_RANGE"), (110, "OUT_OF_RANGE")],
        );
    }

    #[test]
    fn a_standing_is_gone_on_from() {
        let out = Standing::default().after(action::OUT_OF_RANGE, None, None);
        assert_eq!(run(out, vec![value("99"), value("1")]), vec![(1, "BACK_IN_RANGE".into())]);
    }

    #[test]
    fn a_sensor_is_lost_once_and_back_once() {
        let seen = vec![
            Seen::NoValue, // one silent poll loses nobody
            Seen::HeartbeatMissed,
            Seen::Disconnected,
            value("1"), // it was under way
            Seen::HeartbeatResumed,
        ];
        let told = run(Standing::default(), seen);
        assert_eq!(told, vec![(1, "SENSOR_LOST".into()), (4, "SENSOR_BACK".into())]);
    }

    #[test]
    fn a_range_that_is_declared_no_more_is_not_left_for_ever() {
        let rangeless = || Seen::Value { value: String::from("99"), range: None, units: None };
        let told = run(Standing::default(), vec![value("99"), rangeless(), rangeless()]);
        assert_eq!(told, vec![(0, "OUT_OF_RANGE".into()), (1, "BACK_IN_RANGE".into())]);
    }

    #[test]
    fn what_has_no_range_says_nothing_of_one() {
        let rangeless = || Seen::Value { value: String::from("1e9"), range: None, units: None };
        assert_eq!(run(Standing::default(), vec![rangeless(), rangeless()]), vec![]);
    }

    #[test]
    fn what_was_written_is_judged() {
        for outside in ["1e400", "-1e400", "Infinity", "-inf", "50.00000000000000000001", "-1e-400"]
        {
            let told = run(Standing::default(), vec![value(outside), value("25")]);
            let expected = vec![(0, "OUT_OF_RANGE".into()), (1, "BACK_IN_RANGE".into())];
            assert_eq!(told, expected, "{outside}");
        }
        for inside in ["50.000", "5e1", "1e-400", "-0", "0.5E2"] {
            assert_eq!(run(Standing::default(), vec![value(inside)]), vec![], "{inside}");
        }
    }

    #[test]
    fn the_longest_message_is_taken() {
        let long = |chars| "\u{1f321}".repeat(chars);
        let range = Range::new(-f64::MAX, -f64::MIN_POSITIVE).unwrap();
        let value = format!("1e{}", "0".repeat(Sighting::VALUE_BYTES_MAX - 2));
        for units in [None, Some((long(60), long(60)))] {
            let seen = Seen::Value { value: value.clone(), range: Some(range), units };
            let source = format!("{}.{}", long(60), long(60));
            let sightings =
                vec![Sighting { leaf: 0, sensor: SENSOR, source, seen, received_at: None }];
            let derived = judge(Question { sightings, ..Question::default() });
            let message = &derived.first().unwrap().message;
            assert!(message.len() <= Derived::MESSAGE_BYTES_MAX, "{}", message.len());
        }
        let outside = format!("1e{}9", "0".repeat(Sighting::VALUE_BYTES_MAX - 3));
        for value in [outside, String::new()] {
            let source = format!("{}.{}", long(60), long(60));
            let seen = Seen::Values(vec![InChannel { channel: long(60), value, range }]);
            let sightings =
                vec![Sighting { leaf: 0, sensor: SENSOR, source, seen, received_at: None }];
            let derived = judge(Question { sightings, ..Question::default() });
            let message = &derived.first().unwrap().message;
            assert!(message.len() <= Derived::MESSAGE_BYTES_MAX, "{}", message.len());
        }
    }

    /// Values of channels, each with the range from 0 to 50.
    fn channels(values: &[(&str, &str)]) -> Seen {
        let channel = |(channel, value): &(&str, &str)| InChannel {
            channel: String::from(*channel),
            value: String::from(*value),
            range: Range::new(0.0, 50.0).unwrap(),
        };
        Seen::Values(values.iter().map(channel).collect())
    }

    /// The derived events of these sightings of one sensor, each with its channel.
    #[track_caller]
    fn run_channels(seen: Vec<Seen>) -> Vec<(u64, String, Option<String>)> {
        let source = String::from("Hall.T1");
        let sighting = |(leaf, seen)| Sighting {
            leaf,
            sensor: SENSOR,
            source: source.clone(),
            seen,
            received_at: None,
        };
        let sightings = (0..).zip(seen).map(sighting).collect();
        let derived = judge(Question { sightings, ..Question::default() });
        derived.into_iter().map(|it| (it.from_leaf, it.action, it.channel)).collect()
    }

    #[track_caller]
    fn assert_told(seen: Vec<Seen>, expected: &[(u64, &str, Option<&str>)]) {
        let told = run_channels(seen);
        let told: Vec<_> = told
            .iter()
            .map(|(leaf, action, channel)| (*leaf, action.as_str(), channel.as_deref()))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn each_channel_is_judged_for_itself() {
        let seen = vec![
            channels(&[("t", "20"), ("h", "40")]),
            channels(&[("t", "20"), ("h", "50.01")]),
            channels(&[("t", "51"), ("h", "50.01")]),
            channels(&[("t", ""), ("h", "-1")]),
            channels(&[("t", ""), ("h", "40")]),
            channels(&[("t", "99")]), // the other has no value this time
            channels(&[]),
            channels(&[("t", "0"), ("h", "99")]),
        ];
        let [t, h] = [Some("t"), Some("h")];
        assert_told(
            seen,
            &[
                (1, "OUT_OF_RANGE", h),
                (2, "OUT_OF_RANGE", t),
                (3, "RANGE_NOT_JUDGED", t),
                (4, "BACK_IN_RANGE", h),
                (5, "OUT_OF_RANGE", t),
                (7, "BACK_IN_RANGE", t),
                (7, "OUT_OF_RANGE", h),
            ],
        );
    }

    #[test]
    fn what_is_declared_no_more_is_not_outside_for_ever() {
        let [t, h] = [Some("t"), Some("h")];
        let described =
            |names: &[&str]| Seen::Described(names.iter().map(|&it| it.into()).collect());
        let seen = vec![
            value("99"),
            channels(&[("t", "99"), ("h", "99")]), // several channels instead of one value
            described(&["h"]),
            described(&["h"]),
            value("25"), // and one value again
        ];
        assert_told(
            seen,
            &[
                (0, "OUT_OF_RANGE", None),
                (1, "BACK_IN_RANGE", None),
                (1, "OUT_OF_RANGE", t),
                (1, "OUT_OF_RANGE", h),
                (2, "BACK_IN_RANGE", t),
                (4, "BACK_IN_RANGE", h),
            ],
        );
    }

    #[test]
    fn every_channel_that_is_outside_is_named() {
        let sightings = vec![Sighting {
            leaf: 3,
            sensor: SENSOR,
            source: String::from("Hall.T1"),
            seen: channels(&[("t", "20"), ("h", "50.01"), ("x", "99")]),
            received_at: None,
        }];
        let derived = judge(Question { sightings, ..Question::default() });
        let told: Vec<_> = derived
            .iter()
            .map(|derived| (derived.value.as_deref(), derived.message.as_str()))
            .collect();
        let expected = [
            (Some("50.01"), "Hall.T1: h 50.01 is outside 0..50"),
            (Some("99"), "Hall.T1: x 99 is outside 0..50"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_cannot_be_judged_is_told_once_and_so_is_what_comes_after() {
        let fahrenheit = || Seen::Value {
            value: String::from("77"),
            range: Some(Range::new(0.0, 50.0).unwrap()),
            units: Some((String::from("°C"), String::from("°F"))),
        };
        let told = run(
            Standing::default(),
            vec![
                value("open"),
                value("NaN"),
                fahrenheit(),
                value(""), // longer than any number
                value("25"),
                fahrenheit(),
                value("99"),
                value("98"),
                value("true"),
                value("97"),
                Seen::NoValue,
                value("25"),
            ],
        );
        let told: Vec<_> = told.iter().map(|(leaf, action)| (*leaf, action.as_str())).collect();
        assert_eq!(
            told,
            [
                (0, "RANGE_NOT_JUDGED"),
                (4, "BACK_IN_RANGE"),
                (5, "RANGE_NOT_JUDGED"),
                (6, "OUT_OF_RANGE"),
                (8, "RANGE_NOT_JUDGED"),
                (9, "OUT_OF_RANGE"),
                (11, "BACK_IN_RANGE"),
            ]
        );
    }
}
