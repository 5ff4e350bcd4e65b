//! What a user's processor is asked, and what the pipeline takes of its answers.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Envelope, Event, SensorId, Timestamp, action,
    derive::Derived,
    processing::{self, Filter, Output, ProcessorName, Seen, VERSION, Verdict},
};

use super::{
    dialect::{Dialect, Digests, Taken, accept},
    docket::{Finding, Question},
};

/// The dialect of users' processors.
#[derive(Debug)]
pub(super) struct UsersProcessor {
    pub(super) name: ProcessorName,
    pub(super) subject: String,
    pub(super) filter: Filter,
}

impl Dialect for UsersProcessor {
    type Item = Seen;

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn cursor(&self) -> String {
        self.name.actor()
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn item(&self, leaf: u64, envelope: &Envelope) -> Option<Seen> {
        Seen::of(leaf, envelope, &self.filter)
    }

    fn body(&self, Question { sightings, .. }: &Question<Seen>) -> Vec<u8> {
        let (processor, events) = (self.name.clone(), sightings.clone());
        processing::Question { version: VERSION, processor, events }.to_json()
    }

    fn take(&self, answer: &[u8], accepted: &Digests, asked: &[Seen]) -> Result<Taken, String> {
        let Verdict { component, derived } = serde_json::from_slice(answer)
            .map_err(|error| format!("the verdict is malformed: {error}"))?;
        let by = accept(accepted, component)?;
        let mut values = BTreeMap::new();
        let mut finding = |output: Output| {
            let leaf = output.from_leaf;
            let found = asked.binary_search_by_key(&leaf, |seen| seen.leaf).ok();
            let seen = found.and_then(|found| asked.get(found)).ok_or_else(|| {
                format!("the verdict is about leaf {leaf}, which was not in the question")
            })?;
            if !output.is_short() {
                return Err(format!(
                    "the verdict has a value over {} bytes, a message over {} bytes, or a channel \
                     or unit over {} characters, at leaf {leaf}",
                    Output::VALUE_BYTES_MAX,
                    Output::MESSAGE_BYTES_MAX,
                    Output::NAME_CHARS_MAX
                ));
            }
            let of_leaf: &mut u8 = values.entry(leaf).or_default();
            *of_leaf += 1;
            if usize::from(*of_leaf) > Output::PER_LEAF_MAX {
                return Err(format!(
                    "the verdict has more than {} values of leaf {leaf}",
                    Output::PER_LEAF_MAX
                ));
            }
            let Output { from_leaf, channel, value, unit, message } = output;
            let words = if message.is_empty() { &value } else { &message };
            let derived = Derived {
                from_leaf,
                sensor: seen.sensor,
                action: action::DERIVED.to_owned(),
                channel,
                since: None,
                source: seen.source.clone(),
                message: format!("{}: {}: {words}", seen.source, self.name),
                value: Some(value),
            };
            Ok(Finding { derived, unit, by: Arc::clone(&by) })
        };
        let findings = derived.into_iter().map(&mut finding).collect::<Result<_, String>>()?;
        Ok(Taken { by, findings })
    }

    fn event(&self, Finding { derived, unit, by }: Finding, at: Timestamp) -> Event {
        if derived.action == action::NOT_JUDGED {
            return Event::derived(derived, &by, at);
        }
        Event::processed(&self.name, derived, unit, &by, at)
    }

    fn known(&self) -> Seen {
        Seen {
            leaf: 0,
            sensor: SensorId::from_bytes([0; 16]),
            source: String::from("Site.Known"),
            action: action::SENSOR_READING.to_owned(),
            received_at: Timestamp::from_unix_micros(0),
            status: Some(String::from(model::event::SUCCESS)),
            value: Some(String::from("1")),
            unit: None,
            channels: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor() -> UsersProcessor {
        let name: ProcessorName = "double".parse().unwrap();
        UsersProcessor { subject: name.subject(), name, filter: Filter::default() }
    }

    fn output(from_leaf: u64) -> Output {
        Output { from_leaf, value: String::from("2"), ..Output::default() }
    }

    /// What is sealed of a verdict about leaf 0.
    fn taken(component: &str, derived: Vec<Output>) -> Result<Vec<Event>, String> {
        let processor = processor();
        let verdict = Verdict { component: component.to_owned(), derived };
        let accepted = Digests::from([String::from("a")]);
        let answer = serde_json::to_vec(&verdict).unwrap();
        let taken = processor.take(&answer, &accepted, &[processor.known()])?;
        let at = Timestamp::from_unix_micros(0);
        Ok(taken.findings.into_iter().map(|finding| processor.event(finding, at)).collect())
    }

    #[test]
    fn a_processor_says_little_and_says_it_in_its_own_name() {
        let unit = Some(String::from("bar"));
        let events = taken("a", vec![Output { unit: unit.clone(), ..output(0) }]).unwrap();
        let event = events.first().unwrap();
        assert_eq!(event.action.as_deref(), Some(action::DERIVED));
        assert_eq!(event.actor.as_deref(), Some("processor/double"));
        assert_eq!(event.source.as_deref(), Some("Site.Known"));
        assert_eq!(event.message, "Site.Known: double: 2");
        let detail = event.sealwire.as_ref().unwrap();
        assert_eq!((detail.component.as_deref(), &detail.unit), (Some("a"), &unit));
        assert_eq!((detail.from_leaf, detail.poll), (Some(0), None));
        let long = |bytes: usize| Some("x".repeat(bytes));
        for (component, derived, words) in [
            ("b", vec![output(0)], "from the component b, not a"),
            ("a", vec![output(1)], "leaf 1, which was not in the question"),
            ("a", vec![output(0); 5], "more than 4 values of leaf 0"),
            ("a", vec![Output { value: "x".repeat(257), ..output(0) }], "a value over 256 bytes"),
            ("a", vec![Output { message: "x".repeat(513), ..output(0) }], "a message over 512"),
            ("a", vec![Output { channel: long(61), ..output(0) }], "over 60 characters"),
            ("a", vec![Output { unit: long(61), ..output(0) }], "over 60 characters"),
        ] {
            let refusal = taken(component, derived).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        let forged =
            br#"{"component":"a","derived":[{"from_leaf":0,"value":"2","action":"OUT_OF_RANGE"}]}"#;
        let accepted = Digests::from([String::from("a")]);
        let refusal = processor().take(forged, &accepted, &[processor().known()]).err().unwrap();
        assert!(refusal.contains("unknown field `action`"), "{refusal}");
    }
}
