//! What a sensor answers to a poll: JSON, from a bare `"23.50"` of the oldest devices to an object with sequence number and time.

use alloc::{
    format,
    string::{String, ToString as _},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Timestamp;

/// An answer that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The value as the sensor wrote it: numbers digit for digit, strings without their quotes, `true` or `false`.
    pub value: String,
    /// The sensor's own count of its readings.
    pub seq: Option<u64>,
    /// The sensor's own clock.
    pub time: Option<Timestamp>,
    /// Unit, where this answer names one.
    pub unit: Option<String>,
    /// Signature as the sensor wrote it; kept, not checked.
    pub signature: Option<String>,
}

impl Answer {
    /// Largest answer in bytes: what one field of an event holds.
    pub const PAYLOAD_BYTES_MAX: usize = 32_766;
    /// Largest sequence number: the last integer that JSON can carry exactly everywhere (RFC 8259 section 6).
    pub const SEQ_MAX: u64 = (1 << 53) - 1;
    /// Longest unit or signature in characters.
    pub const EXTRA_CHARS_MAX: usize = 256;

    /// Reads an answer as it came from the wire.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidAnswer> {
        if payload.len() > Self::PAYLOAD_BYTES_MAX {
            return Err(InvalidAnswer(format!(
                "the answer has {} bytes: at most {} are read",
                payload.len(),
                Self::PAYLOAD_BYTES_MAX
            )));
        }
        let json: &RawValue = serde_json::from_slice(payload).map_err(invalid)?;
        if !json.get().starts_with('{') {
            return Ok(Self {
                value: value(json)?,
                seq: None,
                time: None,
                unit: None,
                signature: None,
            });
        }
        let wire: Wire<'_> = serde_json::from_str(json.get()).map_err(invalid)?;
        if wire.seq.is_some_and(|seq| seq > Self::SEQ_MAX) {
            return Err(InvalidAnswer(format!("`seq` is over {}", Self::SEQ_MAX)));
        }
        Ok(Self {
            value: value(wire.value)?,
            seq: wire.seq,
            time: wire.time,
            unit: extra("unit", wire.unit)?,
            signature: extra("signature", wire.signature)?,
        })
    }
}

/// Why an answer is not understood, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAnswer(String);

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    seq: Option<u64>,
    time: Option<Timestamp>,
    unit: Option<String>,
    signature: Option<String>,
}

fn value(json: &RawValue) -> Result<String, InvalidAnswer> {
    let text = json.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(invalid),
        Some(b'0'..=b'9' | b'-' | b't' | b'f') => Ok(String::from(text)),
        _ => Err(InvalidAnswer(String::from(
            "the value is neither a number nor a string nor a boolean",
        ))),
    }
}

fn extra(field: &str, text: Option<String>) -> Result<Option<String>, InvalidAnswer> {
    match text {
        Some(text) if text.chars().count() > Answer::EXTRA_CHARS_MAX => Err(InvalidAnswer(
            format!("`{field}` is longer than {} characters", Answer::EXTRA_CHARS_MAX),
        )),
        text => Ok(text),
    }
}

fn invalid(error: serde_json::Error) -> InvalidAnswer {
    InvalidAnswer(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_the_protocol() {
        for (payload, value) in [
            (r#""23.50""#, "23.50"), // the oldest devices
            ("23.50", "23.50"),      // digit for digit
            ("-1e3", "-1e3"),
            ("true", "true"),
            (r#""open""#, "open"),
            (r#"  {"value": 7.0, "seq": 3}  "#, "7.0"),
            (r#"{"value":"a\nb","later":1}"#, "a\nb"), // unknown fields are ignored
        ] {
            assert_eq!(Answer::parse(payload.as_bytes()).unwrap().value, value, "{payload}");
        }
        let full =
            br#"{"value":1,"seq":9,"time":"2026-11-23T19:01:23Z","unit":"bar","signature":"c2ln"}"#;
        let full = Answer::parse(full).unwrap();
        assert_eq!((full.seq, full.unit.as_deref()), (Some(9), Some("bar")));
    }

    #[test]
    fn what_is_not_an_answer_is_refused_in_words() {
        for (payload, words) in [
            ("", "EOF"),
            ("23.5C", "trailing characters"),
            ("null", "neither a number"),
            ("[1]", "neither a number"),
            (r#"{"seq":1}"#, "missing field `value`"),
            (r#"{"value":{}}"#, "neither a number"),
            (r#"{"value":1,"value":2}"#, "duplicate field"),
            (r#"{"value":1,"seq":9007199254740992}"#, "`seq` is over"),
            (r#"{"value":1,"time":"noon"}"#, "RFC 3339"),
        ] {
            let error = Answer::parse(payload.as_bytes()).expect_err(payload).to_string();
            assert!(error.contains(words), "{payload}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(payload: Vec<u8>) {
            let _either = Answer::parse(&payload);
        }
    }
}
