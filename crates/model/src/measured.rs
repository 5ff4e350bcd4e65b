//! What one channel of a reading measured: its value, with its declaration at that time.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    channel::{Channel, Kind},
    decimal,
    values::{Value, Values},
};

/// A channel's value in a reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The channel as it was declared when the reading was taken: what is sealed of it.
    pub channel: Channel,
    /// The value as the sensor wrote it.
    pub value: Value,
}

impl Measured {
    /// The value as text, a number with its scale; an array as JSON, with each number's scale.
    #[must_use]
    pub fn text(&self) -> String {
        let scaled = |digits: &String| decimal::scaled(digits, self.channel.scale);
        match &self.value {
            Value::Boolean(value) => value.to_string(),
            Value::Number(digits) => scaled(digits),
            Value::Numbers(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(scaled).collect();
                format!("[{}]", numbers.join(","))
            }
            Value::Text(text) => text.clone(),
        }
    }

    /// The value of a number, with its scale: digit for digit, and never rounded.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        match &self.value {
            Value::Number(digits) => Some(decimal::scaled(digits, self.channel.scale)),
            Value::Boolean(_) | Value::Numbers(_) | Value::Text(_) => None,
        }
    }
}

/// `temperature 23.50 °C`; an array says how many numbers it has.
impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Channel { name, unit, .. } = &self.channel;
        if let Value::Numbers(numbers) = &self.value {
            return write!(formatter, "{name} ({} numbers)", numbers.len());
        }
        write!(formatter, "{name} {}", self.text())?;
        unit.as_ref().map_or(Ok(()), |unit| write!(formatter, " {unit}"))
    }
}

/// Each value with the declaration of its channel.
pub(crate) fn pair(declared: &[Channel], values: Values) -> Vec<Measured> {
    let of_name = |name: &str| {
        let channel = declared.iter().find(|channel| channel.name == name);
        channel.map_or_else(|| Channel::undeclared(name), Channel::of_reading)
    };
    values
        .into_inner()
        .into_iter()
        .map(|(name, value)| Measured { channel: of_name(&name), value })
        .collect()
}

/// What is wrong with values that are not as their channels declare them; `None` if all are.
pub(crate) fn misfits(declared: &[Channel], values: &Values) -> Option<String> {
    let misfit = |(name, value): (&str, &Value)| {
        declared
            .iter()
            .find(|channel| channel.name == name)
            .and_then(|channel| fits(channel, value).err())
    };
    let misfits: Vec<String> = values.iter().filter_map(misfit).collect();
    (!misfits.is_empty()).then(|| misfits.join("; "))
}

/// Whether a value is as the channel declares it. The error says why not.
fn fits(channel: &Channel, value: &Value) -> Result<(), String> {
    let is_of_kind = match (channel.kind, value) {
        (None, _)
        | (Some(Kind::Number), Value::Number(_))
        | (Some(Kind::Text), Value::Text(_))
        | (Some(Kind::Boolean), Value::Boolean(_))
        | (Some(Kind::Numbers), Value::Numbers(_)) => true,
        (Some(Kind::Enum), Value::Text(text)) => {
            channel.options.is_empty() || channel.options.contains(text)
        }
        _ => false,
    };
    if is_of_kind {
        return Ok(());
    }
    let declared = match channel.kind {
        Some(Kind::Boolean) => String::from("a boolean"),
        Some(Kind::Enum) if !channel.options.is_empty() => {
            format!("one of {}", channel.options.join(", "))
        }
        Some(Kind::Numbers) => String::from("an array of numbers"),
        Some(Kind::Text | Kind::Enum) => String::from("text"),
        Some(Kind::Number) | None => String::from("a number"),
    };
    Err(format!("`{}` is not {declared}", channel.name))
}

/// The channels of a reading as they are sealed.
pub(crate) fn canonical(measured: &[Measured]) -> String {
    let channels: Vec<&Channel> = measured.iter().map(|measured| &measured.channel).collect();
    serde_json::to_string(&channels).expect("a channel has only text keys")
}

/// `temperature 23.50 °C, humidity 41 %`.
pub(crate) fn words(measured: &[Measured]) -> String {
    let words: Vec<String> = measured.iter().map(ToString::to_string).collect();
    words.join(", ")
}
