//! What `sensor-reader` is asked, and what the pipeline takes of its answers.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Envelope, Event, Heartbeat, SensorId, Timestamp, action,
    derive::{Derived, SUBJECT, Seen, Sighting, Verdict},
};

use super::{
    dialect::{Dialect, Digests, Taken, accept},
    docket::{Finding, Question},
};

/// Name of the component, and of its cursor in the log.
const CURSOR: &str = "sensor-reader";
/// Longest name of a channel in characters.
const CHANNEL_CHARS_MAX: usize = Heartbeat::NAME_CHARS_MAX;

/// The dialect of `sensor-reader`.
#[derive(Debug)]
pub(super) struct SensorReader;

impl Dialect for SensorReader {
    type Item = Sighting;

    fn name(&self) -> &str {
        CURSOR
    }

    fn cursor(&self) -> String {
        CURSOR.to_owned()
    }

    fn subject(&self) -> &str {
        SUBJECT
    }

    fn item(&self, leaf: u64, envelope: &Envelope) -> Option<Sighting> {
        Sighting::of(leaf, envelope)
    }

    fn body(&self, question: &Question<Sighting>) -> Vec<u8> {
        serde_json::to_vec(question).expect("a question has only text keys")
    }

    fn take(&self, answer: &[u8], accepted: &Digests, asked: &[Sighting]) -> Result<Taken, String> {
        take(answer, accepted, asked)
    }

    fn event(&self, Finding { derived, by, .. }: Finding, at: Timestamp) -> Event {
        Event::derived(derived, &by, at)
    }

    fn known(&self) -> Sighting {
        let seen = Seen::Value { value: String::from("1"), range: None, units: None };
        let sensor = SensorId::from_bytes([0; 16]);
        Sighting { leaf: 0, sensor, source: String::from("Site.Known"), seen, received_at: None }
    }
}

/// Accepts a verdict only if a component in `accepted` gave it and it is about the sightings in
/// question, which are in the log's order. A leaf has at most one derived event of each action and
/// channel. A faulty component can be wrong, but cannot add anything else to the log.
fn take(answer: &[u8], accepted: &Digests, asked: &[Sighting]) -> Result<Taken, String> {
    let verdict: Verdict = serde_json::from_slice(answer)
        .map_err(|error| format!("the verdict is malformed: {error}"))?;
    let by = accept(accepted, verdict.component)?;
    let mut seen = BTreeSet::new();
    let twice = verdict.derived.iter().find(|derived| {
        !seen.insert((derived.from_leaf, &derived.action, derived.channel.as_deref()))
    });
    if let Some(Derived { from_leaf, action, .. }) = twice {
        return Err(format!("the verdict has {action} at leaf {from_leaf} twice"));
    }
    let is_short = |derived: &Derived| {
        derived.message.len() <= Derived::MESSAGE_BYTES_MAX
            && derived.channel.as_ref().is_none_or(|name| name.chars().count() <= CHANNEL_CHARS_MAX)
            && derived.value.as_ref().is_none_or(|value| value.len() <= Sighting::VALUE_BYTES_MAX)
    };
    if !verdict.derived.iter().all(is_short) {
        return Err(format!(
            "the verdict has a message over {} bytes, or a value or a channel longer than any in a question",
            Derived::MESSAGE_BYTES_MAX
        ));
    }
    let was_asked = |derived: &Derived| {
        let found = asked.binary_search_by_key(&derived.from_leaf, |sighting| sighting.leaf);
        found.ok().and_then(|found| asked.get(found)).is_some_and(|sighting| {
            sighting.sensor == derived.sensor
                && sighting.source == derived.source
                && derived.since.is_none_or(|since| sighting.received_at == Some(since))
        })
    };
    let is_known = |derived: &Derived| {
        matches!(
            derived.action.as_str(),
            action::OUT_OF_RANGE
                | action::LEAVING_RANGE
                | action::BACK_IN_RANGE
                | action::RANGE_NOT_JUDGED
                | action::SENSOR_LOST
                | action::SENSOR_BACK
        )
    };
    match verdict.derived.iter().find(|derived| !is_known(derived) || !was_asked(derived)) {
        Some(foreign) => Err(format!(
            "the verdict is about {} at leaf {}, which was not in the question",
            foreign.action, foreign.from_leaf
        )),
        None => {
            let finding = |derived| Finding { derived, unit: None, by: Arc::clone(&by) };
            let findings = verdict.derived.into_iter().map(finding).collect();
            Ok(Taken { by: Arc::clone(&by), findings })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: SensorId = SensorId::from_bytes([7; 16]);

    fn derived(from_leaf: u64, action: &str) -> Derived {
        Derived {
            from_leaf,
            sensor: SENSOR,
            action: action.to_owned(),
            channel: None,
            since: None,
            source: "Hall.T1".to_owned(),
            value: None,
            message: String::new(),
        }
    }

    /// Both versions, while an upgrade goes from one to the other.
    fn accepted() -> Digests {
        Digests::from([String::from("a"), String::from("a2")])
    }

    /// What [`take`] makes of a verdict of `component` about leaf 5.
    fn taken(component: &str, derived: Vec<Derived>) -> Result<usize, String> {
        let asked = [Sighting {
            leaf: 5,
            sensor: SENSOR,
            source: "Hall.T1".to_owned(),
            seen: Seen::NoValue,
            received_at: None,
        }];
        let verdict = Verdict { component: component.to_owned(), derived };
        let Taken { by, findings } =
            take(&serde_json::to_vec(&verdict).unwrap(), &accepted(), &asked)?;
        assert!(*by == *component && findings.iter().all(|finding| finding.by == by));
        Ok(findings.len())
    }

    #[test]
    fn only_what_was_asked_of_the_deployed_component_is_taken() {
        assert_eq!(taken("a", vec![derived(5, action::OUT_OF_RANGE)]), Ok(1));
        assert_eq!(taken("a2", vec![derived(5, action::OUT_OF_RANGE)]), Ok(1));
        assert_eq!(taken("a", vec![]), Ok(0));
        let twice = vec![derived(5, action::OUT_OF_RANGE), derived(5, action::OUT_OF_RANGE)];
        assert!(taken("a", twice).unwrap_err().contains("twice"));
        let of = |channel: &str| Derived {
            channel: Some(channel.to_owned()),
            ..derived(5, action::OUT_OF_RANGE)
        };
        assert_eq!(taken("a", vec![derived(5, action::OUT_OF_RANGE), of("t"), of("h")]), Ok(3));
        assert!(taken("a", vec![of("t"), of("t")]).unwrap_err().contains("twice"));
        assert!(taken("a", vec![of(&"x".repeat(61))]).unwrap_err().contains("a channel longer"));
        let long = Derived { message: "x".repeat(5_000), ..derived(5, action::OUT_OF_RANGE) };
        assert!(taken("a", vec![long]).unwrap_err().contains("a message over 4096 bytes"));
        for (component, derived, words) in [
            ("b", derived(5, action::OUT_OF_RANGE), "from the component b, not a or a2"),
            ("a", derived(6, action::OUT_OF_RANGE), "leaf 6, which was not in the question"),
            ("a", derived(5, action::SENSOR_READING), "SENSOR_READING"), // it derives readings of no one
            ("a", derived(5, action::NOT_JUDGED), "NOT_JUDGED"),         // only the site says so
            (
                "a",
                Derived {
                    sensor: SensorId::from_bytes([8; 16]),
                    ..derived(5, action::SENSOR_LOST)
                },
                "not in the question",
            ),
            (
                "a",
                Derived { source: "Hall.T2".to_owned(), ..derived(5, action::SENSOR_LOST) },
                "not in the question",
            ),
            (
                "a",
                Derived {
                    since: Some(Timestamp::from_unix_micros(1)), // the reading came without a time
                    ..derived(5, action::LEAVING_RANGE)
                },
                "not in the question",
            ),
        ] {
            let refusal = taken(component, vec![derived]).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert!(take(b"{", &accepted(), &[]).is_err_and(|refusal| refusal.contains("malformed")));
    }
}
