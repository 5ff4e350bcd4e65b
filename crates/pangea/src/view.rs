//! Adapts a sealed envelope to the SDK that reads it. The SDKs parse JSON differently, and each
//! must hash the sealed bytes.
//!
//! - Node's SDK parses the text of `message`, `new` and `old` as JSON if it can, and hashes the
//!   result. So it gets such a text encoded as a JSON string once more.
//! - Go's SDK escapes `<`, `>`, `&`, U+2028 and U+2029 before it hashes. If the hash differs, it
//!   rejects the whole answer. It also rejects the answer if a value is not of the type that the
//!   program gave the field: a timestamp in another form, or a number sealed as text. So it gets
//!   the timestamp in its own form, and the number. For all these events it gets neither hash nor
//!   proof, and shows them as "not verified".

use serde_json::{Number, Value, value::RawValue};

use crate::{
    schema::{Kind, Schema},
    signature::is_escaped_by_go,
    when::When,
};

/// The client that reads an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum View {
    /// Python's SDK, and every client that reads JSON without such changes.
    Plain,
    /// Node's SDK, which parses texts as JSON.
    Node,
    /// Go's SDK, which escapes HTML and requires the types of its fields.
    Go,
}

/// An envelope as sent to a client.
#[derive(Clone, Debug)]
pub struct Shown {
    /// JSON of the envelope.
    pub envelope: Box<RawValue>,
    /// Whether the client can compute the hash.
    pub is_verifiable: bool,
}

impl View {
    /// The view for a client's `User-Agent` header.
    #[must_use]
    pub fn of(user_agent: &str) -> Self {
        if user_agent.starts_with("pangea-node/") {
            Self::Node
        } else if user_agent.starts_with("pangea-go/") {
            Self::Go
        } else {
            Self::Plain
        }
    }

    /// A sealed envelope for this client; `None` if the bytes are not a JSON object with an event.
    #[must_use]
    pub fn show(self, canonical: &[u8], schema: &Schema) -> Option<Shown> {
        let text = str::from_utf8(canonical).ok()?;
        match self {
            Self::Plain => Some(as_sealed(text)?),
            Self::Node => for_node(text),
            Self::Go => for_go(text, schema),
        }
    }
}

fn as_sealed(text: &str) -> Option<Shown> {
    let envelope = RawValue::from_string(text.to_owned()).ok()?;
    Some(Shown { envelope, is_verifiable: true })
}

fn for_node(text: &str) -> Option<Shown> {
    let mut envelope: Value = serde_json::from_str(text).ok()?;
    let event = envelope.get_mut("event")?.as_object_mut()?;
    // Envelopes of earlier versions can hold nested values. The SDK would turn those into text, and
    // reject the whole answer.
    let is_verifiable = !event.values().any(|value| value.is_object() || value.is_array());
    let mut is_changed = false;
    for name in ["message", "new", "old"] {
        if let Some(Value::String(text)) = event.get_mut(name)
            && is_parsed_otherwise(text)
        {
            *text = Value::String(std::mem::take(text)).to_string();
            is_changed = true;
        }
    }
    if !is_changed {
        return Some(Shown { is_verifiable, ..as_sealed(text)? });
    }
    let envelope = serde_json::value::to_raw_value(&envelope).ok()?;
    Some(Shown { envelope, is_verifiable })
}

/// Whether the text may be JSON, except for an object or array in canonical form: the SDK parses
/// that and writes it again unchanged.
fn is_parsed_otherwise(text: &str) -> bool {
    let begin = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let may_be_json = match begin.as_bytes() {
        [b'{' | b'[' | b'"' | b'-' | b'0'..=b'9', ..] => true,
        _ => ["true", "false", "null"].iter().any(|word| begin.starts_with(word)),
    };
    let is_canonical = || {
        let value: Result<Value, _> = serde_json::from_str(text);
        value.is_ok_and(|value| {
            (value.is_object() || value.is_array())
                && serde_json_canonicalizer::to_string(&value).is_ok_and(|again| again == text)
        })
    };
    may_be_json && !is_canonical()
}

fn for_go(text: &str, schema: &Schema) -> Option<Shown> {
    let mut envelope: Value = serde_json::from_str(text).ok()?;
    let event = envelope.get_mut("event")?.as_object_mut()?;
    let typed = |(name, value): (&String, &Value)| {
        let Value::String(text) = value else { return None };
        let readable = match schema.field(name)?.kind {
            Kind::DateTime => When::parse(text).map(|when| Value::from(when.readable())),
            Kind::Float => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
            Kind::Integer => text.parse().ok().map(|number: i64| Value::from(number)),
            Kind::String | Kind::Boolean => return None,
        };
        (readable.as_ref() != Some(value)).then(|| (name.clone(), readable))
    };
    let otherwise: Vec<_> = event.iter().filter_map(typed).collect();
    if otherwise.is_empty() {
        return Some(Shown { is_verifiable: !is_escaped_by_go(text), ..as_sealed(text)? });
    }
    for (name, readable) in otherwise {
        match readable {
            Some(readable) => event.insert(name, readable),
            // Not a time, or a number too large for a float64.
            None => event.remove(&name),
        };
    }
    let envelope = serde_json::value::to_raw_value(&envelope).ok()?;
    Some(Shown { envelope, is_verifiable: false })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(view: View, canonical: &[u8]) -> Option<Shown> {
        view.show(canonical, &Schema::standard())
    }

    fn envelope(message: &str) -> String {
        json!({ "event": { "message": message }, "received_at": "2026-01-01T00:00:00.000000Z", "salt": "00" }).to_string()
    }

    /// Parses a text as Node's SDK does.
    fn node_parses(text: &str) -> String {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::String(text)) => text,
            Ok(value) if value.is_object() || value.is_array() => {
                serde_json_canonicalizer::to_string(&value).unwrap()
            }
            Ok(other) => format!("not a text any more: {other}"),
            Err(_) => text.to_owned(),
        }
    }

    #[test]
    fn node_hashes_what_was_sealed_whatever_its_parser_makes_of_it() {
        assert_eq!(View::of("pangea-node/5.6.0 mine"), View::Node);
        for text in [
            "1",
            "23.50",
            "true",
            "null ",
            "\"q\"",
            "{\"b\":1, \"a\":2}",
            "{\"a\":1,\"b\":[1,2]}",
            "[1.0]",
            "<&>\u{2028}",
            "",
            "-0",
            "plain words",
            "{\"a\":1.50}",
            "\"\\\"1\\\"\"",
            " 7",
            "\"\\ud800\"",
            "nothing",
            "{\"message\":\"1\"}",
            "[1e999]",
            "{broken",
        ] {
            let shown = show(View::Node, envelope(text).as_bytes()).unwrap();
            let sent: Value = serde_json::from_str(shown.envelope.get()).unwrap();
            assert_eq!(node_parses(sent["event"]["message"].as_str().unwrap()), text, "{text}");
            assert!(shown.is_verifiable);
        }
        let canonical = "{\"a\":1,\"b\":[1,2]}";
        let shown = show(View::Node, envelope(canonical).as_bytes()).unwrap();
        assert_eq!(
            shown.envelope.get(),
            envelope(canonical),
            "the program gets an object, as from Pangea"
        );
    }

    #[test]
    fn node_cannot_hash_envelopes_of_earlier_versions() {
        let old = json!({ "event": { "message": "m", "sealwire": { "seq": 4 } }, "salt": "00" })
            .to_string();
        assert!(!show(View::Node, old.as_bytes()).unwrap().is_verifiable);
        assert!(show(View::Plain, old.as_bytes()).unwrap().is_verifiable);
        let new = json!({ "event": { "message": "m" }, "salt": "00", "sealwire": { "seq": 4 } })
            .to_string();
        assert!(show(View::Node, new.as_bytes()).unwrap().is_verifiable);
    }

    #[test]
    fn go_is_not_asked_to_hash_what_it_escapes() {
        assert_eq!(View::of("pangea-go/5.7.0"), View::Go);
        for (text, is_verifiable) in
            [("plain", true), ("a<b", false), ("&", false), ("\u{2028}", false), ("\u{7f}", true)]
        {
            let shown = show(View::Go, envelope(text).as_bytes()).unwrap();
            assert_eq!(
                (shown.is_verifiable, shown.envelope.get()),
                (is_verifiable, &*envelope(text))
            );
        }
        let at = |timestamp: &str| {
            json!({ "event": { "message": "m", "timestamp": timestamp } }).to_string()
        };
        let shown = show(View::Go, at("2026-01-01T12:00:00.000000+02:00").as_bytes()).unwrap();
        assert_eq!(
            (shown.is_verifiable, shown.envelope.get()),
            (false, &*at("2026-01-01T10:00:00.000000Z"))
        );
        assert!(show(View::Go, at("2026-01-01T12:00:00.000Z").as_bytes()).unwrap().is_verifiable);
    }

    #[test]
    fn go_is_sent_numbers_for_fields_that_are_numbers() {
        let fields = r#"[{"id":"f","type":"float"},{"id":"i","type":"integer"},{"id":"t","type":"datetime"}]"#;
        let schema = Schema::with(serde_json::from_str(fields).unwrap()).unwrap();
        for (sealed, sent) in [
            (json!({ "f": "1.50" }), json!({ "f": 1.5 })),
            (json!({ "f": "-2e5" }), json!({ "f": -200_000.0 })),
            (json!({ "f": "1e999" }), json!({})),
            (json!({ "i": "9007199254740993" }), json!({ "i": 9_007_199_254_740_993_i64 })),
            (
                json!({ "t": "2026-01-01T12:00:00+02:00" }),
                json!({ "t": "2026-01-01T10:00:00.000000Z" }),
            ),
        ] {
            let sealed = json!({ "event": sealed }).to_string();
            let shown = View::Go.show(sealed.as_bytes(), &schema).unwrap();
            let shown = (shown.is_verifiable, shown.envelope.get().to_owned());
            assert_eq!(shown, (false, json!({ "event": sent }).to_string()));
            let plain = View::Plain.show(sealed.as_bytes(), &schema).unwrap();
            assert_eq!(plain.envelope.get(), sealed);
        }
        let whole = json!({ "event": { "i": 7, "message": "1.5" } }).to_string();
        assert!(View::Go.show(whole.as_bytes(), &schema).unwrap().is_verifiable);
    }

    #[test]
    fn everyone_else_gets_the_sealed_bytes() {
        assert_eq!(View::of("pangea-python/6.13.0"), View::Plain);
        let sealed = envelope("23.50");
        assert_eq!(show(View::Plain, sealed.as_bytes()).unwrap().envelope.get(), sealed);
        assert!(show(View::Plain, b"\xff").is_none() && show(View::Node, b"[]").is_none());
    }
}
