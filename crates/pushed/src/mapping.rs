//! What a message became, and what values are made of.

use std::time::Duration;

use model::Subject;
use serde_json::value::RawValue;

use crate::{
    device_time::DeviceTime,
    reading::{self, Reading, sensor_id},
};

/// Most values of a message that are refused one by one.
const REFUSALS_MAX: usize = 16;

/// What a message became.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mapping {
    /// The values in it.
    pub readings: Vec<Reading>,
    /// What was not understood, of the message or of single values.
    pub refusals: Vec<Refusal>,
    /// What the message said besides values.
    pub heard: Vec<Heard>,
    /// What the site asks of the device, because it does not know all that the message builds on.
    pub request: Option<Request>,
}

/// A message to a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The MQTT topic.
    pub topic: Subject,
    /// The bytes of the message.
    pub payload: Vec<u8>,
}

/// What a message says besides values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A device declares that it sends values on this topic. Hear it from now on.
    Declared(Subject),
    /// Nothing declared is sent on this topic any more.
    Withdrawn(Subject),
    /// A device is there, and has said what it sends.
    Born(String),
    /// A device is gone.
    Gone(String),
    /// Nothing that concerns readings.
    Nothing(&'static str),
    /// Nothing stands where the rule of this name looks for values.
    NoValues(String),
}

/// Why a message, or a value in it, became nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{reason}", rule.as_ref().map(|rule| format!("rule `{rule}`: ")).unwrap_or_default())]
pub struct Refusal {
    /// The rule whose topic matches, if one does.
    pub rule: Option<String>,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl Mapping {
    pub(crate) fn refuse(&mut self, rule: &str, reason: String) {
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal { rule: Some(rule.to_owned()), reason });
        }
    }

    pub(crate) fn nothing(&mut self, why: &'static str) {
        let said = Heard::Nothing(why);
        if !self.heard.contains(&said) {
            self.heard.push(said);
        }
    }

    /// Whether the message was understood, even if it says nothing.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        let is_said = |heard: &Heard| !matches!(heard, Heard::NoValues(_));
        !self.readings.is_empty() || self.heard.iter().any(is_said)
    }
}

pub(crate) fn reading_of(
    rule: &str,
    interval: Option<Duration>,
    (name, quantity): (&str, &str),
    value: &str,
) -> Result<Reading, String> {
    let (name, quantity) = (reading::name(name)?, reading::quantity(quantity)?);
    Ok(Reading {
        sensor: sensor_id(name, quantity),
        name: name.to_owned(),
        quantity: quantity.to_owned(),
        value: reading::value(value)?.to_owned(),
        unit: None,
        time: DeviceTime::None,
        seq: None,
        flags: Vec::new(),
        rule: rule.to_owned(),
        interval,
    })
}

/// The text of a payload that is one value.
pub(crate) fn text_of(payload: &[u8]) -> Result<&str, String> {
    let text = str::from_utf8(payload).map_err(|_| String::from("the payload is not UTF-8"))?;
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        return Err(String::from("the payload is JSON; use a rule with paths"));
    }
    if text.chars().any(char::is_control) {
        return Err(String::from("the value has a control character"));
    }
    Ok(text)
}

/// The text of a number, string or boolean; `None` for null.
pub(crate) fn scalar(json: &RawValue) -> Result<Option<String>, String> {
    let text = json.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(Some).map_err(|error| error.to_string()),
        Some(b'{') => Err(String::from("the value is an object; use the path of a member")),
        Some(b'[') => Err(String::from("the value is an array; use the path of an element")),
        Some(b'n') => Ok(None),
        _ => Ok(Some(text.to_owned())),
    }
}
