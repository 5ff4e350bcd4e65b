//! Derives events from sealed ones.
//!
//! The component reports the first value outside a sensor's declared range, and the first one
//! inside again. It compares numbers as they were written, or as a calibration corrects them. A
//! value that is not a number, or has a unit other than the range's, cannot be judged. The
//! component reports the first such value, and again the next value that it can judge. If a value
//! has no declared range any more, it ends what was reported of the earlier range.
//!
//! Each channel of a sensor with several is judged for itself, and its events name it. A channel
//! without a value in an answer stands as it stood before.
//!
//! A sensor is lost when its heartbeats stop or it announces that it disconnects, and back at its
//! next heartbeat. An answer in between does not bring it back, because that answer was already
//! under way.

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
            *standing = std::mem::take(standing).after(&finding.action, channel);
            derived.push(finding);
        }
    }
    derived
}

fn findings(sighting: &Sighting, standing: &Standing) -> Vec<Derived> {
    let source = &sighting.source;
    let finding = |action: &str, (channel, value): (Option<&str>, Option<&str>), words: &str| {
        let name = channel.map(|name| format!(" {name}")).unwrap_or_default();
        let of_value = value.map(|value| format!(" {value}")).unwrap_or_default();
        let colon = if channel.is_some() || value.is_some() { ":" } else { "" };
        Derived {
            from_leaf: sighting.leaf,
            sensor: sighting.sensor,
            action: String::from(action),
            channel: channel.map(String::from),
            source: source.clone(),
            value: value.map(String::from),
            message: format!("{source}{colon}{name}{of_value}{words}"),
        }
    };
    let of_sensor = |action: &str, words: &str| vec![finding(action, (None, None), words)];
    let judged = |channel: Option<&str>, value: &str, range: Range, units: Option<&Units>| {
        let (action, words) = judgement(standing.of(channel), value, range, units)?;
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

/// What is to be reported of a value: the action, and what is said of the value.
fn judgement(
    standing: RangeStanding,
    value: &str,
    range: Range,
    units: Option<&Units>,
) -> Option<(&'static str, String)> {
    match is_inside(value, range, units) {
        Ok(false) if !standing.out_of_range || standing.not_judged => {
            Some((action::OUT_OF_RANGE, format!(" is outside {range}")))
        }
        Ok(true) if !standing.is_well() => {
            Some((action::BACK_IN_RANGE, format!(" is inside {range} again")))
        }
        Err(reason) if !standing.not_judged => {
            let words = format!(" cannot be compared with {range}: {reason}");
            Some((action::RANGE_NOT_JUDGED, words))
        }
        _ => None,
    }
}

/// Whether a value is within a range; the error says why this cannot be judged.
fn is_inside(value: &str, range: Range, units: Option<&Units>) -> Result<bool, String> {
    if let Some((of_range, of_value)) = units {
        return Err(format!("the value is in {of_value}, but the range is in {of_range}"));
    }
    let number = Decimal::parse(value).ok_or("the value is not a number")?;
    Ok(range.contains(&number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Range, SensorId, derive::Standing};

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
    fn a_standing_is_gone_on_from() {
        let out = Standing::default().after(action::OUT_OF_RANGE, None);
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
            let sightings = vec![Sighting { leaf: 0, sensor: SENSOR, source, seen }];
            let derived = judge(Question { sightings, ..Question::default() });
            let message = &derived.first().unwrap().message;
            assert!(message.len() <= Derived::MESSAGE_BYTES_MAX, "{}", message.len());
        }
        let outside = format!("1e{}9", "0".repeat(Sighting::VALUE_BYTES_MAX - 3));
        for value in [outside, String::new()] {
            let source = format!("{}.{}", long(60), long(60));
            let seen = Seen::Values(vec![InChannel { channel: long(60), value, range }]);
            let sightings = vec![Sighting { leaf: 0, sensor: SENSOR, source, seen }];
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
        let sighting =
            |(leaf, seen)| Sighting { leaf, sensor: SENSOR, source: source.clone(), seen };
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
