//! The event that a client asks to seal, in the form in which it is stored.
//!
//! Every value is a text, an integer or a boolean, and nothing is nested. So neither floating point
//! nor nesting in a reader can change what is hashed. A signed event is stored in the form that was
//! signed, because clients verify that form when they read it.

use std::{borrow::Cow, collections::BTreeMap};

use model::{Event, FieldValue, action};
use serde_json::{Value, value::RawValue};

use crate::{
    fault::{Code, Fault},
    members::{self, Members},
    schema::{Field, Kind, Schema, TEXT_CHARS_MAX},
    signature::{self, Signed, Verifier},
    when::When,
};

/// An event to seal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// The fields of the event by name.
    pub fields: BTreeMap<String, FieldValue>,
    /// The client's signature. It has been verified.
    pub signed: Option<Signed>,
}

/// Integers from here on are not exact in every JSON reader.
const WHOLE_END: i64 = 1 << 53;

impl Item {
    /// Takes the event, the signature and the public key from a request's members.
    pub(crate) fn take(members: &mut Members<'_>, schema: &Schema) -> Result<Self, Fault> {
        let event = members.required("event")?;
        let sealable = Members::of(event).and_then(|fields| sealable(&fields, schema));
        let (fields, is_redacted) = sealable.map_err(|fault| fault.under("/event"))?;
        let signature = members.short_text("signature", signature::CHARS_MAX)?;
        let public_key = members.short_text("public_key", signature::CHARS_MAX)?;
        match (signature, public_key) {
            (None, None) => Ok(Self::unsigned(fields, schema)),
            (Some(signature), Some(public_key)) => {
                if is_redacted {
                    let words = "this log would redact the event, which would break its signature: redact the event before you sign it";
                    return Err(Fault::new(Code::DoesNotMatchPattern, "/signature", words));
                }
                let signed = Signed {
                    signature: signature.into_owned(),
                    public_key: public_key.into_owned(),
                };
                let fields = as_signed(fields, schema, &signed)?;
                Ok(Self { fields, signed: Some(signed) })
            }
            (signature, _) => {
                let place = if signature.is_some() { "/signature" } else { "/public_key" };
                let words = "`signature` and `public_key` must come together";
                Err(Fault::new(Code::IsDependentOn, place, words))
            }
        }
    }

    /// Parses an event without a signature, which is nothing but its fields.
    pub(crate) fn of_fields(fields: &Members<'_>, schema: &Schema) -> Result<Self, Fault> {
        let (fields, _is_redacted) = sealable(fields, schema)?;
        Ok(Self::unsigned(fields, schema))
    }

    fn unsigned(fields: BTreeMap<String, FieldValue>, schema: &Schema) -> Self {
        let fields = with_timestamps(&fields, schema, |when| when.readable()).unwrap_or(fields);
        Self { fields, signed: None }
    }
}

/// The fields of an event without what the log must not hold, and whether anything was redacted.
fn sealable(
    fields: &Members<'_>,
    schema: &Schema,
) -> Result<(BTreeMap<String, FieldValue>, bool), Fault> {
    let mut fields = flatten(fields, schema)?;
    let is_redacted = redact(&mut fields, schema)?;
    Ok((fields, is_redacted))
}

impl From<Item> for Event {
    fn from(item: Item) -> Self {
        let mut event = Self::default();
        for (name, value) in item.fields {
            match (name.as_str(), value) {
                ("action", FieldValue::Text(text)) => event.action = Some(text),
                ("actor", FieldValue::Text(text)) => event.actor = Some(text),
                ("message", FieldValue::Text(text)) => event.message = text,
                ("new", FieldValue::Text(text)) => event.new = Some(text),
                ("old", FieldValue::Text(text)) => event.old = Some(text),
                ("source", FieldValue::Text(text)) => event.source = Some(text),
                ("status", FieldValue::Text(text)) => event.status = Some(text),
                ("target", FieldValue::Text(text)) => event.target = Some(text),
                ("tenant_id", FieldValue::Text(text)) => event.tenant_id = Some(text),
                ("timestamp", FieldValue::Text(text)) => event.timestamp = Some(text),
                (_, value) => drop(event.custom.insert(name, value)),
            }
        }
        if let Some(Signed { signature, public_key }) = item.signed {
            event.signature = Some(signature);
            event.public_key = Some(public_key);
        }
        event
    }
}

/// The fields in the first form whose signature verifies: as received, or with timestamps as an SDK
/// writes them when it signs.
fn as_signed(
    fields: BTreeMap<String, FieldValue>,
    schema: &Schema,
    signed: &Signed,
) -> Result<BTreeMap<String, FieldValue>, Fault> {
    let verifier = Verifier::of(signed)?;
    if verifier.verifies(&canonical(&fields)) {
        return Ok(fields);
    }
    let others = [
        with_timestamps(&fields, schema, |when| when.in_its_zone()),
        with_timestamps(&fields, schema, |when| when.in_utc()),
    ];
    let mut forms = others.into_iter().flatten();
    forms.find(|form| verifier.verifies(&canonical(form))).ok_or_else(|| {
        let words = "the signature does not match the canonical JSON of the event as it is \
            sealed: there, nested values, floating-point numbers and whole numbers from 2^53 on \
            are text, and timestamps have a time zone";
        Fault::new(Code::DoesNotMatchPattern, "/signature", words)
    })
}

/// Canonical JSON (RFC 8785). Names are ASCII and sorted, and no value is a floating-point number.
fn canonical(fields: &BTreeMap<String, FieldValue>) -> String {
    serde_json::to_string(fields).expect("fields have text keys and no floating point")
}

/// The fields with their timestamps in another form; `None` if that changes nothing.
fn with_timestamps(
    fields: &BTreeMap<String, FieldValue>,
    schema: &Schema,
    form: impl Fn(When<'_>) -> String,
) -> Option<BTreeMap<String, FieldValue>> {
    let is_moment =
        |name: &str| schema.field(name).is_some_and(|field| field.kind == Kind::DateTime);
    let mut changed: Option<BTreeMap<String, FieldValue>> = None;
    for (name, value) in fields.iter().filter(|(name, _)| is_moment(name)) {
        if let FieldValue::Text(text) = value
            && let Some(written) = When::parse(text).map(&form)
            && written != *text
        {
            let changed = changed.get_or_insert_with(|| fields.clone());
            changed.insert(name.clone(), FieldValue::Text(written));
        }
    }
    changed
}

/// Redacts what the log must not hold, and returns whether anything was redacted. The replacement
/// may be longer than the original, so the length is checked again.
fn redact(fields: &mut BTreeMap<String, FieldValue>, schema: &Schema) -> Result<bool, Fault> {
    let mut is_redacted = false;
    for (name, value) in fields {
        if let FieldValue::Text(text) = value
            && let Some(redacted) = schema.redact(name, text)
        {
            let chars_max = schema.field(name).map_or(TEXT_CHARS_MAX, |field| field.size);
            members::check_length(&redacted, chars_max)
                .map_err(|fault| fault.under(&members::at(name)))?;
            *text = redacted;
            is_redacted = true;
        }
    }
    Ok(is_redacted)
}

/// Parses the fields of an event.
fn flatten(members: &Members<'_>, schema: &Schema) -> Result<BTreeMap<String, FieldValue>, Fault> {
    let mut fields = BTreeMap::new();
    for (name, value) in members.iter() {
        let place = || members::at(name);
        let field = schema.field(name).ok_or_else(|| {
            let words = "the log's events have no such field: /v1/schema lists the fields";
            Fault::new(Code::UnexpectedProperty, place(), words)
        })?;
        let value = flat(value, field).map_err(|fault| fault.under(&place()))?;
        if name == "action"
            && let FieldValue::Text(action) = &value
            && action::OF_THE_LOG.contains(&action.as_str())
        {
            let words = format!(
                "the action {action} is reserved for the log itself: choose another action"
            );
            return Err(Fault::new(Code::InvalidConst, place(), words));
        }
        fields.insert(name.to_owned(), value);
    }
    match schema.fields().find(|field| field.required && !fields.contains_key(&field.id)) {
        Some(field) => Err(members::missing(&field.id)),
        None => Ok(fields),
    }
}

fn flat(value: &RawValue, field: &Field) -> Result<FieldValue, Fault> {
    let token = value.get();
    match field.kind {
        Kind::String => {
            let text = if field.takes_nested() && token.starts_with(['{', '[']) {
                Cow::Owned(nested(value)?)
            } else {
                members::text(value)?
            };
            members::check_length(&text, field.size)?;
            Ok(FieldValue::Text(text.into_owned()))
        }
        Kind::DateTime => {
            let text = members::text(value)?;
            members::check_length(&text, field.size)?;
            if When::parse(&text).is_none() {
                let words = "RFC 3339 such as 2026-11-23T19:01:23.123456Z";
                return Err(Fault::new(Code::BadFormatDateTime, "", words));
            }
            Ok(FieldValue::Text(text.into_owned()))
        }
        Kind::Integer => match token.parse::<i64>() {
            Ok(number) if number.unsigned_abs() < WHOLE_END.unsigned_abs() => {
                Ok(FieldValue::Integer(number))
            }
            Ok(_) => Ok(FieldValue::Text(token.to_owned())),
            Err(_) => {
                Err(Fault::new(Code::InvalidInteger, "", "a whole number of at most 64 bits"))
            }
        },
        Kind::Float if token.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            members::check_length(token, field.size)?;
            Ok(FieldValue::Text(token.to_owned()))
        }
        Kind::Float => Err(Fault::new(Code::InvalidNumber, "", "a number")),
        Kind::Boolean => match token {
            "true" => Ok(FieldValue::Bool(true)),
            "false" => Ok(FieldValue::Bool(false)),
            _ => Err(Fault::new(Code::InvalidBool, "", "true or false")),
        },
    }
}

/// Canonical JSON of a nested value, as the SDKs of Python and Node make it before they send.
fn nested(value: &RawValue) -> Result<String, Fault> {
    let invalid = |error: serde_json::Error| {
        Fault::new(Code::InvalidObject, "", format!("a nested value: {error}"))
    };
    let value: Value = serde_json::from_str(value.get()).map_err(invalid)?;
    serde_json_canonicalizer::to_string(&value).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    use super::*;

    fn custom() -> Schema {
        let fields = json!([
            {"id":"field_int","type":"integer"}, {"id":"field_bool","type":"boolean"}, {"id":"field_float","type":"float"},
            {"id":"field_long","type":"string-unindexed"}, {"id":"field_time","type":"datetime"},
        ]);
        Schema::with(serde_json::from_value(fields).unwrap()).unwrap()
    }

    /// The canonical event stored for a request's body, or the fault's code and place.
    fn stored(body: &str) -> Result<String, (Code, String)> {
        let mut members = Members::parse(body.as_bytes()).unwrap();
        let item = Item::take(&mut members, &custom());
        let stored = item.map(|item| {
            let text = canonical(&item.fields);
            let event = serde_json::to_string(&Event::from(item)).unwrap();
            assert_eq!(event, text, "what was checked is what is sealed");
            text
        });
        stored.map_err(|fault| (fault.code, fault.source_pointer))
    }

    #[test]
    fn what_is_stored_is_flat_and_has_no_floating_point() {
        for (event, flat) in [
            (r#"{"message":"hello","actor":"me"}"#, r#"{"actor":"me","message":"hello"}"#),
            (
                r#"{"message":{"b":[1.50,null],"a":{"c":1e2}}}"#,
                r#"{"message":"{\"a\":{\"c\":100},\"b\":[1.5,null]}"}"#,
            ), // nested
            (r#"{"message":"{\"b\": 1}"}"#, r#"{"message":"{\"b\": 1}"}"#), // text stays text
            (r#"{"message":"m","field_float":1.0}"#, r#"{"field_float":"1.0","message":"m"}"#),
            (r#"{"message":"m","field_float":-2e5}"#, r#"{"field_float":"-2e5","message":"m"}"#),
            (
                r#"{"message":"m","field_int":9007199254740991}"#,
                r#"{"field_int":9007199254740991,"message":"m"}"#,
            ),
            (
                r#"{"message":"m","field_int":9007199254740992}"#,
                r#"{"field_int":"9007199254740992","message":"m"}"#,
            ), // 2^53
            (r#"{"message":"m","field_bool":false}"#, r#"{"field_bool":false,"message":"m"}"#),
            (
                r#"{"message":"m","timestamp":"2026-01-01T00:00:00.123Z"}"#,
                r#"{"message":"m","timestamp":"2026-01-01T00:00:00.123Z"}"#,
            ),
            (
                r#"{"message":"m","timestamp":"2026-01-01T02:00:00+02:00"}"#,
                r#"{"message":"m","timestamp":"2026-01-01T00:00:00.000000Z"}"#,
            ),
            (r#"{"message":"\u003c\u2028\u007f"}"#, "{\"message\":\"<\u{2028}\u{7f}\"}"),
        ] {
            assert_eq!(stored(&format!(r#"{{"event":{event}}}"#)).as_deref(), Ok(flat), "{event}");
        }
    }

    #[test]
    fn what_the_schema_does_not_have_is_refused_with_its_place() {
        let long = format!(r#"{{"message":"m","action":"{}"}}"#, "é".repeat(33));
        assert!(
            stored(&format!(r#"{{"event":{}}}"#, long.replacen('é', "", 1))).is_ok(),
            "characters, not bytes"
        );
        for (event, code, place) in [
            ("{}", Code::FieldRequired, "/event/message"),
            ("[]", Code::InvalidObject, "/event"),
            (r#"{"message":1}"#, Code::InvalidString, "/event/message"),
            (r#"{"message":null}"#, Code::InvalidNull, "/event/message"),
            (r#"{"message":"m","actor":{}}"#, Code::InvalidString, "/event/actor"),
            (r#"{"message":"m","nope":1}"#, Code::UnexpectedProperty, "/event/nope"),
            (r#"{"message":"m","action":"KEY_ROTATED"}"#, Code::InvalidConst, "/event/action"),
            (r#"{"message":"m","sealwire":{}}"#, Code::UnexpectedProperty, "/event/sealwire"),
            (&long, Code::AboveMaxLength, "/event/action"),
            (r#"{"message":"m","timestamp":"noon"}"#, Code::BadFormatDateTime, "/event/timestamp"),
            (r#"{"message":"m","field_int":1.5}"#, Code::InvalidInteger, "/event/field_int"),
            (r#"{"message":"m","field_bool":"true"}"#, Code::InvalidBool, "/event/field_bool"),
            (r#"{"message":"m","field_float":"1"}"#, Code::InvalidNumber, "/event/field_float"),
        ] {
            assert_eq!(
                stored(&format!(r#"{{"event":{event}}}"#)),
                Err((code, place.to_owned())),
                "{event}"
            );
        }
        let alone = r#"{"event":{"message":"m"},"signature":"x"}"#;
        assert_eq!(stored(alone), Err((Code::IsDependentOn, String::from("/signature"))));
    }

    #[test]
    fn what_is_redacted_is_not_sealed() {
        let patterns = BTreeMap::from([(
            String::from("message"),
            vec![String::from(r"\b\d{16}\b"), String::from("[a-z]+@[a-z.]+")],
        )]);
        let schema = Schema::standard().redacting(patterns).unwrap();
        let take = |body: &str| Item::take(&mut Members::parse(body.as_bytes()).unwrap(), &schema);
        let item = take(r#"{"event":{"message":"4242424242424242 of ada@plant.example","actor":"ada@plant.example"}}"#).unwrap();
        assert_eq!(
            canonical(&item.fields),
            r#"{"actor":"ada@plant.example","message":"[redacted] of [redacted]"}"#
        );
        let nested =
            r#"{"event":{"message":{"card":"no\n4242424242424242","n":4242424242424242}}}"#;
        assert_eq!(
            canonical(&take(nested).unwrap().fields),
            r#"{"message":"{\"card\":\"no\\n[redacted]\",\"n\":\"[redacted]\"}"}"#
        );
        let many = format!(r#"{{"event":{{"message":"{}"}}}}"#, "a@b ".repeat(4_000));
        let fault = take(&many).unwrap_err();
        assert_eq!(
            (fault.code, &*fault.source_pointer),
            (Code::AboveMaxLength, "/event/message"),
            "it fits no more"
        );
        let signed =
            r#"{"event":{"message":"ada@plant.example"},"signature":"x","public_key":"y"}"#;
        assert_eq!(take(signed).unwrap_err().source_pointer, "/signature");
        for (field, pattern) in [("timestamp", "1"), ("nope", "1"), ("message", "(")] {
            let patterns = BTreeMap::from([(field.to_owned(), vec![pattern.to_owned()])]);
            assert!(Schema::standard().redacting(patterns).is_err(), "{field}");
        }
    }

    fn signed(signed_text: &str, event: &str) -> Result<String, (Code, String)> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = STANDARD.encode(key.sign(signed_text.as_bytes()).to_bytes());
        let public_key = STANDARD.encode(key.verifying_key().as_bytes());
        stored(&format!(
            r#"{{"event":{event},"public_key":"{public_key}","signature":"{signature}"}}"#
        ))
    }

    #[test]
    fn a_signed_event_is_stored_as_it_was_signed() {
        // Python signs six fractional digits and sends none.
        let six = r#"{"message":"m","timestamp":"2026-01-01T00:00:00.000000Z"}"#;
        assert_eq!(
            signed(six, r#"{"timestamp":"2026-01-01T00:00:00Z","message":"m"}"#).as_deref(),
            Ok(six)
        );
        let zone = r#"{"message":"m","timestamp":"2026-01-01T12:00:00.000000+02:00"}"#;
        assert_eq!(
            signed(zone, r#"{"timestamp":"2026-01-01T12:00:00+02:00","message":"m"}"#).as_deref(),
            Ok(zone)
        );
        let utc = r#"{"field_time":"2026-01-01T10:00:00.000000Z","message":"m"}"#;
        assert_eq!(
            signed(utc, r#"{"field_time":"2026-01-01T12:00:00+02:00","message":"m"}"#).as_deref(),
            Ok(utc)
        );
        // Node signs milliseconds and sends them.
        let millis = r#"{"message":"m","timestamp":"2026-01-01T00:00:00.123Z"}"#;
        assert_eq!(signed(millis, millis).as_deref(), Ok(millis));
        // Go signs the escaped form.
        let raw = "{\"message\":\"<&>\u{2028}\"}";
        assert_eq!(signed(r#"{"message":"\u003c\u0026\u003e\u2028"}"#, raw).as_deref(), Ok(raw));
        // If a client signs nested values unflattened, readers cannot verify the signature.
        let refused = Err((Code::DoesNotMatchPattern, String::from("/signature")));
        assert_eq!(signed(r#"{"message":{"a":1}}"#, r#"{"message":{"a":1}}"#), refused);
        assert_eq!(signed(r#"{"message":"other"}"#, r#"{"message":"m"}"#), refused);
    }
}
