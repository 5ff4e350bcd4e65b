//! The values of several channels in one answer.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde_json::value::RawValue;

use crate::{
    channel::{Channel, channel_name},
    object::{Members, kind, text},
};

/// A channel's value as the sensor wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// A boolean.
    Boolean(bool),
    /// A number, digit for digit.
    Number(String),
    /// Numbers, digit for digit.
    Numbers(Vec<String>),
    /// A text without quotes and escapes.
    Text(String),
}

/// The channels that have a value, in the order of the answer. There is at least one, and no two
/// have the same name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Values(Vec<(String, Value)>);

impl Values {
    /// Most numbers in an array: a spectrum or a waveform of some seconds, which an answer of 32
    /// KiB holds with thirty digits each.
    pub const NUMBERS_MAX: usize = 1_024;

    /// Parses the JSON of `values`. A channel that is `null` has no value.
    ///
    /// # Errors
    /// It is not an object, or has no channel or too many of them, or a name or a value is invalid;
    /// the error says what is allowed.
    pub fn parse(json: &RawValue) -> Result<Self, String> {
        if kind(json) != "an object" {
            return Err(format!("`values` is {}; use an object", kind(json)));
        }
        let Members(members) =
            serde_json::from_str::<Members<'_, { Channel::COUNT_MAX }>>(json.get())
                .map_err(|error| format!("`values`: {error}"))?;
        let mut values: Vec<(String, Value)> = Vec::with_capacity(members.len());
        let mut names: Vec<String> = Vec::with_capacity(members.len());
        for (name, json) in members {
            let name = channel_name(name)?;
            if names.contains(&name) {
                return Err(format!("the channel `{name}` appears twice"));
            }
            names.push(name.clone());
            if let Some(value) =
                Value::read(json).map_err(|reason| format!("the channel `{name}` {reason}"))?
            {
                values.push((name, value));
            }
        }
        if values.is_empty() {
            return Err(String::from("no channel in `values` has a value"));
        }
        Ok(Self(values))
    }

    /// The channels and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The channels and their values.
    pub(crate) fn into_inner(self) -> Vec<(String, Value)> {
        self.0
    }
}

impl Value {
    fn read(json: &RawValue) -> Result<Option<Self>, String> {
        Ok(Some(match kind(json) {
            "a boolean" => Self::Boolean(json.get() == "true"),
            "a number" => Self::Number(String::from(json.get())),
            "text" => Self::Text(text(json)?),
            "an array" => Self::Numbers(numbers(json)?),
            "null" => return Ok(None),
            other => {
                return Err(format!("is {other}; use a number, text, a boolean or numbers"));
            }
        }))
    }
}

fn numbers(json: &RawValue) -> Result<Vec<String>, String> {
    let list: Vec<&RawValue> =
        serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    if list.len() > Values::NUMBERS_MAX {
        return Err(format!("has {} numbers; use at most {}", list.len(), Values::NUMBERS_MAX));
    }
    let number = |json: &&RawValue| match kind(json) {
        "a number" => Ok(String::from(json.get())),
        other => Err(format!("holds {other} in an array; use numbers")),
    };
    list.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Answer;

    fn parse(json: &str) -> Result<Values, String> {
        Values::parse(serde_json::from_str(json).expect(json))
    }

    #[test]
    fn every_type_is_read_in_the_order_of_the_answer() {
        let text = String::from;
        let values = parse(
            r#" { "z": 2350, "a": -1.50E+2, "d\u006for": "o\tpen", "ok": true, "off": false,
                "wave": [ 1, 2.0,-3e400 ], "none": null, "empty": [] } "#,
        )
        .unwrap();
        let expected = [
            ("z", Value::Number(text("2350"))),
            ("a", Value::Number(text("-1.50E+2"))),
            ("door", Value::Text(text("o\tpen"))),
            ("ok", Value::Boolean(true)),
            ("off", Value::Boolean(false)),
            ("wave", Value::Numbers(vec![text("1"), text("2.0"), text("-3e400")])),
            ("empty", Value::Numbers(Vec::new())),
        ];
        let expected = expected.map(|(name, value)| (text(name), value));
        assert_eq!(values.into_inner(), expected);
    }

    #[test]
    fn what_cannot_be_taken_is_refused_in_words() {
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| format!("\"{number}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(61));
        let wave = format!(r#"{{"a":[{}]}}"#, vec!["1"; 1_025].join(","));
        for (json, words) in [
            ("7", "`values` is a number; use an object"),
            ("[1]", "`values` is an array"),
            ("{}", "no channel in `values` has a value"),
            (r#"{"a":null}"#, "no channel in `values` has a value"),
            (r#"{"a":1,"a":1}"#, "the channel `a` appears twice"),
            (r#"{"a":1,"\u0061":null}"#, "the channel `a` appears twice"), // the same in escapes
            (r#"{"":1}"#, "a channel's name: it is empty; use 1 to 60 characters"),
            (r#"{"a\u0000":1}"#, "a channel's name: it has a control character"),
            (&long, "a channel's name: it is longer than 60 characters"),
            (r#"{"a":{"b":1}}"#, "the channel `a` is an object; use a number"),
            (r#"{"a":[[1]]}"#, "the channel `a` holds an array in an array"),
            (r#"{"a":["1"]}"#, "the channel `a` holds text in an array"),
            (r#"{"a":[null]}"#, "the channel `a` holds null in an array"),
            (&wave, "the channel `a` has 1025 numbers; use at most 1024"),
            (&many(33), "it has more than 32 members"),
            (&many(10_000), "it has more than 32 members"),
        ] {
            let refusal = parse(json).expect_err(json);
            assert!(refusal.contains(words), "{json:.80}: {refusal}");
        }
        assert_eq!(parse(&many(32)).unwrap().iter().count(), 32);
    }

    #[test]
    fn what_is_no_json_number_is_no_answer() {
        for number in ["NaN", "Infinity", "-inf", "1.", ".5", "+1", "0x10", "01", "1e", "[1,]"] {
            let answer = format!(r#"{{"values":{{"a":{number}}}}}"#);
            assert!(Answer::parse(answer.as_bytes()).is_err(), "{number}");
        }
        let deep = format!(r#"{{"values":{}1{}}}"#, r#"{"a":"#.repeat(6_000), "}".repeat(6_000));
        assert!(Answer::parse(deep.as_bytes()).is_err());
        let deep = format!(r#"{{"values":{{"a":{}{}}}}}"#, "[".repeat(16_000), "]".repeat(16_000));
        assert!(Answer::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_values_are_read_or_refused(json in r#"\{("[ab]{0,2}":(1|-0\.50e9|"x"|true|null|\[1(,2)?\]|\{\}),){0,4}"c":1\}"#) {
            if let Ok(json) = serde_json::from_str(&json) && let Ok(values) = Values::parse(json) {
                let mut names: Vec<&str> = values.iter().map(|(name, _)| name).collect();
                let count = names.len();
                prop_assert!(count > 0 && names.iter().all(|name| !name.is_empty()));
                names.sort_unstable();
                names.dedup();
                prop_assert_eq!(names.len(), count);
            }
        }
    }
}
