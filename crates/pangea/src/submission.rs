//! Parses a submission: the event, or the array of events, that an application hands in by the
//! site's own interfaces.
//!
//! An event is an object of fields, such as `{"message":"ada logged in","actor":"ada"}`, or has the
//! form of a bulk request, `{"event":{...},"signature":"...","public_key":"..."}`, in which it can
//! be signed. Each event has a `message`, so an object with an `event` and no `message` is of the
//! second form, even where a custom field is named `event`.

use serde_json::value::RawValue;

use crate::{
    event::Item,
    fault::{Code, Fault},
    members::{self, Members},
    request::EVENTS_MAX,
    schema::Schema,
};

/// The first fault of a submission.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faulty {
    /// Index of the event; `None` if the submission itself is at fault.
    pub event: Option<usize>,
    /// The fault, with its place within the event.
    pub fault: Fault,
}

/// Parses a submission. Its events are sealed together, so one fault refuses all of them.
///
/// # Errors
/// There are no events or too many, or one of them cannot be sealed.
pub fn parse(submission: &RawValue, schema: &Schema) -> Result<Vec<Item>, Faulty> {
    let in_event = |index| move |fault| Faulty { event: Some(index), fault };
    if !submission.get().starts_with('[') {
        return Ok(vec![item(submission, schema).map_err(in_event(0))?]);
    }
    let itself = |fault| Faulty { event: None, fault };
    let events = members::array(submission).map_err(itself)?;
    let refused = |code| {
        let words = format!("{} events, but 1 to {EVENTS_MAX} are allowed", events.len());
        Err(itself(Fault::new(code, "", words)))
    };
    match events.len() {
        0 => return refused(Code::BelowMinItems),
        1..=EVENTS_MAX => {}
        _ => return refused(Code::AboveMaxItems),
    }
    let item = |(index, event)| item(event, schema).map_err(in_event(index));
    events.into_iter().enumerate().map(item).collect()
}

fn item(event: &RawValue, schema: &Schema) -> Result<Item, Fault> {
    let mut members = Members::of(event)?;
    if members.has("message") || !members.has("event") {
        return Item::of_fields(&members, schema);
    }
    let item = Item::take(&mut members, schema)?;
    members.finish()?;
    Ok(item)
}

#[cfg(test)]
mod tests {
    use model::Event;
    use serde_json::json;

    use super::*;
    use crate::schema::Definition;

    fn parsed(submission: &str) -> Result<Vec<String>, (Option<usize>, Code, String)> {
        let definition = json!({
            "fields": [{ "id": "event", "type": "string" }],
            "redact": { "message": ["[0-9]{4}"] },
        });
        let definition: Definition = serde_json::from_value(definition).unwrap();
        let schema = Schema::try_from(definition).unwrap();
        let submission: &RawValue = serde_json::from_str(submission).unwrap();
        let json = |item| serde_json::to_string(&Event::from(item)).unwrap();
        match parse(submission, &schema) {
            Ok(items) => Ok(items.into_iter().map(json).collect()),
            Err(Faulty { event, fault }) => Err((event, fault.code, fault.source_pointer)),
        }
    }

    #[test]
    fn an_event_has_its_fields_or_the_form_of_a_bulk_request() {
        for (submission, events) in [
            (r#"{"message":"m","actor":"a"}"#, vec![r#"{"actor":"a","message":"m"}"#]),
            (
                r#"[{"message":"m"},{"event":{"message":"n"}}]"#,
                vec![r#"{"message":"m"}"#, r#"{"message":"n"}"#],
            ),
            (r#"{"message":"m","event":"x"}"#, vec![r#"{"event":"x","message":"m"}"#]), // custom
            (r#"{"message":"PIN 4711"}"#, vec![r#"{"message":"PIN [redacted]"}"#]),
            (
                r#"{"message":"m","timestamp":"2026-01-01T02:00:00+02:00"}"#,
                vec![r#"{"message":"m","timestamp":"2026-01-01T00:00:00.000000Z"}"#],
            ),
        ] {
            let events = events.into_iter().map(String::from).collect();
            assert_eq!(parsed(submission), Ok(events), "{submission}");
        }
    }

    #[test]
    fn a_fault_names_its_event_and_its_place_there() {
        let many = format!("[{}]", vec![r#"{"message":"m"}"#; EVENTS_MAX + 1].join(","));
        assert_eq!(parsed(&many.replacen(r#"{"message":"m"},"#, "", 1)).unwrap().len(), EVENTS_MAX);
        for (submission, event, code, place) in [
            ("[]", None, Code::BelowMinItems, ""),
            (many.as_str(), None, Code::AboveMaxItems, ""),
            ("7", Some(0), Code::InvalidObject, ""),
            ("{}", Some(0), Code::FieldRequired, "/message"),
            (r#"[{"message":"m"},{"message":7}]"#, Some(1), Code::InvalidString, "/message"),
            (r#"[{"message":"m"},[]]"#, Some(1), Code::InvalidObject, ""),
            (r#"{"event":{"message":7}}"#, Some(0), Code::InvalidString, "/event/message"),
            (r#"{"event":{"message":"m"},"x":1}"#, Some(0), Code::UnexpectedProperty, "/x"),
            (
                r#"{"event":{"message":"m"},"signature":"x"}"#,
                Some(0),
                Code::IsDependentOn,
                "/signature",
            ),
            (r#"{"message":"m","signature":"x"}"#, Some(0), Code::UnexpectedProperty, "/signature"),
            (r#"{"message":"m","sealwire":{}}"#, Some(0), Code::UnexpectedProperty, "/sealwire"),
            (r#"{"message":"m","action":"KEY_ROTATED"}"#, Some(0), Code::InvalidConst, "/action"),
        ] {
            assert_eq!(
                parsed(submission),
                Err((event, code, place.to_owned())),
                "{}",
                submission.chars().take(80).collect::<String>()
            );
        }
    }
}
