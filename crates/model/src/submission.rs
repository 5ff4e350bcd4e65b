//! Messages between the site and `event-logger`: JSON over NATS, several submissions in one
//! question.
//!
//! Submissions over HTTP come through `http-gateway`, which passes them on as they are.
//!
//! A submission is what an application hands in at once: an event, or an array of events. The
//! component checks it and keeps no state between calls. It does not learn which application a
//! submission is from, or under which key: the site adds both when it seals the events.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::Event;

/// Subject on which `event-logger` receives questions.
pub const SUBJECT: &str = "sealwire.events.check";
/// Configuration key under which the component receives the fields that the log's events may have.
pub const SCHEMA_KEY: &str = "schema";
/// Longest submission in bytes. An answer about it fits into a message of the hosts' server, even
/// where redaction and nested values make its texts longer.
pub const BYTES_MAX: usize = 1 << 20;
/// Longest answer in bytes. The component answers about as many submissions as fit.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Subjects on which the gateway forwards submissions.
pub const FORWARDED: &str = "sealwire.events.forwarded.*";
/// What such a subject begins with; the ticket follows.
const FORWARDED_PREFIX: &str = "sealwire.events.forwarded.";
/// Header in which the gateway receives the ticket of a submission.
pub const TICKET_HEADER: &str = "sealwire-ticket";

/// The subject on which the submission with this ticket is forwarded; `None` if the text is no
/// ticket.
#[must_use]
pub fn forwarded(ticket: &str) -> Option<String> {
    let is_ticket = !ticket.is_empty() && ticket.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ticket.then(|| format!("{FORWARDED_PREFIX}{ticket}"))
}

/// The ticket in a subject of [`FORWARDED`].
#[must_use]
pub fn ticket_in(subject: &str) -> Option<&str> {
    subject.strip_prefix(FORWARDED_PREFIX)
}

/// What has become of a forwarded submission, as HTTP tells it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// HTTP status code; 200 if the events are sealed.
    pub status: u16,
    /// Receipts, or a problem (RFC 9457).
    pub body: Box<RawValue>,
}

/// Submissions to check.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Question<'a> {
    /// The submissions, as the applications wrote them.
    #[serde(borrow)]
    pub submissions: Vec<&'a RawValue>,
}

/// What the component found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answer<T> {
    /// Digest of the component that checked.
    pub component: String,
    /// A [`Checked`] of each submission, in their order; at least one, and of the first ones only
    /// if no more fit.
    pub checked: Vec<T>,
}

/// What a submission holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// Events that can be sealed, in the form in which they are sealed.
    Events(Vec<CheckedEvent>),
    /// A fault. Then none of its events is sealed.
    Fault(Fault),
}

/// An event that can be sealed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CheckedEvent {
    /// The fields of the event.
    pub event: Event,
    /// The signer's public key, if the event is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The signature by that key. It has been verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl From<Event> for CheckedEvent {
    fn from(mut event: Event) -> Self {
        let (public_key, signature) = (event.public_key.take(), event.signature.take());
        Self { event, public_key, signature }
    }
}

impl CheckedEvent {
    /// The event as an application's, sealed with the token of this name; `None` if it claims to be
    /// one of the site's own.
    #[must_use]
    pub fn of_application(self, token: &str) -> Option<Event> {
        let Self { event, public_key, signature } = self;
        let is_plain = event.sealwire.is_none();
        is_plain.then(|| Event { public_key, signature, token: Some(String::from(token)), ..event })
    }
}

/// The first fault of a submission.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// Index of the event within the submission; `None` if the submission itself is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// Place within that event: a JSON pointer (RFC 6901).
    pub place: String,
    /// What is wrong and what is allowed.
    pub words: String,
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;

    use super::*;

    #[test]
    fn a_ticket_is_one_level_of_a_subject() {
        let subject = forwarded("0a1f").unwrap();
        assert_eq!(ticket_in(&subject), Some("0a1f"));
        for wrong in ["", "*", ">", "a.b", "0a 1f", "xyz"] {
            assert_eq!(forwarded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_is_the_applications_and_never_the_sites_own() {
        let event = Event {
            message: "hello".to_owned(),
            signature: Some("s".to_owned()),
            public_key: Some("k".to_owned()),
            ..Event::default()
        };
        let json = serde_json::to_string(&CheckedEvent::from(event.clone())).unwrap();
        assert_eq!(json, r#"{"event":{"message":"hello"},"public_key":"k","signature":"s"}"#);
        let read: CheckedEvent = serde_json::from_str(&json).unwrap();
        let sealed = read.of_application("shop").unwrap();
        assert_eq!(sealed, Event { token: Some("shop".to_owned()), ..event });
        let own = r#"{"event":{"message":"hello","sealwire":{}}}"#;
        let own: CheckedEvent = serde_json::from_str(own).unwrap();
        assert_eq!(own.of_application("shop"), None);
    }
}
