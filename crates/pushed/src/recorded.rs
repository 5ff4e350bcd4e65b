//! Recorded messages, one JSON object a line:
//! `{"topic":"tele/kitchen/SENSOR","payload":"{...}","at":"2026-11-29T12:00:00Z"}`.
//!
//! `payload_base64` stands instead of `payload` for bytes that are not text. `at` is when the
//! message came; `source` says where it was recorded, and is for people.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Timestamp;
use serde::{Deserialize, Serialize};

/// A recorded message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// The MQTT topic.
    pub topic: String,
    /// The bytes of the message.
    pub payload: Vec<u8>,
    /// When it came, if the record says so.
    pub at: Option<Timestamp>,
}

/// A line that is not a recorded message.
#[derive(Debug, thiserror::Error)]
#[error("{0}; a line is {{\"topic\": ..., \"payload\": ...}} or has `payload_base64`")]
pub struct InvalidRecord(String);

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(rename = "source", skip_serializing)]
    _source: Option<String>,
}

impl Recorded {
    /// Parses one line.
    ///
    /// # Errors
    /// The line is not an object with a topic and one payload.
    pub fn parse(line: &str) -> Result<Self, InvalidRecord> {
        let line: Line =
            serde_json::from_str(line).map_err(|error| InvalidRecord(error.to_string()))?;
        let payload = match (line.payload, line.payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD
                .decode(base64)
                .map_err(|error| InvalidRecord(format!("`payload_base64`: {error}")))?,
            (Some(_), Some(_)) => {
                return Err(InvalidRecord(String::from("there are two payloads")));
            }
            (None, None) => return Err(InvalidRecord(String::from("there is no payload"))),
        };
        Ok(Self { topic: line.topic, payload, at: line.at })
    }

    /// The message as one line, without a line end.
    #[must_use]
    pub fn into_line(self) -> String {
        let (payload, payload_base64) = match String::from_utf8(self.payload) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes.as_bytes()))),
        };
        let line = Line { topic: self.topic, payload, payload_base64, at: self.at, _source: None };
        serde_json::to_string(&line).expect("a message has only text keys")
    }
}
