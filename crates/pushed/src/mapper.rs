//! Applies the rules to messages.

use std::sync::Arc;

use model::{Protocol, Subject, Timestamp};
use serde_json::value::RawValue;

use crate::{
    device_time::{Clock, DeviceTime},
    discovery::{Declared, Discovery},
    mapping::{Heard, Mapping, Refusal, reading_of, scalar, text_of},
    pointer::{Found, Pointer},
    reading::{self, Reading},
    recorded::Recorded,
    rules::{Rule, Rules, Says, Value},
    sparkplug::Sparkplug,
    template::{Captures, Template},
};

/// Largest payload in bytes that is read: a birth of a Sparkplug node with thousands of metrics.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// Most readings of one JSON message.
const READINGS_MAX: usize = 256;

/// Applies rules to messages, and holds what earlier messages declared.
#[derive(Debug)]
pub struct Mapper {
    rules: Arc<Rules>,
    discovery: Discovery,
    sparkplug: Sparkplug,
}

impl Mapper {
    /// Begins to apply rules. Nothing is declared yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: Arc::new(rules),
            discovery: Discovery::default(),
            sparkplug: Sparkplug::default(),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The declarations in force, as messages. [`map`](Self::map) takes them up again.
    pub fn declarations(&self) -> impl Iterator<Item = Recorded> {
        self.discovery.declarations().map(|(topic, said)| Recorded {
            topic: topic.to_owned(),
            payload: said.as_bytes().to_vec(),
            at: None,
        })
    }

    /// Maps a message that came on this MQTT topic. The first rule that understands it counts; what
    /// devices declared themselves comes after every rule.
    pub fn map(&mut self, topic: &str, payload: &[u8], at: Timestamp) -> Mapping {
        let mut mapping = Mapping::default();
        if payload.len() > PAYLOAD_BYTES_MAX {
            let reason = format!(
                "the payload has {} bytes, but at most {PAYLOAD_BYTES_MAX} are read",
                payload.len()
            );
            mapping.refusals.push(Refusal { rule: None, reason });
            return mapping;
        }
        let rules = Arc::clone(&self.rules);
        for rule in rules.rules() {
            let Some(captures) = rule.topic.matches(topic) else { continue };
            self.follow(rule, &captures, (topic, payload), at, &mut mapping);
            if mapping.is_understood() {
                // What the rules before did not understand was for this one.
                mapping.refusals.retain(|refusal| refusal.rule.as_ref() == Some(&rule.name));
                mapping.heard.retain(|heard| !matches!(heard, Heard::NoValues(_)));
                return mapping;
            }
        }
        if let Ok(subject) = Subject::of_topic(topic, Protocol::Mqtt) {
            let mut of_declared = Mapping::default();
            for declared in self.discovery.on(&subject) {
                declared.read(payload, &mut of_declared);
            }
            if of_declared.is_understood() {
                return of_declared;
            }
            mapping.refusals.extend(of_declared.refusals);
        }
        if mapping.refusals.is_empty() && mapping.heard.is_empty() {
            let reason = String::from("no rule is for this topic");
            mapping.refusals.push(Refusal { rule: None, reason });
        }
        mapping
    }

    fn follow(
        &mut self,
        rule: &Rule,
        captures: &Captures,
        (topic, payload): (&str, &[u8]),
        at: Timestamp,
        mapping: &mut Mapping,
    ) {
        match &rule.says {
            Says::Json { sensor, time, clock, values } => {
                let json = match serde_json::from_slice::<&RawValue>(payload) {
                    Ok(json) => json,
                    Err(error) => {
                        return mapping
                            .refuse(&rule.name, format!("the payload is not JSON: {error}"));
                    }
                };
                let time = time_of(json, time.as_ref(), *clock, at);
                for value in values {
                    read_value(rule, value, (sensor, captures), &time, json, mapping);
                }
                if !mapping.is_understood() && mapping.refusals.is_empty() {
                    mapping.heard.push(Heard::NoValues(rule.name.clone()));
                }
            }
            Says::Text { sensor, quantity, unit } => {
                let made = text_of(payload).and_then(|value| {
                    made(rule, (sensor.fill(captures), quantity.fill(captures)), value)
                });
                match made {
                    Ok(reading) => {
                        mapping.readings.push(Reading { unit: unit.clone(), ..reading });
                    }
                    Err(reason) => mapping.refuse(&rule.name, reason),
                }
            }
            Says::Discovery { sensor } => {
                let about = Declared::about(rule, sensor.fill(captures));
                self.discovery.hear(about, topic, payload, mapping);
            }
            Says::Sparkplug { asks_again } => {
                self.sparkplug.hear(rule, topic, payload, at, mapping);
                mapping.request = mapping.request.take().filter(|_| *asks_again);
            }
        }
    }
}

fn time_of(json: &RawValue, path: Option<&Pointer>, clock: Clock, at: Timestamp) -> DeviceTime {
    let found = path.and_then(|path| path.find(json, &Captures::default()).ok()?.pop());
    match found.map(|found| scalar(found.json)) {
        Some(Ok(Some(text))) => clock.read(&text, at),
        Some(Ok(None)) | None => DeviceTime::None,
        Some(Err(_)) => clock.read("", at),
    }
}

fn read_value(
    rule: &Rule,
    value: &Value,
    (sensor, captures): (&Template, &Captures),
    time: &DeviceTime,
    json: &RawValue,
    mapping: &mut Mapping,
) {
    let found = match value.path.find(json, captures) {
        Ok(found) => found,
        Err(reason) => return mapping.refuse(&rule.name, reason),
    };
    let unit = value.unit_path.as_ref().and_then(|path| {
        let found = path.find(json, captures).ok()?.pop()?;
        scalar(found.json).ok()?.filter(|unit| reading::unit(unit).is_ok())
    });
    let unit = unit.or_else(|| value.unit.clone());
    for Found { captures, json } in found {
        let text = match scalar(json) {
            // What a device does not know, it says nothing of.
            Ok(None) => {
                mapping.nothing("the value is null");
                continue;
            }
            Ok(Some(text)) => Ok(text),
            Err(reason) => Err(reason),
        };
        let names = (sensor.fill(&captures), value.quantity.fill(&captures));
        match text.and_then(|text| made(rule, names, &text)) {
            Ok(reading) if mapping.readings.len() < READINGS_MAX => {
                let (unit, time) = (unit.clone(), time.clone());
                mapping.readings.push(Reading { unit, time, ..reading });
            }
            Ok(_) => {
                let reason = format!("a message has at most {READINGS_MAX} values");
                return mapping.refuse(&rule.name, reason);
            }
            Err(reason) => {
                let quantity: String = value.quantity.fill(&captures).chars().take(60).collect();
                mapping.refuse(&rule.name, format!("`{quantity}`: {reason}"));
            }
        }
    }
}

/// A reading of a rule, without what not every message has.
fn made(rule: &Rule, (name, quantity): (String, String), value: &str) -> Result<Reading, String> {
    reading_of(&rule.name, rule.interval, (&name, &quantity), value)
}
