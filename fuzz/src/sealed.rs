//! What holds for an event that is sealed, wherever it came from.

use model::{Envelope, Event, EventJson, Salt, Timestamp};
use serde_json::Value;

/// Integers from here on are not exact in every JSON reader; the site seals none.
const WHOLE_END: u64 = 1 << 53;

/// Seals the event as the ledger does; returns the envelope as it is read again.
pub(crate) fn seal(event: Event) -> Envelope {
    let received_at = Timestamp::from_unix_micros(1_795_600_000_000_000);
    let envelope = Envelope { event, received_at, salt: Salt::from_random([7; 16]) };
    let canonical = envelope.canonical();
    assert_eq!(Envelope::parse(&canonical).as_ref(), Ok(&envelope));
    let value: Value = serde_json::from_slice(&canonical).unwrap();
    assert!(is_exact(&value));
    assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), canonical, "RFC 8785");
    assert_eq!(Envelope::received_at_of(&canonical), Some(&*received_at.to_string()));
    if let Some(action) = envelope.event.action.as_deref().filter(|action| is_plain(action)) {
        assert!(Envelope::has_action(&canonical, action));
    }
    assert!(!Envelope::has_action(&canonical, "NOBODY_DID_THIS"));
    let json = EventJson::of(&envelope.event);
    assert_eq!(json.envelope_len(), canonical.len());
    assert!(json.is_sealed_in(&canonical));
    envelope
}

/// Whether every number is an integer that every reader of JSON has as it is.
pub(crate) fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some_and(|i| i.unsigned_abs() < WHOLE_END),
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Whether JSON writes the text as it is. Actions that have a meaning are written so.
fn is_plain(text: &str) -> bool {
    serde_json::to_string(text).unwrap() == format!("\"{text}\"")
}
