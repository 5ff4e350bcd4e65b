//! The history of another log, sealed with where it came from.
//!
//! An imported event is not the site's word, and not a program's either: it is what somebody
//! showed. So its envelope is sealed as text, under an action of its own, and no part of it can
//! pass for an event of this log. Its hash is recomputed first.

use access::Words;
use ledger::{AppendKey, Batch};
use model::{Event, event::Detail};
use pangea::recompute::{is_hash_of, parse_hash};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tlog::Hash;

/// Largest envelope that is imported, in bytes. Pangea takes events of up to 32 KiB a field.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of the envelopes of one order. With an escape for every second character they fit
/// into what a site reads.
pub const ORDER_BYTES_MAX: usize = 4 << 20;
/// Most events of one order: one is added to them, and all are one batch.
pub const EVENTS_MAX: usize = Batch::EVENTS_MAX - 1;

/// An event of another log, as it was exported.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignEvent {
    /// The envelope, byte for byte.
    pub envelope: String,
    /// SHA-256 of the envelope in hex, as the other log names it.
    pub hash: String,
    /// The event's leaf in the other log, if that is known.
    #[serde(default)]
    pub leaf: Option<u64>,
}

/// A part of a history, all of which comes from one file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Where it comes from, in the words of whoever imports it.
    pub from: Words,
    /// SHA-256 of the file in hex.
    pub file: String,
    /// What the file showed, if this is its first part.
    #[serde(default)]
    pub shown: Option<Words>,
    /// The events.
    pub events: Vec<ForeignEvent>,
}

/// Why a part of a history is not imported. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There are too many events for one order.
    #[error("the part has {count} events: send at most {EVENTS_MAX} at once")]
    TooMany {
        /// Number of events.
        count: usize,
    },
    /// An envelope is too large.
    #[error(
        "the event {hash} has {bytes} bytes, but at most {ENVELOPE_BYTES_MAX} are imported: leave it out"
    )]
    TooLarge {
        /// The hash that was given for it.
        hash: String,
        /// Its size.
        bytes: usize,
    },
    /// An envelope has another hash than was given for it.
    #[error("the event {hash} is not what it is said to be: its envelope has another hash")]
    OtherHash {
        /// The hash that was given for it.
        hash: String,
    },
    /// The hash of the file, or of an event, is no hash.
    #[error("`{text}`: {why}")]
    NoHash {
        /// What was given.
        text: String,
        /// What is wrong.
        why: String,
    },
}

impl History {
    /// The batch that seals this part, once however often it is handed in.
    pub(crate) fn batch(self, by: &str, reason: &str) -> Result<Batch, ImportError> {
        let Self { from, file, shown, events } = self;
        if events.len() > EVENTS_MAX {
            return Err(ImportError::TooMany { count: events.len() });
        }
        let hash_of = |text: &str| {
            parse_hash(text).map_err(|why| ImportError::NoHash { text: text.to_owned(), why })
        };
        hash_of(&file)?;
        let first = shown.as_ref().map(Words::as_str).unwrap_or_default();
        let mut named = [by, reason, from.as_str(), &file, first, ""].join("\n");
        let detail = || Detail { answers: Some(file.clone()), ..Detail::default() };
        let mut sealed = Vec::with_capacity(events.len() + 1);
        if let Some(shown) = shown {
            let words = format!("{reason}: {}", shown.as_str());
            sealed.push(Event::history_imported(by, from.as_str(), words, detail()));
        }
        for ForeignEvent { envelope, hash, leaf } in events {
            let bytes = envelope.len();
            if bytes > ENVELOPE_BYTES_MAX {
                return Err(ImportError::TooLarge { hash, bytes });
            }
            let parsed: Option<&RawValue> = serde_json::from_str(&envelope).ok();
            let named_hash = hash_of(&hash)?;
            // White space around the value would be sealed, but is not a part of the value.
            let is_it = |it: &RawValue| it.get() == envelope && is_hash_of(&named_hash, it);
            if !parsed.is_some_and(is_it) {
                return Err(ImportError::OtherHash { hash });
            }
            named.push_str(&hash);
            named.push('\n');
            let detail = Detail { imported: Some(hash), imported_leaf: leaf, ..detail() };
            sealed.push(Event::imported(by, from.as_str(), envelope, detail));
        }
        let key = format!("import {}", hex::encode(Hash::sha256(named.as_bytes()).as_bytes()));
        let key = AppendKey::parse(&key).expect("a hash is shorter");
        Ok(Batch { key: Some(key), ..Batch::of(sealed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> ForeignEvent {
        let text = format!(r#"{{"event":{{"message":"{message}"}}}}"#);
        let hash = hex::encode(Hash::sha256(text.as_bytes()).as_bytes());
        ForeignEvent { envelope: text, hash, leaf: Some(7) }
    }

    fn history(events: Vec<ForeignEvent>) -> History {
        let words = |text: &str| serde_json::from_value::<Words>(text.into()).unwrap();
        let (from, file) = (words("pangea project 1"), "00".repeat(32));
        History { from, file, shown: Some(words("2 events")), events }
    }

    fn batch(history: History) -> Result<Batch, ImportError> {
        history.batch("root", "moving")
    }

    #[test]
    fn a_history_is_sealed_with_where_it_came_from_and_under_one_key() {
        let one = batch(history(vec![event("a"), event("b")])).unwrap();
        let actions: Vec<_> = one.events.iter().map(|it| it.action.as_deref().unwrap()).collect();
        assert_eq!(actions, ["HISTORY_IMPORTED", "EVENT_IMPORTED", "EVENT_IMPORTED"]);
        let first = &one.events[1];
        assert_eq!(first.new.as_deref(), Some(r#"{"event":{"message":"a"}}"#));
        assert_eq!(first.source.as_deref(), Some("pangea project 1"));
        let detail = first.sealwire.as_ref().unwrap();
        assert_eq!((detail.imported.as_ref().unwrap().len(), detail.imported_leaf), (64, Some(7)));
        let again = batch(history(vec![event("a"), event("b")])).unwrap();
        assert_eq!(one.key, again.key);
        let other = batch(history(vec![event("a"), event("c")])).unwrap();
        assert_ne!(one.key, other.key);
    }

    #[test]
    fn what_is_not_what_it_is_said_to_be_is_not_imported() {
        let mut wrong = event("a");
        wrong.hash = event("b").hash;
        let refused = |history| batch(history).unwrap_err().to_string();
        assert!(refused(history(vec![event("a"), wrong])).contains("has another hash"));
        let long = event(&"x".repeat(ENVELOPE_BYTES_MAX));
        assert!(refused(history(vec![long])).contains("at most 262144"));
        let mut spaced = event("a");
        spaced.envelope.push(' ');
        assert!(refused(history(vec![spaced])).contains("has another hash"));
        let many = vec![event("a"); EVENTS_MAX + 1];
        assert!(refused(history(many)).contains("at most 999"));
        let mut other = history(vec![event("a")]);
        other.file = "x".to_owned();
        assert!(refused(other).contains("64 hex digits"));
    }
}
