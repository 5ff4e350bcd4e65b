//! A search of a server's copy: what is asked, and what comes back.

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{
    client::{Frame, LogAtServer, SUCCESS, short},
    recompute::{fold, is_hash_of, parse_hash},
};

/// The body of a request for the newest events that a query finds in this log of the server, or in
/// that of the token, at most `limit`.
#[must_use]
pub fn search_request(log: Option<&LogAtServer>, query: &str, limit: u32) -> Vec<u8> {
    let mut request = json!({ "query": query, "limit": limit, "order": "desc", "verbose": true });
    if let (Some(log), Some(members)) = (log, request.as_object_mut()) {
        members.insert("config_id".to_owned(), log.as_str().into());
    }
    request.to_string().into_bytes()
}

/// What a server found. Everything that it shows was checked.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Number of events that the server says it found.
    pub count: u64,
    /// The newest of them, newest first.
    pub events: Vec<FoundEvent>,
}

/// An event that a server found.
#[derive(Debug, Serialize)]
pub struct FoundEvent {
    /// The server's envelope, as it came.
    pub envelope: Box<RawValue>,
    /// SHA-256 of the envelope in hex, if the server shows it.
    pub hash: Option<String>,
    /// Whether a membership proof leads from the hash to a root that the server shows.
    pub proved: bool,
}

/// Why a search found nothing that counts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSearched {
    /// The server does not take the query.
    #[error("{0}")]
    Query(String),
    /// The server does not answer, or wrongly, or refuses the token.
    #[error("{0}")]
    Server(String),
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    count: u64,
    root: Option<Root>,
    unpublished_root: Option<Root>,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Root {
    root_hash: String,
}

#[derive(Deserialize)]
struct Event {
    envelope: Box<RawValue>,
    hash: Option<String>,
    published: Option<bool>,
    leaf_index: Option<u64>,
    membership_proof: Option<String>,
}

impl Found {
    /// Judges a server's answer to a search.
    ///
    /// # Errors
    /// The server refuses the query or the caller, or its answer is none, or something that it
    /// shows is wrong.
    pub fn of(status: u16, body: &[u8]) -> Result<Self, NotSearched> {
        let frame: Option<Frame<'_>> = serde_json::from_slice(body).ok();
        let server = |words: String| NotSearched::Server(short(&words));
        let Some(frame) = frame else {
            return Err(server(format!("{status}, and not in the words of Pangea's API")));
        };
        let words = format!("{status} {}: {}", frame.status, frame.summary);
        match (status, frame.result) {
            (200, Some(result)) if frame.status == SUCCESS => {
                let wrong = |fault: String| server(format!("the answer is wrong: {fault}"));
                let results: Results = serde_json::from_str(result.get())
                    .map_err(|error| wrong(format!("no events: {error}")))?;
                results.checked().map_err(wrong)
            }
            (400 | 422, _) => Err(NotSearched::Query(short(&words))),
            _ => Err(server(words)),
        }
    }
}

impl Results {
    fn checked(self) -> Result<Found, String> {
        let Self { count, root, unpublished_root, events } = self;
        let check = |event: Event| {
            let is_published = event.published.unwrap_or_else(|| event.leaf_index.is_some());
            let root = if is_published { &root } else { &unpublished_root };
            let Event { envelope, hash, membership_proof, .. } = event;
            let parsed = hash.as_deref().map(parse_hash).transpose()?;
            if parsed.is_some_and(|hash| !is_hash_of(&hash, &envelope)) {
                return Err("a hash is not that of its envelope".to_owned());
            }
            let shown = parsed.zip(membership_proof).zip(root.as_ref());
            if let Some(((hash, proof), root)) = &shown
                && fold(*hash, proof)? != parse_hash(&root.root_hash)?
            {
                return Err("a membership proof does not lead to the root".to_owned());
            }
            Ok(FoundEvent { envelope, hash, proved: shown.is_some() })
        };
        let events = events.into_iter().map(check).collect::<Result<_, String>>()?;
        Ok(Found { count, events })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tlog::{Hash, NodeHash as _, Pangea};

    use super::*;

    /// An honest answer: one event under a published root, and one without a proof.
    fn answer() -> Value {
        let envelope = |message: &str| json!({ "event": { "message": message } });
        let hash = |envelope: &Value| Hash::sha256(envelope.to_string().as_bytes());
        let hex = |hash: Hash| hex::encode(hash.as_bytes());
        let (a, b) = (envelope("a"), envelope("b"));
        let other = Hash::sha256(b"other");
        let root = Pangea::node(&other, &hash(&a));
        let proved = json!({ "envelope": a, "hash": hex(hash(&a)), "published": true,
            "leaf_index": 1, "membership_proof": format!("l:{}", hex(other)) });
        json!({ "status": "Success", "summary": "", "result": { "count": 7,
            "root": { "root_hash": hex(root), "size": 2 },
            "events": [proved, { "envelope": b }] } })
    }

    fn found(status: u16, answer: &Value) -> Result<Found, NotSearched> {
        Found::of(status, answer.to_string().as_bytes())
    }

    #[test]
    fn what_a_server_shows_is_checked() {
        let honest = found(200, &answer()).unwrap();
        let proved: Vec<_> = honest.events.iter().map(|event| event.proved).collect();
        assert_eq!((honest.count, proved), (7, vec![true, false]));
        for (pointer, changed, words) in [
            ("/result/events/0/envelope/event/message", "c", "not that of its envelope"),
            ("/result/root/root_hash", &"00".repeat(32), "does not lead to the root"),
            ("/result/events/0/hash", "7", "64 hex digits"),
            ("/result/events/0/membership_proof", "x:7", "neither `l:` nor `r:`"),
            ("/result/events", "none", "no events"),
            ("/status", "Accepted", "200 Accepted"),
        ] {
            let mut answer = answer();
            *answer.pointer_mut(pointer).unwrap() = Value::from(changed);
            match found(200, &answer) {
                Err(NotSearched::Server(said)) => assert!(said.contains(words), "{said}"),
                other => panic!("{pointer}: {other:?}"),
            }
        }
    }

    #[test]
    fn refusals_of_the_query_and_of_the_caller_differ() {
        let refusal = json!({ "status": "ValidationError", "summary": "`query`" });
        let words = "400 ValidationError: `query`".to_owned();
        assert_eq!(found(400, &refusal).unwrap_err(), NotSearched::Query(words));
        let refusal = json!({ "status": "Unauthorized", "summary": "no" });
        let words = "401 Unauthorized: no".to_owned();
        assert_eq!(found(401, &refusal).unwrap_err(), NotSearched::Server(words));
        let words = "502, and not in the words of Pangea's API".to_owned();
        assert_eq!(Found::of(502, b"<html>").unwrap_err(), NotSearched::Server(words));
    }
}
