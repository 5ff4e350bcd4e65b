//! Parses a sensor's answer to a poll. It is JSON: from a bare `"23.50"`, as the oldest devices
//! send, to an object with sequence number and time.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde_json::value::RawValue;

use crate::{
    object::{LeftOut, Object, kind, text, text_up_to, whole_number},
    timestamp::Timestamp,
};

/// A parsed answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The value as the sensor wrote it: numbers digit for digit, strings without their quotes,
    /// booleans as `true` or `false`.
    pub value: String,
    /// Sequence number: the sensor's own count of its readings.
    pub seq: Option<u64>,
    /// Time by the sensor's own clock.
    pub time: Option<Timestamp>,
    /// Unit, if this answer names one.
    pub unit: Option<String>,
    /// Signature as the sensor wrote it. It is stored but not verified.
    pub signature: Option<String>,
    /// Optional fields that were invalid and left out.
    pub left_out: Vec<LeftOut>,
}

impl Answer {
    /// Largest answer in bytes: as much as one field of an event holds.
    pub const PAYLOAD_BYTES_MAX: usize = 32_766;
    /// Largest sequence number: the last integer that JSON can carry exactly everywhere (RFC 8259
    /// section 6).
    pub const SEQ_MAX: u64 = (1 << 53) - 1;
    /// Longest unit or signature in characters.
    pub const EXTRA_CHARS_MAX: usize = 256;

    /// Parses the payload of an answer. An invalid field other than the value is left out; the rest
    /// of the answer is kept.
    ///
    /// # Errors
    /// The payload is too large, or not JSON, or its value is missing or of the wrong type.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidAnswer> {
        if payload.len() > Self::PAYLOAD_BYTES_MAX {
            return Err(InvalidAnswer(format!(
                "the answer has {} bytes, but at most {} are read",
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
                left_out: Vec::new(),
            });
        }
        let mut object: Object<'_> = serde_json::from_str(json.get()).map_err(invalid)?;
        Ok(Self {
            value: value(object.required("value").map_err(InvalidAnswer)?)?,
            seq: object.optional("seq", |json| whole_number(Self::SEQ_MAX, json)),
            time: object.optional("time", time),
            unit: object.optional("unit", |json| text_up_to(Self::EXTRA_CHARS_MAX, json)),
            signature: object.optional("signature", |json| text_up_to(Self::EXTRA_CHARS_MAX, json)),
            left_out: object.into_left_out(),
        })
    }
}

/// Reason why an answer is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAnswer(String);

fn value(json: &RawValue) -> Result<String, InvalidAnswer> {
    match kind(json) {
        "text" => serde_json::from_str(json.get()).map_err(invalid),
        "a number" | "a boolean" => Ok(String::from(json.get())),
        kind => {
            Err(InvalidAnswer(format!("the value is {kind}; use a number, a string or a boolean")))
        }
    }
}

fn time(json: &RawValue) -> Result<Timestamp, String> {
    text(json)
        .map_err(|reason| format!("{reason} in RFC 3339, such as 2026-11-23T19:01:23Z"))?
        .parse()
        .map_err(|error: crate::timestamp::InvalidTimestamp| error.to_string())
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
            ("null", "use a number"),
            ("[1]", "use a number"),
            (r#"{"seq":1}"#, "missing field `value`"),
            (r#"{"value":{}}"#, "use a number"),
            (r#"{"value":1,"value":2}"#, "duplicate field"),
            (r#"{"value":[1]}"#, "the value is an array"),
        ] {
            let error = Answer::parse(payload.as_bytes()).expect_err(payload).to_string();
            assert!(error.contains(words), "{payload}: {error}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_taken_costs_itself_alone() {
        for (field, words) in [
            (r#""seq":"7""#, "`seq` is left out: it is text; use a whole number"),
            (r#""seq":-1"#, "`seq` is left out: it is -1; use a whole number"),
            (r#""seq":9007199254740992"#, "use a whole number of 0 to 9007199254740991"),
            (r#""seq":1,"seq":2"#, "`seq` is left out: it appears twice"),
            (r#""seq":[1]"#, "it is an array"),
            (r#""time":1795460483"#, "`time` is left out: it is a number; use text in RFC 3339"),
            (r#""time":"2026-11-23T19:01:23""#, "use RFC 3339"), // no zone
            (r#""time":"noon""#, "use RFC 3339"),
            (r#""unit":5"#, "`unit` is left out: it is a number; use text"),
            (r#""unit":{"si":"bar"}"#, "it is an object"),
            (r#""signature":true"#, "`signature` is left out: it is a boolean"),
        ] {
            let payload = format!(r#"{{{field},"value":23.50}}"#);
            let answer = Answer::parse(payload.as_bytes()).expect(&payload);
            assert_eq!(answer.value, "23.50", "{payload}");
            let told: Vec<String> = answer.left_out.iter().map(LeftOut::to_string).collect();
            assert!(told.len() == 1 && told.concat().contains(words), "{payload}: {told:?}");
        }
        let long = format!(r#"{{"value":1,"unit":"{}"}}"#, "x".repeat(257));
        let long = Answer::parse(long.as_bytes()).unwrap();
        assert_eq!((long.unit, long.left_out.len()), (None, 1));
        let nulls = Answer::parse(br#"{"value":1,"seq":null,"unit":null}"#).unwrap();
        assert_eq!(nulls.left_out, [], "null is as if it were not there");
    }

    #[test]
    fn what_says_the_same_is_read_the_same() {
        let plain = Answer::parse(br#"{"value":"a","seq":20,"unit":"bar"}"#).unwrap();
        for payload in [
            " {\n\t\"unit\" : \"bar\" , \"seq\" : 20 , \"value\" : \"a\" } \r\n",
            r#"{"seq":2e1,"value":"\u0061","unit":"b\u0061r"}"#,
            r#"{"\u0073eq":20.0,"v\u0061lue":"a","unit":"bar","x":{"seq":1},"x":2}"#,
            r#"{"seq":200e-1,"value":"a","unit":"bar","time":null}"#,
        ] {
            assert_eq!(Answer::parse(payload.as_bytes()).as_ref(), Ok(&plain), "{payload}");
        }
        // A string that holds JSON is a string: the parser looks at the outermost type first.
        let text = Answer::parse(br#""{\"value\":1,\"seq\":2}""#).unwrap();
        assert_eq!((text.value.as_str(), text.seq), (r#"{"value":1,"seq":2}"#, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(payload: Vec<u8>) {
            let _either = Answer::parse(&payload);
        }
    }
}
