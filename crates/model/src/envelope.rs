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

/// 16 random bytes, in hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

impl Envelope {
    /// Largest envelope in bytes: eight text fields of 32,766 four-byte characters fit.
    pub const BYTES_MAX: usize = 1 << 20;

    /// The bytes that are hashed and stored.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope has only text keys and no floating point")
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
            event: Event::reading(&heartbeat(), answer, at),
            received_at: at,
            salt: Salt::from_random([0xab; 16]),
        };
        let text = String::from_utf8(envelope.canonical()).unwrap();
        assert_eq!(
            text,
            "{\"event\":{\"action\":\"SENSOR_READING\",\"actor\":\"poller\",\"message\":\"Boiler Room.T1: 23.50\",\"new\":\"23.50\",\
             \"sealwire\":{\"range\":\"0..50\",\"sensor\":\"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3\",\"seq\":4,\"unit\":\"°C\"},\
             \"source\":\"Boiler Room.T1\",\"status\":\"SUCCESS\",\"timestamp\":\"2026-11-23T19:01:23.123456Z\"},\
             \"received_at\":\"2026-11-23T19:01:23.123456Z\",\"salt\":\"abababababababababababababababab\"}"
        );
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap(), envelope);
    }

    #[test]
    fn an_unanswered_and_a_garbled_poll_keep_what_is_known() {
        let at = Timestamp::from_unix_micros(0);
        let silent = Event::reading(&heartbeat(), Outcome::CommError, at);
        assert_eq!(
            (silent.status.as_deref(), silent.new.as_deref()),
            (Some(COMM_ERROR), Some("N/A"))
        );
        let garbled = Event::reading(&heartbeat(), Outcome::of(b"23.5C"), at);
        assert_eq!(garbled.status.as_deref(), Some(VALUE_ERROR));
        let detail = garbled.sealwire.unwrap();
        assert_eq!(detail.raw.as_deref(), Some("23.5C"));
        assert!(detail.error.unwrap().contains("trailing characters"));
        let binary = Event::reading(&heartbeat(), Outcome::of(&[0xff, 0x00]), at);
        assert_eq!(binary.sealwire.unwrap().raw_hex.as_deref(), Some("ff00"));
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        option::of(any::<String>())
    }

    prop_compose! {
        fn detail()(component in text(), error in text(), heartbeat in text(), raw in text(), seq in option::of(0..1_u64 << 53),
            from_leaf in option::of(0..1_u64 << 53), sensor in option::of(any::<[u8; 16]>()), unit in text()) -> Detail {
            Detail { component, error, heartbeat, raw, seq, from_leaf, sensor: sensor.map(SensorId::from_bytes), unit, format: Some(1),
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
            prop_assert_eq!(Envelope::parse(&bytes).unwrap(), envelope);
        }
    }
}
