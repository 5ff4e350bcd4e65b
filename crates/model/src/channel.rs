//! A channel: one of several things that a sensor measures, as its heartbeat declares it.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    decimal::Decimal,
    object::{Object, integer, kind, name, name_of, text},
    range::{self, Range},
};

/// A declared channel. Its JSON is canonical (RFC 8785), except that the numbers of a range are
/// text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Channel {
    /// Type of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Name of the channel in answers.
    pub name: String,
    /// Values that an enum can have; any if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Measured quantity, for example `temperature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Range of normal values, after `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Power of ten by which its numbers are multiplied.
    #[serde(skip_serializing_if = "is_zero")]
    pub scale: i8,
    /// Unit of its values, for example `°C`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// How a value stands to the range of its channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InRange {
    /// It is within the range.
    Inside,
    /// It is below or above the range.
    Outside,
    /// It is not a number.
    NotJudged,
}

/// Type of a channel's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Numbers.
    Number,
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// One of several texts.
    Enum,
    /// Arrays of numbers.
    Numbers,
}

impl Channel {
    /// Whether a reading's channel says more than its name, as only a declared one does.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        *self != Self::undeclared(&self.name)
    }

    /// How a value, with its scale, stands to the range; `None` without a range.
    #[must_use]
    pub fn judge(&self, value: &str) -> Option<InRange> {
        let range = self.range?;
        Some(match Decimal::parse(value) {
            None => InRange::NotJudged,
            Some(number) if range.contains(&number) => InRange::Inside,
            Some(_) => InRange::Outside,
        })
    }

    /// Most channels of a sensor. All of them fit into a heartbeat of 8 KiB.
    pub const COUNT_MAX: usize = 32;
    /// Most values that an enum can have.
    pub const OPTIONS_MAX: usize = 32;
    /// Largest scale and, negative, smallest: 10^18 is the largest power of ten in 64 bits.
    pub const SCALE_MAX: i8 = 18;

    /// A channel of which only the name is known.
    #[must_use]
    pub fn undeclared(name: &str) -> Self {
        Self { name: String::from(name), ..Self::default() }
    }

    /// Parses the list of channels of a heartbeat or of a sealed reading.
    ///
    /// # Errors
    /// It is not a list of channels, or one of them is invalid; the error says which.
    pub fn parse_list(json: &RawValue) -> Result<Vec<Self>, String> {
        let list: Vec<&RawValue> = match kind(json) {
            "an array" => serde_json::from_str(json.get()).map_err(|error| error.to_string())?,
            other => return Err(format!("it is {other}; use an array of channels")),
        };
        if list.len() > Self::COUNT_MAX {
            return Err(format!("it has {} channels; use at most {}", list.len(), Self::COUNT_MAX));
        }
        let mut channels: Vec<Self> = Vec::with_capacity(list.len());
        for (number, json) in (1_usize..).zip(list) {
            let channel =
                Self::read(json).map_err(|reason| format!("channel {number}: {reason}"))?;
            if channels.iter().any(|other| other.name == channel.name) {
                return Err(format!("channel {number} has the name of an earlier one"));
            }
            channels.push(channel);
        }
        Ok(channels)
    }

    fn read(json: &RawValue) -> Result<Self, String> {
        if kind(json) != "an object" {
            return Err(format!("it is {}; use an object", kind(json)));
        }
        let mut object: Object<'_> =
            serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
        let channel = Self {
            name: channel_name(text(object.required("name")?)?)?,
            kind: object.optional("kind", Kind::read),
            options: object.optional("options", options).unwrap_or_default(),
            quantity: object.optional("quantity", name),
            range: object.optional("range", range::read),
            scale: object.optional("scale", scale).unwrap_or_default(),
            unit: object.optional("unit", name),
        };
        if let Some(invalid) = object.into_left_out().into_iter().next() {
            return Err(format!("`{}`: {}", invalid.field, invalid.reason));
        }
        if channel.kind != Some(Kind::Enum) && !channel.options.is_empty() {
            return Err(String::from("`options` belong to the kind `enum`"));
        }
        Ok(channel)
    }

    /// The part of the declaration that is sealed with a reading.
    pub(crate) fn of_reading(&self) -> Self {
        Self { options: Vec::new(), quantity: None, ..self.clone() }
    }
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("number", Self::Number),
        ("text", Self::Text),
        ("boolean", Self::Boolean),
        ("enum", Self::Enum),
        ("numbers", Self::Numbers),
    ];

    fn read(json: &RawValue) -> Result<Self, String> {
        let word = text(json)?;
        let known = Self::ALL.iter().find(|(name, _)| *name == word);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            String::from("it is no kind; use number, text, boolean, enum or numbers")
        })
    }
}

/// A name that a channel can have.
pub(crate) fn channel_name(text: String) -> Result<String, String> {
    let empty = || String::from("it is empty; use 1 to 60 characters");
    let name = name_of(text).and_then(|name| (!name.is_empty()).then_some(name).ok_or_else(empty));
    name.map_err(|reason| format!("a channel's name: {reason}"))
}

fn options(json: &RawValue) -> Result<Vec<String>, String> {
    let list: Vec<&RawValue> = match kind(json) {
        "an array" => serde_json::from_str(json.get()).map_err(|error| error.to_string())?,
        other => return Err(format!("it is {other}; use an array of texts")),
    };
    if list.is_empty() || list.len() > Channel::OPTIONS_MAX {
        return Err(format!("it has {} texts; use 1 to {}", list.len(), Channel::OPTIONS_MAX));
    }
    let mut options: Vec<String> = Vec::with_capacity(list.len());
    for json in list {
        let option = name(json)?;
        if options.contains(&option) {
            return Err(String::from("a text is there twice"));
        }
        options.push(option);
    }
    Ok(options)
}

fn scale(json: &RawValue) -> Result<i8, String> {
    let max = Channel::SCALE_MAX;
    integer(json)
        .and_then(|scale| i8::try_from(scale).ok())
        .filter(|scale| (-max..=max).contains(scale))
        .ok_or_else(|| format!("it is not a whole number from -{max} to {max}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(scale: &i8) -> bool {
    *scale == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Vec<Channel>, String> {
        Channel::parse_list(serde_json::from_str(json).expect(json))
    }

    #[test]
    fn a_declaration_is_sealed_canonically_and_read_back() {
        let channels = parse(
            r#"[{"unit":"°C","scale":-2.0,"range":[-0.5,50],"quantity":"temperature","name":"t","kind":"number","more":{}},
                {"name":"door","kind":"enum","options":["open","closed"],"scale":0,"unit":null}]"#,
        )
        .unwrap();
        let text = serde_json::to_string(&channels).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"[{"kind":"number","name":"t","quantity":"temperature","range":"-0.5..50","scale":-2,"unit":"°C"},"#,
                r#"{"kind":"enum","name":"door","options":["open","closed"]}]"#
            )
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, serde_json_canonicalizer::to_string(&value).unwrap());
        assert_eq!(parse(&text), Ok(channels));
    }

    #[test]
    fn refusals_name_the_channel_and_what_is_allowed() {
        let list = |count: usize| {
            let channels: Vec<String> =
                (0..count).map(|number| format!(r#"{{"name":"{number}"}}"#)).collect();
            format!("[{}]", channels.join(","))
        };
        let options: Vec<String> = (0..33).map(|number| format!("\"{number}\"")).collect();
        let options =
            format!(r#"[{{"name":"a","kind":"enum","options":[{}]}}]"#, options.join(","));
        for (json, words) in [
            ("{}", "it is an object; use an array of channels"),
            ("[7]", "channel 1: it is a number; use an object"),
            (r#"[{"name":"a"},{"name":"a"}]"#, "channel 2 has the name of an earlier one"),
            (r#"[{}]"#, "channel 1: missing field `name`"),
            (r#"[{"name":7}]"#, "it is a number; use text"),
            (r#"[{"name":""}]"#, "it is empty; use 1 to 60 characters"),
            (r#"[{"name":"a\n"}]"#, "it has a control character"),
            (r#"[{"name":"a","name":"b"}]"#, "duplicate field `name`"),
            (r#"[{"name":"a","kind":"float"}]"#, "`kind`: it is no kind; use number, text"),
            (r#"[{"name":"a","scale":19}]"#, "`scale`: it is not a whole number from -18 to 18"),
            (r#"[{"name":"a","scale":-19}]"#, "from -18 to 18"),
            (r#"[{"name":"a","scale":0.5}]"#, "from -18 to 18"),
            (r#"[{"name":"a","scale":"2"}]"#, "from -18 to 18"),
            (r#"[{"name":"a","range":[1,0]}]"#, "`range`: a range is two finite numbers"),
            (r#"[{"name":"a","unit":5}]"#, "`unit`: it is a number; use text"),
            (r#"[{"name":"a","options":["b"]}]"#, "`options` belong to the kind `enum`"),
            (r#"[{"name":"a","kind":"enum","options":[]}]"#, "it has 0 texts; use 1 to 32"),
            (r#"[{"name":"a","kind":"enum","options":["b","b"]}]"#, "a text is there twice"),
            (&options, "it has 33 texts; use 1 to 32"),
            (&list(33), "it has 33 channels; use at most 32"),
        ] {
            let refusal = parse(json).expect_err(json);
            assert!(refusal.contains(words), "{json:.80}: {refusal}");
        }
        assert_eq!(parse(&list(32)).unwrap().len(), 32);
    }
}
