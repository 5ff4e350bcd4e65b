//! Parses a sensor's answer to a poll. It is JSON: from a bare `"23.50"`, as the oldest devices
//! send, to an object with sequence number and time.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde_json::value::RawValue;

use crate::{
    device_time::{Doubt, ToldTime},
    object::{LeftOut, Object, kind, text, text_up_to, whole_number},
    values::Values,
};

/// A parsed answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The value as the sensor wrote it: numbers digit for digit, strings without their quotes,
    /// booleans as `true` or `false`. With `values`, their JSON text.
    pub value: String,
    /// The values of several channels, if the answer has them.
    pub values: Option<Values>,
    /// Sequence number: the sensor's own count of its readings.
    pub seq: Option<u64>,
    /// The start of the sensor from which `uptime_ms` counts.
    pub boot: Option<String>,
    /// Milliseconds from that start to the reading.
    pub uptime_ms: Option<u64>,
    /// Time by the sensor's own clock, right or wrong.
    pub time: Option<ToldTime>,
    /// How far that time may be off, in milliseconds.
    pub time_error_ms: Option<u64>,
    /// What the poll brought: 64 hex digits.
    pub nonce: Option<String>,
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
    /// Longest boot id in characters: that of a UUID.
    pub const BOOT_CHARS_MAX: usize = 36;
    /// Length of a nonce in hex digits: a SHA-256.
    pub const NONCE_DIGITS: usize = 64;
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
            return Ok(Self { value: value(json)?, ..Self::default() });
        }
        let mut object: Object<'_> = serde_json::from_str(json.get()).map_err(invalid)?;
        let (value, values) = measured(&mut object)?;
        Ok(Self {
            value,
            values,
            seq: object.optional("seq", |json| whole_number(Self::SEQ_MAX, json)),
            boot: object.optional("boot", boot),
            uptime_ms: object.optional("uptime", |json| whole_number(Self::SEQ_MAX, json)),
            time: object.optional("time", time),
            time_error_ms: object.optional("time_error", |json| whole_number(Self::SEQ_MAX, json)),
            nonce: object.optional("nonce", nonce),
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

/// The `value` of an answer, or its `values` with their text. `value` goes first, so that a device
/// that has another idea of `values` is understood as before.
fn measured(object: &mut Object<'_>) -> Result<(String, Option<Values>), InvalidAnswer> {
    if !object.has("value") && object.has("values") {
        let json = object.required("values").map_err(InvalidAnswer)?;
        let values = Values::parse(json).map_err(InvalidAnswer)?;
        object.take_out("unit", "the channels' units belong into the heartbeat");
        return Ok((String::from(json.get()), Some(values)));
    }
    object.take_out("values", "the answer has a `value`");
    Ok((value(object.required("value").map_err(InvalidAnswer)?)?, None))
}

fn value(json: &RawValue) -> Result<String, InvalidAnswer> {
    match kind(json) {
        "text" => serde_json::from_str(json.get()).map_err(invalid),
        "a number" | "a boolean" => Ok(String::from(json.get())),
        kind => {
            Err(InvalidAnswer(format!("the value is {kind}; use a number, a string or a boolean")))
        }
    }
}

fn boot(json: &RawValue) -> Result<String, String> {
    let boot = text(json)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if boot.is_empty() || boot.len() > Answer::BOOT_CHARS_MAX || !boot.bytes().all(is_plain) {
        let max = Answer::BOOT_CHARS_MAX;
        return Err(format!("it is no boot id; use 1 to {max} of 0-9, A-Z, a-z, - and _"));
    }
    Ok(boot)
}

fn nonce(json: &RawValue) -> Result<String, String> {
    let nonce = text(json)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if nonce.len() != Answer::NONCE_DIGITS || !nonce.bytes().all(is_digit) {
        return Err(format!("it is not {} hex digits in lower case", Answer::NONCE_DIGITS));
    }
    Ok(nonce)
}

/// A number is kept as it was written: whether it counts seconds or milliseconds, only the device
/// knows.
fn time(json: &RawValue) -> Result<ToldTime, String> {
    if kind(json) == "a number" {
        return Ok(ToldTime::unread(json.get(), Doubt::NotATime));
    }
    let text = text(json)
        .map_err(|reason| format!("{reason} in RFC 3339, such as 2026-11-23T19:01:23Z"))?;
    Ok(ToldTime::of_rfc3339(&text))
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
            (r#""time":true"#, "`time` is left out: it is a boolean; use text in RFC 3339"),
            (r#""time":[1795460483]"#, "it is an array; use text in RFC 3339"),
            (r#""unit":5"#, "`unit` is left out: it is a number; use text"),
            (r#""unit":{"si":"bar"}"#, "it is an object"),
            (r#""signature":true"#, "`signature` is left out: it is a boolean"),
            (r#""boot":7"#, "`boot` is left out: it is a number; use text"),
            (r#""boot":"""#, "use 1 to 36 of 0-9, A-Z, a-z, - and _"),
            (r#""boot":"a b""#, "it is no boot id"),
            (r#""boot":"0123456789012345678901234567890123456""#, "use 1 to 36"),
            (r#""uptime":-1"#, "`uptime` is left out: it is -1; use a whole number"),
            (r#""uptime":1e400"#, "use a whole number"),
            (r#""time_error":0.5"#, "`time_error` is left out"),
            (r#""nonce":"5F0c""#, "`nonce` is left out: it is not 64 hex digits in lower case"),
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
    fn a_time_that_is_none_is_kept_as_it_was_written() {
        for (json, text, doubt) in [
            ("1795460483", "1795460483", Doubt::NotATime),
            ("1.795460483e9", "1.795460483e9", Doubt::NotATime),
            (r#""2026-11-23T19:01:23""#, "2026-11-23T19:01:23", Doubt::NoZone),
            (r#""n\u006fon""#, "noon", Doubt::NotATime),
            (r#""0000-00-00T00:00:00Z""#, "0000-00-00T00:00:00Z", Doubt::NotATime),
            (r#""1900-01-01T00:00:00Z""#, "1900-01-01T00:00:00Z", Doubt::YearOutOfRange),
        ] {
            let payload = format!(r#"{{"value":1,"time":{json}}}"#);
            let answer = Answer::parse(payload.as_bytes()).unwrap();
            let kept = ToldTime::Text { text: String::from(text), doubt };
            assert_eq!((answer.time, answer.left_out.len()), (Some(kept), 0), "{json}");
        }
    }

    #[test]
    fn several_values_are_kept_as_they_were_written() {
        let json = "{ \"t\":2350,\n\"h\":41.0 }";
        let payload = format!(
            r#"{{"values": {json} ,"seq":7,"boot":"0000002a","uptime":61234,"time":"2026-11-23T19:01:23Z","time_error":250,"nonce":"{}"}}"#,
            "0f".repeat(32)
        );
        let answer = Answer::parse(payload.as_bytes()).unwrap();
        assert_eq!(answer.value, json);
        let values = answer.values.unwrap();
        let names: Vec<&str> = values.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["t", "h"]);
        assert_eq!((answer.seq, answer.boot.as_deref()), (Some(7), Some("0000002a")));
        assert_eq!((answer.uptime_ms, answer.time_error_ms), (Some(61_234), Some(250)));
        assert_eq!(answer.nonce, Some("0f".repeat(32)));
        assert_eq!(answer.left_out, []);
    }

    #[test]
    fn a_value_goes_before_values() {
        for (payload, value, left_out) in [
            (
                r#"{"value":1,"values":{"a":2}}"#,
                "1",
                "`values` is left out: the answer has a `value`",
            ),
            (r#"{"values":[3],"value":"x"}"#, "x", "`values` is left out"), // whatever they are
            (
                r#"{"values":{"a":2},"unit":"bar"}"#,
                r#"{"a":2}"#,
                "`unit` is left out: the channels' units",
            ),
            (r#"{"values":{"a":2},"value":null}"#, r#"{"a":2}"#, ""),
            (r#"{"value":1,"values":null}"#, "1", ""),
        ] {
            let answer = Answer::parse(payload.as_bytes()).unwrap();
            assert_eq!(answer.value, value, "{payload}");
            let told: Vec<String> = answer.left_out.iter().map(LeftOut::to_string).collect();
            assert_eq!(told.len(), usize::from(!left_out.is_empty()), "{payload}: {told:?}");
            assert!(told.concat().contains(left_out), "{payload}: {told:?}");
        }
        for (payload, words) in [
            (r#"{"values":null}"#, "missing field `value`"),
            (r#"{"values":{"a":1},"values":{"a":1}}"#, "duplicate field `values`"),
            (r#"{"value":1,"value":1,"values":{"a":1}}"#, "duplicate field `value`"),
            (r#"{"values":{"a":1,"a":2}}"#, "the channel `a` appears twice"),
        ] {
            let refusal = Answer::parse(payload.as_bytes()).expect_err(payload).to_string();
            assert!(refusal.contains(words), "{payload}: {refusal}");
        }
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
