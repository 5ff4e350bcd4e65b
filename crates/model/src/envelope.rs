//! The envelope that the ledger seals: an event, the time at which the ledger received it, and a
//! salt.
//!
//! The log's entry is the SHA-256 of the envelope's canonical JSON. After an envelope is erased,
//! the salt prevents anyone from guessing its content by hashing likely values.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap as _};

use crate::{
    event::{Detail, Event},
    timestamp::Timestamp,
};

/// A sealed event. Its JSON holds Sealwire's own fields, the signature and the token beside
/// Pangea's event, not within it:
/// `{"event":{...},"public_key":"...","received_at":"...","salt":"...","sealwire":{...},`
/// `"signature":"...","token":"..."}`. Names are sorted, so the JSON is canonical (RFC 8785).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// The event as it was reported.
    pub event: Event,
    /// When the ledger received the event.
    pub received_at: Timestamp,
    /// Random bytes that make the hash unguessable.
    pub salt: Salt,
}

/// An event's part of an envelope, in two pieces: the JSON before the receipt time and the salt,
/// and the JSON after them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventJson {
    /// From the start of the envelope to the receipt time.
    pub head: Vec<u8>,
    /// From behind the salt to the envelope's closing brace.
    pub tail: Vec<u8>,
}

const BEFORE_EVENT: &[u8] = b"{\"event\":";
const BEFORE_PUBLIC_KEY: &[u8] = b",\"public_key\":";
const BEFORE_RECEIVED_AT: &[u8; 16] = b",\"received_at\":\"";
const BEFORE_SALT: &[u8] = b"\",\"salt\":\"";
const BEFORE_SEALWIRE: &[u8] = b",\"sealwire\":";
const BEFORE_SIGNATURE: &[u8] = b",\"signature\":";
const BEFORE_TOKEN: &[u8] = b",\"token\":";

impl EventJson {
    /// Serialises this event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let mut json = Self::default();
        let Self { head, tail } = &mut json;
        append(head, BEFORE_EVENT, event);
        if let Some(public_key) = &event.public_key {
            append(head, BEFORE_PUBLIC_KEY, public_key);
        }
        if let Some(detail) = &event.sealwire {
            append(tail, BEFORE_SEALWIRE, detail);
        }
        if let Some(signature) = &event.signature {
            append(tail, BEFORE_SIGNATURE, signature);
        }
        if let Some(token) = &event.token {
            append(tail, BEFORE_TOKEN, token);
        }
        json
    }

    /// Whether a canonical envelope consists of these two pieces, with any receipt time and salt.
    #[must_use]
    pub fn is_sealed_in(&self, canonical: &[u8]) -> bool {
        let Ok(sealed) = Envelope::parse(canonical) else { return false };
        let mut own = Vec::new();
        let received_at = sealed.received_at.to_string();
        Envelope::seal(&self.head, &received_at, sealed.salt, &self.tail, &mut own);
        // Version 2 of the log's format has Sealwire's own fields within the event.
        own == canonical || Envelope::parse(&own).is_ok_and(|own| own == sealed)
    }

    /// Length in bytes of an envelope made of these pieces.
    #[must_use]
    pub const fn envelope_len(&self) -> usize {
        self.head.len() + self.tail.len() + Envelope::SEAL_LEN
    }
}

fn append(bytes: &mut Vec<u8>, before: &[u8], value: &impl Serialize) {
    bytes.extend_from_slice(before);
    bytes.extend(serde_json::to_vec(value).expect("it has only text keys and no floating point"));
}

/// 16 random bytes, written in hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

impl Envelope {
    /// Largest envelope in bytes. Pangea's ten text fields of 32,766 characters each fit, even if
    /// every character must be escaped (six bytes).
    pub const BYTES_MAX: usize = 2 << 20;
    /// Number of bytes that sealing adds to those of the event.
    pub const SEAL_LEN: usize =
        BEFORE_RECEIVED_AT.len() + Timestamp::LEN + BEFORE_SALT.len() + 32 + "\"}".len();

    /// The bytes that are hashed and stored. For an envelope of format version 2, the stored bytes
    /// differ; only the log has them.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let EventJson { head, tail } = EventJson::of(&self.event);
        let mut bytes = Vec::new();
        Self::seal(&head, &self.received_at.to_string(), self.salt, &tail, &mut bytes);
        bytes
    }

    /// Appends the canonical envelope to `bytes`; `head` and `tail` are the pieces of an
    /// [`EventJson`].
    pub fn seal(head: &[u8], received_at: &str, salt: Salt, tail: &[u8], bytes: &mut Vec<u8>) {
        let mut hex = [0; 32];
        hex::encode_to_slice(salt.0, &mut hex).expect("16 bytes are 32 digits");
        let received_at = received_at.as_bytes();
        for part in [head, BEFORE_RECEIVED_AT, received_at, BEFORE_SALT, &hex, b"\"", tail, b"}"] {
            bytes.extend_from_slice(part);
        }
    }

    /// Whether canonical bytes hold an event with this action, without parsing all of them. It
    /// relies on the action being the first field, which holds unless a custom field sorts before
    /// it.
    #[must_use]
    pub fn has_action(canonical: &[u8], action: &str) -> bool {
        let fields =
            canonical.strip_prefix(BEFORE_EVENT).and_then(|event| event.strip_prefix(b"{\""));
        let Some(fields) = fields else { return false };
        match fields.strip_prefix(b"action\":\"") {
            Some(rest) => {
                rest.strip_prefix(action.as_bytes()).is_some_and(|rest| rest.starts_with(b"\""))
            }
            None if fields > b"action\"".as_slice() => false,
            None => Self::parse(canonical)
                .is_ok_and(|envelope| envelope.event.action.as_deref() == Some(action)),
        }
    }

    /// Receipt time in canonical bytes, without parsing all of them. No other field after the event
    /// has that name, and within text the quotes around it would be escaped.
    #[must_use]
    pub fn received_at_of(canonical: &[u8]) -> Option<&str> {
        let at = canonical.array_windows().rposition(|window| window == BEFORE_RECEIVED_AT)?;
        let rest = canonical.get(at + BEFORE_RECEIVED_AT.len()..)?;
        str::from_utf8(rest.get(..Timestamp::LEN)?).ok()
    }

    /// Parses stored bytes.
    ///
    /// # Errors
    /// The bytes are not the JSON of an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        serde_json::from_slice(bytes).map_err(|error| InvalidEnvelope(error.to_string()))
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { sealwire, public_key, signature, token, .. } = &self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", &self.event)?;
        if let Some(public_key) = public_key {
            map.serialize_entry("public_key", public_key)?;
        }
        map.serialize_entry("received_at", &self.received_at)?;
        map.serialize_entry("salt", &self.salt)?;
        if let Some(detail) = sealwire {
            map.serialize_entry("sealwire", detail)?;
        }
        if let Some(signature) = signature {
            map.serialize_entry("signature", signature)?;
        }
        if let Some(token) = token {
            map.serialize_entry("token", token)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The stored form.
        #[derive(Deserialize)]
        struct Fields {
            event: Event,
            public_key: Option<String>,
            received_at: Timestamp,
            salt: Salt,
            sealwire: Option<Detail>,
            signature: Option<String>,
            token: Option<String>,
        }
        let Fields { mut event, public_key, received_at, salt, sealwire, signature, token } =
            Fields::deserialize(deserializer)?;
        event.token = token;
        event.public_key = public_key;
        event.signature = signature;
        // Version 2 has this field within the event.
        event.sealwire = sealwire.or(event.sealwire);
        Ok(Self { event, received_at, salt })
    }
}

impl Salt {
    /// A salt of these bytes. They must come from a random number generator fit for keys.
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

/// Reason why bytes are not an envelope.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an envelope: {0}")]
pub struct InvalidEnvelope(String);

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::{collection::btree_map, option, prelude::*};

    use super::*;
    use crate::{
        event::{COMM_ERROR, Detail, FieldValue, Outcome, VALUE_ERROR},
        heartbeat::Heartbeat,
        sensor_id::SensorId,
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
             \"source\":\"Boiler Room.T1\",\"status\":\"SUCCESS\",\"timestamp\":\"2026-11-23T19:01:23.123456Z\"},\
             \"received_at\":\"2026-11-23T19:01:23.123456Z\",\"salt\":\"abababababababababababababababab\",\
             \"sealwire\":{\"poll\":7,\"range\":\"0..50\",\"sensor\":\"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3\",\"seq\":4,\"unit\":\"°C\"}}"
        );
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap(), envelope);
    }

    #[test]
    fn what_version_2_sealed_is_read() {
        let old = concat!(
            r#"{"event":{"action":"A","message":"m","sealwire":{"seq":4},"source":"s"},"#,
            r#""received_at":"2026-11-23T19:01:23.123456Z","salt":"abababababababababababababababab"}"#
        )
        .as_bytes();
        let envelope = Envelope::parse(old).unwrap();
        assert_eq!(envelope.event.sealwire.unwrap().seq, Some(4));
        assert_eq!(Envelope::received_at_of(old), Some("2026-11-23T19:01:23.123456Z"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (event, words) in [
            (r#"{"action":"A"}"#, "missing field `message`"),
            (r#"{"message":"a","message":"b"}"#, "`message` appears twice"),
            (r#"{"message":"a","level":1,"level":1}"#, "`level` appears twice"),
            (r#"{"message":"a","level":1.5}"#, "did not match"),
            (r#"{"message":"a","level":[]}"#, "did not match"),
            (r#"{"message":7}"#, "expected a string"),
            ("[]", "an event, an object"),
        ] {
            let refusal = serde_json::from_str::<Event>(event).unwrap_err().to_string();
            assert!(refusal.contains(words), "{event}: {refusal}");
        }
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
            Detail { boot: Some(String::new()), channels: Some(String::new()), nonce: Some(String::new()), time_error: Some(1), uptime: Some(1),
                component, erased: Some(String::new()), error, heartbeat, hold: Some(1), hold_from: Some(Timestamp::from_unix_micros(0)),
                hold_to: Some(Timestamp::from_unix_micros(0)), retention: Some(String::new()), retention_to: Some(1), rotation: Some(String::new()),
                raw, seq, from_leaf, missing, poll, reason, sensor: sensor.map(SensorId::from_bytes), unit, format: Some(1),
                origin: Some(String::new()), range: Some(String::new()), range_unit: Some(String::new()),
                raw_hex: Some(String::new()), signature: Some(String::new()), device_time: Some(String::new()),
                flags: Some(String::new()), message_number: Some(7), rule: Some(String::new()), topic: Some(String::new()),
                since: Some(Timestamp::from_unix_micros(0)),
                sensor_time: Some(Timestamp::from_unix_micros(0)), site_time: Some(Timestamp::from_unix_micros(0)), vkey: Some(String::new()),
                calibration: Some(String::new()), channel: Some(String::new()), order: Some(String::new()), why: Some(String::new()),
                answers: Some(String::new()), cloud_root: Some(String::new()), mirrored: Some(String::new()), mirrored_to: Some(1),
                imported: Some(String::new()), imported_leaf: Some(1) }
        }
    }

    fn custom() -> impl Strategy<Value = BTreeMap<String, FieldValue>> {
        let value = prop_oneof![
            any::<String>().prop_map(FieldValue::Text),
            (-(1_i64 << 53)..1 << 53).prop_map(FieldValue::Integer),
            any::<bool>().prop_map(FieldValue::Bool),
        ];
        // Names that sort before, between and after the standard ones.
        btree_map("(a|aa|m|n|zz)[a-z0-9]{0,3}_", value, 0..4)
    }

    prop_compose! {
        fn event()(custom in custom(), public_key in text(), signature in text(), token in text(),
            action in text(), actor in text(), message: String, new in text(), old in text(), sealwire in option::of(detail()),
            source in text(), status in text(), target in text(), tenant_id in text(), timestamp in text()) -> Event {
            Event { action, actor, custom, message, new, old, public_key, sealwire, signature, source, status, target, tenant_id,
                timestamp, token }
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

            prop_assert_eq!(&serde_json::to_vec(&envelope).unwrap(), &bytes);
            prop_assert_eq!(EventJson::of(&envelope.event).envelope_len(), bytes.len());
            prop_assert_eq!(Envelope::received_at_of(&bytes), Some(&*envelope.received_at.to_string()));
            let action = envelope.event.action.as_deref();
            prop_assert_eq!(Envelope::has_action(&bytes, "A"), action == Some("A"));
        }
    }
}
