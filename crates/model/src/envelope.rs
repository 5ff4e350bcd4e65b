//! What is sealed: an event, when the ledger received it, and a salt.
//!
//! The log's entry is the SHA-256 of the envelope's canonical JSON. The salt keeps an envelope that was erased from being guessed by trying values
//! against that hash.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{Event, Timestamp};

/// An event as it is sealed. Fields stand in the order of their names: plain serialisation is canonical JSON (RFC 8785).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope {
    /// What happened.
    pub event: Event,
    /// When the ledger took it.
    pub received_at: Timestamp,
    /// What makes the hash unguessable.
    pub salt: Salt,
}

const BEFORE_EVENT: &[u8] = b"{\"event\":";
const BEFORE_RECEIVED_AT: &[u8] = b",\"received_at\":\"";
const BEFORE_SALT: &[u8] = b"\",\"salt\":\"";
const AFTER_SALT: &[u8] = b"\"}";
/// Everything behind the event.
const SEALED_AT_LEN: usize =
    BEFORE_RECEIVED_AT.len() + Timestamp::LEN + BEFORE_SALT.len() + 32 + AFTER_SALT.len();

/// 16 random bytes, in hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

impl Envelope {
    /// Largest envelope in bytes: Pangea's ten text fields of 32,766 characters each fit, even where every character must be escaped (six bytes).
    pub const BYTES_MAX: usize = 2 << 20;
    /// Bytes that sealing adds to an event's JSON.
    pub const SEAL_LEN: usize = BEFORE_EVENT.len() + SEALED_AT_LEN;

    /// The bytes that are hashed and stored.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope has only text keys and no floating point")
    }

    /// Appends to `bytes` the canonical envelope around an event's canonical JSON: what [`canonical`](Self::canonical) gives, without the detour.
    pub fn seal(event: &[u8], received_at: &str, salt: Salt, bytes: &mut Vec<u8>) {
        let mut hex = [0; 32];
        hex::encode_to_slice(salt.0, &mut hex).expect("16 bytes are 32 digits");
        for part in [
            BEFORE_EVENT,
            event,
            BEFORE_RECEIVED_AT,
            received_at.as_bytes(),
            BEFORE_SALT,
            &hex,
            AFTER_SALT,
        ] {
            bytes.extend_from_slice(part);
        }
    }

    /// Whether canonical bytes are of an event with this action, looked up without reading the whole: the action comes first.
    #[must_use]
    pub fn has_action(canonical: &[u8], action: &str) -> bool {
        canonical
            .strip_prefix(BEFORE_EVENT)
            .and_then(|event| event.strip_prefix(b"{\"action\":\""))
            .and_then(|rest| rest.strip_prefix(action.as_bytes()))
            .is_some_and(|rest| rest.starts_with(b"\""))
    }

    /// When canonical bytes say that they were received, looked up without reading the whole: it stands at a fixed distance from the end.
    #[must_use]
    pub fn received_at_of(canonical: &[u8]) -> Option<&str> {
        let sealed = canonical.get(canonical.len().checked_sub(SEALED_AT_LEN)?..)?;
        let rest = sealed.strip_prefix(BEFORE_RECEIVED_AT)?;
        str::from_utf8(rest.get(..Timestamp::LEN)?).ok()
    }

    /// Reads stored bytes back.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        serde_json::from_slice(bytes).map_err(|error| InvalidEnvelope(error.to_string()))
    }
}

impl Salt {
    /// A salt of these bytes, which must come from a random number generator fit for keys.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Salt {
    type Error = InvalidEnvelope;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(&text, &mut bytes).map_err(|error| {
            InvalidEnvelope(alloc::format!("the salt is not 32 hex digits: {error}"))
        })?;
        Ok(Self(bytes))
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        hex::encode(salt.0)
    }
}

/// Why bytes are not an envelope.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an envelope: {0}")]
pub struct InvalidEnvelope(String);

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;
    use crate::{
        Heartbeat, Outcome, SensorId,
        event::{COMM_ERROR, Detail, VALUE_ERROR},
    };

    fn heartbeat() -> Heartbeat {
        let text = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"a/p","read_topic":"a/r",
            "location":"Boiler Room","unit":"°C","range":[0,50]}"#;
        Heartbeat::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_envelope_of_a_reading_byte_for_byte() {
        let at = Timestamp::from_unix_micros(1_795_460_483_123_456);
        let answer = Outcome::of(br#"{"value":23.50,"seq":4}"#);
        let envelope = Envelope {
            event: Event::reading(&heartbeat(), 7, answer, at),
            received_at: at,
            salt: Salt::from_random([0xab; 16]),
        };
        let text = String::from_utf8(envelope.canonical()).unwrap();
        assert_eq!(
            text,
            "{\"event\":{\"action\":\"SENSOR_READING\",\"actor\":\"poller\",\"message\":\"Boiler Room.T1: 23.50\",\"new\":\"23.50\",\
             \"sealwire\":{\"poll\":7,\"range\":\"0..50\",\"sensor\":\"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3\",\"seq\":4,\"unit\":\"°C\"},\
             \"source\":\"Boiler Room.T1\",\"status\":\"SUCCESS\",\"timestamp\":\"2026-11-23T19:01:23.123456Z\"},\
             \"received_at\":\"2026-11-23T19:01:23.123456Z\",\"salt\":\"abababababababababababababababab\"}"
        );
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap(), envelope);
    }

    #[test]
    fn an_unanswered_and_a_garbled_poll_keep_what_is_known() {
        let at = Timestamp::from_unix_micros(0);
        let silent = Event::reading(&heartbeat(), 1, Outcome::CommError, at);
        assert_eq!(
            (silent.status.as_deref(), silent.new.as_deref()),
            (Some(COMM_ERROR), Some("N/A"))
        );
        let garbled = Event::reading(&heartbeat(), 1, Outcome::of(b"23.5C"), at);
        assert_eq!(garbled.status.as_deref(), Some(VALUE_ERROR));
        let detail = garbled.sealwire.unwrap();
        assert_eq!(detail.raw.as_deref(), Some("23.5C"));
        assert!(detail.error.unwrap().contains("trailing characters"));
        let binary = Event::reading(&heartbeat(), 1, Outcome::of(&[0xff, 0x00]), at);
        assert_eq!(binary.sealwire.unwrap().raw_hex.as_deref(), Some("ff00"));
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        option::of(any::<String>())
    }

    prop_compose! {
        fn detail()(component in text(), error in text(), heartbeat in text(), raw in text(), seq in option::of(0..1_u64 << 53),
            from_leaf in option::of(0..1_u64 << 53), missing in text(), poll in option::of(0..1_u64 << 53), reason in text(),
            sensor in option::of(any::<[u8; 16]>()), unit in text()) -> Detail {
            Detail { component, erased: Some(String::new()), error, heartbeat, hold: Some(1), hold_from: Some(Timestamp::from_unix_micros(0)),
                hold_to: Some(Timestamp::from_unix_micros(0)), retention: Some(String::new()), retention_to: Some(1), rotation: Some(String::new()),
                raw, seq, from_leaf, missing, poll, reason, sensor: sensor.map(SensorId::from_bytes), unit, format: Some(1),
                origin: Some(String::new()), range: Some(String::new()), raw_hex: Some(String::new()), signature: Some(String::new()),
                sensor_time: Some(Timestamp::from_unix_micros(0)), vkey: Some(String::new()) }
        }
    }

    prop_compose! {
        fn event()(action in text(), actor in text(), message: String, new in text(), old in text(), sealwire in option::of(detail()),
            source in text(), status in text(), target in text(), tenant_id in text(), timestamp in text()) -> Event {
            Event { action, actor, message, new, old, sealwire, source, status, target, tenant_id, timestamp }
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_rfc_8785_and_read_back(event in event(), micros in 0..i64::MAX / 2, salt: [u8; 16]) {
            let envelope = Envelope {
                event,
                received_at: Timestamp::from_unix_micros(micros),
                salt: Salt::from_random(salt),
            };
            let bytes = envelope.canonical();
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&bytes, &serde_json_canonicalizer::to_vec(&value).unwrap());
            prop_assert_eq!(&Envelope::parse(&bytes).unwrap(), &envelope);

            let event = serde_json::to_vec(&envelope.event).unwrap();
            let mut sealed = Vec::new();
            Envelope::seal(&event, &envelope.received_at.to_string(), envelope.salt, &mut sealed);
            prop_assert_eq!(sealed.len(), event.len() + Envelope::SEAL_LEN);
            prop_assert_eq!(&sealed, &bytes);
            prop_assert_eq!(Envelope::received_at_of(&bytes), Some(&*envelope.received_at.to_string()));
            let action = envelope.event.action.as_deref();
            prop_assert_eq!(Envelope::has_action(&bytes, "A"), action == Some("A"));
        }
    }
}
