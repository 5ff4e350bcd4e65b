//! What clients are told: the frame that every answer has, and each endpoint's result.
//!
//! The frame has these six members always and no other: Python's SDK refuses more, Go's crashes
//! with less.

use model::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    fault::{Fault, Refusal, Status},
    id::{RequestId, ResultId},
    schema::{Field, Schema},
};

/// The frame.
#[derive(Debug, Serialize)]
pub struct Answer<R> {
    /// The request's id; of an answer about another request, that one's.
    pub request_id: String,
    /// When the request was taken.
    pub request_time: Timestamp,
    /// When it was answered.
    pub response_time: Timestamp,
    /// What came of it.
    pub result: R,
    /// How it ended.
    pub status: Status,
    /// The same in a line for people.
    pub summary: String,
}

/// A result without members.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Nothing {}

/// What is wrong with a request.
#[derive(Debug, Serialize)]
pub struct Errors {
    /// Each thing; not there if the request itself is not at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl From<Refusal> for Errors {
    fn from(refusal: Refusal) -> Self {
        Self { errors: refusal.errors }
    }
}

/// What became of one event that was sealed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Logged {
    /// That the tree begins with an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_proof: Option<Vec<String>>,
    /// As it was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Box<RawValue>>,
    /// Its SHA-256 in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// That the leaf is in the tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_proof: Option<String>,
    /// The tree's root in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpublished_root: Option<String>,
}

/// `/v2/log`.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedAll {
    /// In the order of the request.
    pub results: Vec<Logged>,
}

/// Where the result of a request will be.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// Its address.
    pub location: String,
    /// How often it was asked for in vain.
    pub retry_counter: u32,
    /// For how many minutes it is kept.
    pub ttl_mins: u64,
}

/// A tree's root.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// That it begins with the tree that has one leaf less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_proof: Option<Vec<String>>,
    /// Where and since when it is published.
    #[serde(flatten)]
    pub published: Option<PublishedRoot>,
    /// In hex.
    pub root_hash: String,
    /// Number of leaves.
    pub size: u64,
    /// The log's.
    pub tree_name: String,
}

/// Where a root is published.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedRoot {
    /// Since when the checkpoint that covers it was known to this site.
    pub published_at: Timestamp,
    /// The checkpoint's address.
    pub url: String,
}

/// `/v1/root`: all three SDKs read the root under `data`.
#[derive(Debug, Serialize)]
pub struct RootResult {
    /// The root.
    pub data: Root,
}

/// One event of a page.
#[derive(Debug, Serialize)]
pub struct Found {
    /// As it was sealed.
    pub envelope: Box<RawValue>,
    /// Its SHA-256 in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Its place in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_index: Option<u64>,
    /// That the leaf is in the tree of the page's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_proof: Option<String>,
    /// Whether a published root covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
}

/// `/v1/results`.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Events that the search finds, on all pages.
    pub count: u64,
    /// Those of this page.
    pub events: Vec<Found>,
    /// The published root that covers them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// The same tree's root, without where it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpublished_root: Option<Root>,
}

/// `/v1/search`.
#[derive(Debug, Serialize)]
pub struct SearchResult {
    /// Until when pages can be asked for.
    pub expires_at: Timestamp,
    /// By which they are.
    pub id: String,
    /// The first one.
    #[serde(flatten)]
    pub page: Page,
}

impl SearchResult {
    /// The first page of a search.
    #[must_use]
    pub fn new(id: &ResultId, expires_at: Timestamp, page: Page) -> Self {
        Self { expires_at, id: id.to_string(), page }
    }
}

/// `/v1/schema`.
#[derive(Debug, Serialize)]
pub struct SchemaResult<'a> {
    client_signable: bool,
    fields: Vec<&'a Field>,
    save_malformed: &'static str,
    tamper_proofing: bool,
}

impl<'a> SchemaResult<'a> {
    /// A log's schema.
    #[must_use]
    pub fn new(schema: &'a Schema) -> Self {
        Self {
            client_signable: true,
            fields: schema.fields().collect(),
            save_malformed: "reject",
            tamper_proofing: true,
        }
    }
}

/// `/v1/download_results`.
#[derive(Debug, Serialize)]
pub struct Download {
    /// The file's address, which nobody can guess.
    pub dest_url: String,
    /// Until when it is there.
    pub expires_at: Timestamp,
}

impl<R: Serialize> Answer<R> {
    /// The answer to a request.
    #[must_use]
    pub fn new(
        of: &RequestId,
        (request_time, response_time): (Timestamp, Timestamp),
        status: Status,
        summary: impl Into<String>,
        result: R,
    ) -> Self {
        let (request_id, summary) = (of.to_string(), summary.into());
        Self { request_id, request_time, response_time, result, status, summary }
    }

    /// As it is sent.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an answer has only text keys and no floating point")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fault::Code;

    #[test]
    fn every_answer_has_the_six_members_and_no_other() {
        let at = Timestamp::from_unix_micros(0);
        let id = RequestId::new(0, [0; 14]);
        let refusal = Refusal::at(
            Status::TreeNotFound,
            Fault::new(Code::IsTooBig, "/tree_size", "the log has 7 leaves"),
        );
        let answer = Answer::new(
            &id,
            (at, at),
            refusal.status,
            refusal.summary.clone(),
            Errors::from(refusal),
        );
        let read: Value = serde_json::from_slice(&answer.to_json()).unwrap();
        assert_eq!(
            read,
            json!({
                "request_id": "prq_00000000000000000000000000000000", "request_time": "1970-01-01T00:00:00.000000Z",
                "response_time": "1970-01-01T00:00:00.000000Z", "status": "TreeNotFound", "summary": "the log has 7 leaves",
                "result": {"errors": [{"code": "IsTooBig", "detail": "the log has 7 leaves", "source": "/tree_size"}]},
            })
        );
        let answer = Answer::new(&id, (at, at), Status::Success, "", Nothing {});
        let read: Value = serde_json::from_slice(&answer.to_json()).unwrap();
        assert_eq!((read.as_object().unwrap().len(), &read["result"]), (6, &json!({})));
    }

    #[test]
    fn what_is_not_there_is_left_out_and_never_null() {
        assert_eq!(serde_json::to_string(&Logged::default()).unwrap(), "{}");
        let root = Root {
            consistency_proof: None,
            published: None,
            root_hash: String::new(),
            size: 1,
            tree_name: String::new(),
        };
        assert_eq!(
            serde_json::to_value(root).unwrap(),
            json!({"root_hash": "", "size": 1, "tree_name": ""})
        );
    }
}
