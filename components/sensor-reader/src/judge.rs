//! Derives events from sealed ones.
//!
//! The component reports the first value outside a sensor's declared range, and the first one
//! inside again. It compares numbers as they were written. A value that is not a number, or has a
//! unit other than the range's, cannot be judged. The component reports the first such value, and
//! again the next value that it can judge. If a value has no declared range any more, it ends what
//! was reported of the earlier range. A sensor with several channels is outside if any channel with
//! a value is, and else it cannot be judged if any of them cannot. A sensor is lost when its
//! heartbeats stop or it announces that it disconnects, and back at its next heartbeat. An answer
//! in between does not bring it back, because that answer was already under way.

use model::{
    Decimal, Range, action,
    derive::{Derived, InChannel, Question, Seen, Sighting, Standing},
};

/// All events that follow from the sightings, in their order.
#[must_use]
pub fn judge(question: Question) -> Vec<Derived> {
    let Question { mut standings, sightings } = question;
    let mut derived = Vec::new();
    for sighting in sightings {
        let standing = standings.entry(sighting.sensor).or_default();
        for finding in findings(&sighting, *standing) {
            *standing = standing.after(&finding.action);
            derived.push(finding);
        }
    }
    derived
}

fn findings(sighting: &Sighting, standing: Standing) -> Vec<Derived> {
    let Standing { out_of_range, lost, not_judged } = standing;
    let source = &sighting.source;
    let finding = |action: &str, value: Option<&str>, message: String| Derived {
        from_leaf: sighting.leaf,
        sensor: sighting.sensor,
        action: String::from(action),
        source: source.clone(),
        value: value.map(String::from),
        message,
    };
    match &sighting.seen {
        Seen::HeartbeatMissed if !lost => {
            vec![finding(
                action::SENSOR_LOST,
                None,
                format!("{source} is lost: its heartbeats stopped"),
            )]
        }
        Seen::Disconnected if !lost => {
            vec![finding(action::SENSOR_LOST, None, format!("{source} is lost: it disconnected"))]
        }
        Seen::HeartbeatResumed if lost => {
            vec![finding(
                action::SENSOR_BACK,
                None,
                format!("{source} is back: its heartbeats resumed"),
            )]
        }
        Seen::Value { value, range: None, .. } if out_of_range || not_judged => {
            let message = format!("{source}: {value}; the sensor no longer declares a range");
            vec![finding(action::BACK_IN_RANGE, Some(value), message)]
        }
        Seen::Value { value, range: Some(range), units } => {
            match is_inside(value, *range, units.as_ref()) {
                Ok(false) if !out_of_range || not_judged => {
                    let message = format!("{source}: {value} is outside {range}");
                    vec![finding(action::OUT_OF_RANGE, Some(value), message)]
                }
                Ok(true) if out_of_range || not_judged => {
                    let message = format!("{source}: {value} is inside {range} again");
                    vec![finding(action::BACK_IN_RANGE, Some(value), message)]
                }
                Err(reason) if !not_judged => {
                    let message =
                        format!("{source}: {value} cannot be compared with {range}: {reason}");
                    vec![finding(action::RANGE_NOT_JUDGED, Some(value), message)]
                }
                _ => Vec::new(),
            }
        }
        Seen::Values(values) => match worst(values) {
            Judged { outside: Some(first), .. } if !out_of_range || not_judged => {
                let InChannel { channel, value, range } = first;
                let message = format!("{source}: {channel} {value} is outside {range}");
                vec![finding(action::OUT_OF_RANGE, Some(value), message)]
            }
            Judged { outside: None, unknown: Some(first) } if !not_judged => {
                let InChannel { channel, value, range } = first;
                let message = format!(
                    "{source}: {channel} {value} cannot be compared with {range}: the value is not a number"
                );
                vec![finding(action::RANGE_NOT_JUDGED, Some(value), message)]
            }
            Judged { outside: None, unknown: None } if out_of_range || not_judged => {
                let message = format!("{source}: no channel is outside its range any more");
                vec![finding(action::BACK_IN_RANGE, None, message)]
            }
            Judged { .. } => Vec::new(),
        },
        Seen::Value { .. }
        | Seen::HeartbeatMissed
        | Seen::Disconnected
        | Seen::HeartbeatResumed
        | Seen::NoValue => Vec::new(),
    }
}

/// The first channel outside its range, and the first that cannot be judged.
struct Judged<'a> {
    outside: Option<&'a InChannel>,
    unknown: Option<&'a InChannel>,
}

fn worst(values: &[InChannel]) -> Judged<'_> {
    let first = |wanted: Result<bool, ()>| {
        values.iter().find(|InChannel { value, range, .. }| {
            is_inside(value, *range, None).map_err(|_reason| ()) == wanted
        })
    };
    Judged { outside: first(Ok(false)), unknown: first(Err(())) }
}

/// Whether a value is within a range; the error says why this cannot be judged.
fn is_inside(value: &str, range: Range, units: Option<&(String, String)>) -> Result<bool, String> {
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
        let out = Standing { out_of_range: true, ..Standing::default() };
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

    #[test]
    fn a_sensor_is_outside_while_any_of_its_channels_is() {
        let seen = vec![
            channels(&[("t", "20"), ("h", "40")]),
            channels(&[("t", "20"), ("h", "50.01")]),
            channels(&[("t", "51"), ("h", "50.01")]), // it is outside already
            channels(&[("t", ""), ("h", "-1")]),
            channels(&[("t", ""), ("h", "40")]),
            channels(&[("t", ""), ("h", "40")]),
            channels(&[("t", ""), ("h", "99")]),
            channels(&[("t", "0"), ("h", "50")]),
            channels(&[("t", "99")]),
            channels(&[]), // no channel with a range has a value
            channels(&[]),
        ];
        let told = run(Standing::default(), seen);
        let told: Vec<_> = told.iter().map(|(leaf, action)| (*leaf, action.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "OUT_OF_RANGE"),
                (4, "RANGE_NOT_JUDGED"),
                (6, "OUT_OF_RANGE"),
                (7, "BACK_IN_RANGE"),
                (8, "OUT_OF_RANGE"),
                (9, "BACK_IN_RANGE"),
            ]
        );
    }

    #[test]
    fn the_channel_that_is_outside_is_named() {
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
        assert_eq!(told, [(Some("50.01"), "Hall.T1: h 50.01 is outside 0..50")]);
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
