//! The judgement: from what was sealed to what follows from it.
//!
//! A value outside its sensor's declared range is told once, and so is the first one inside again. A sensor is lost when its heartbeats stop or it says
//! that it goes, and back with the next heartbeat: an answer that comes after was under way when it went. A value that is no number says nothing of a
//! range; one that has no declared range any more ends what was told of the last one.

use model::{
    action,
    derive::{Derived, Question, Seen, Sighting},
};

/// Everything that follows from the sightings, in their order.
#[must_use]
pub fn judge(question: Question) -> Vec<Derived> {
    let Question { mut standings, sightings } = question;
    let mut derived = Vec::new();
    for sighting in sightings {
        let standing = standings.entry(sighting.sensor).or_default();
        for finding in findings(&sighting, standing.lost, standing.out_of_range) {
            *standing = standing.after(&finding.action);
            derived.push(finding);
        }
    }
    derived
}

fn findings(sighting: &Sighting, lost: bool, out_of_range: bool) -> Vec<Derived> {
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
            vec![finding(
                action::SENSOR_LOST,
                None,
                format!("{source} is lost: it said that it goes"),
            )]
        }
        Seen::HeartbeatResumed if lost => {
            vec![finding(
                action::SENSOR_BACK,
                None,
                format!("{source} is back: its heartbeats come again"),
            )]
        }
        Seen::Value { value, range: None } if out_of_range => {
            let message = format!("{source}: {value}, and no range is declared any more");
            vec![finding(action::BACK_IN_RANGE, Some(value), message)]
        }
        Seen::Value { value, range: Some(range) } => {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            match number.map(|number| range.contains(number)) {
                Some(false) if !out_of_range => {
                    let message = format!("{source}: {value} is outside {range}");
                    vec![finding(action::OUT_OF_RANGE, Some(value), message)]
                }
                Some(true) if out_of_range => {
                    let message = format!("{source}: {value} is inside {range} again");
                    vec![finding(action::BACK_IN_RANGE, Some(value), message)]
                }
                _ => Vec::new(),
            }
        }
        Seen::Value { .. }
        | Seen::HeartbeatMissed
        | Seen::Disconnected
        | Seen::HeartbeatResumed
        | Seen::NoValue => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Range, SensorId, derive::Standing};

    use super::*;

    const SENSOR: SensorId = SensorId::from_bytes([7; 16]);

    fn value(text: &str) -> Seen {
        Seen::Value { value: String::from(text), range: Some(Range::new(0.0, 50.0).unwrap()) }
    }

    /// What follows from these sightings of one sensor: (leaf, action).
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
        let out = Standing { out_of_range: true, lost: false };
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
        let rangeless = || Seen::Value { value: String::from("99"), range: None };
        let told = run(Standing::default(), vec![value("99"), rangeless(), rangeless()]);
        assert_eq!(told, vec![(0, "OUT_OF_RANGE".into()), (1, "BACK_IN_RANGE".into())]);
    }

    #[test]
    fn what_is_no_number_or_has_no_range_says_nothing_of_a_range() {
        let rangeless = Seen::Value { value: String::from("1e9"), range: None };
        assert_eq!(run(Standing::default(), vec![value("open"), value("NaN"), rangeless]), vec![]);
    }
}
