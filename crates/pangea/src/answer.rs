//! Answers to clients: the frame that every answer has, and the result of each endpoint.
//!
//! The frame always has these six members and no others: Python's SDK refuses additional members,
//! and Go's crashes without one of the six.

use model::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    fault::{Fault, Refusal, Status},
    id::{RequestId, ResultId},
    schema::{Field, Schema},
};

/// The frame around every result.
#[derive(Debug, Serialize)]
pub struct Answer<R> {
    /// Id of the request, or of the earlier request that this answer is about.
    pub request_id: String,
    /// When the server received the request.
    pub request_time: Timestamp,
    /// When the server answered.
    pub response_time: Timestamp,
    /// Result of the endpoint.
    pub result: R,
    /// How the request ended.
    pub status: Status,
    /// One line for people about how the request ended.
    pub summary: String,
}

/// A result without members.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Nothing {}

/// The faults of a request.
#[derive(Debug, Serialize)]
pub struct Errors {
    /// Each fault; absent if the request itself is not at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl From<Refusal> for Errors {
    fn from(refusal: Refusal) -> Self {
        Self { errors: refusal.errors }
    }
}

/// Result of one sealed event.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Logged {
    /// Proof that the tree begins with the tree that the client saw before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_proof: Option<Vec<String>>,
    /// The envelope as sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Box<RawValue>>,
    /// SHA-256 of the envelope in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Proof that the leaf is in the tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_proof: Option<String>,
    /// Root of the tree in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpublished_root: Option<String>,
}

/// Result of `/v2/log`.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedAll {
    /// Results of the events, in the order of the request.
    pub results: Vec<Logged>,
}

/// Where the client can fetch the result of a request later.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// Address of the result.
    pub location: String,
    /// How often the client asked before the result was ready.
    pub retry_counter: u32,
    /// How long the result is kept, in minutes.
    pub ttl_mins: u64,
}

/// Root of a tree.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// Proof that the tree begins with the tree of one leaf less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_proof: Option<Vec<String>>,
    /// Where the root is published, and since when.
    #[serde(flatten)]
    pub published: Option<PublishedRoot>,
    /// Root hash in hex.
    pub root_hash: String,
    /// Number of leaves.
    pub size: u64,
    /// Name of the log's tree.
    pub tree_name: String,
}

/// Publication of a root.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedRoot {
    /// When this site first had the checkpoint that covers the root.
    pub published_at: Timestamp,
    /// URL of the checkpoint.
    pub url: String,
}

/// Result of `/v1/root`. All three SDKs read the root under `data`.
#[derive(Debug, Serialize)]
pub struct RootResult {
    /// Root of the tree that the request names.
    pub data: Root,
}

/// One event of a page of search results.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The envelope as sealed.
    pub envelope: Box<RawValue>,
    /// SHA-256 of the envelope in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Index of the leaf in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_index: Option<u64>,
    /// Proof that the leaf is in the tree of the page's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership_proof: Option<String>,
    /// Whether a published root covers the leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
}

/// Result of `/v1/results`.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Number of events that the search found, on all pages.
    pub count: u64,
    /// Events of this page.
    pub events: Vec<Found>,
    /// Published root that covers all events of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Root of the same tree, without its publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpublished_root: Option<Root>,
}

/// Result of `/v1/search`.
#[derive(Debug, Serialize)]
pub struct SearchResult {
    /// Until when the client can ask for pages.
    pub expires_at: Timestamp,
    /// Id with which the client asks for pages.
    pub id: String,
    /// The first page.
    #[serde(flatten)]
    pub page: Page,
}

impl SearchResult {
    /// The result of a search, with its first page.
    #[must_use]
    pub fn new(id: &ResultId, expires_at: Timestamp, page: Page) -> Self {
        Self { expires_at, id: id.to_string(), page }
    }
}

/// Result of `/v1/schema`.
#[derive(Debug, Serialize)]
pub struct SchemaResult<'a> {
    client_signable: bool,
    fields: Vec<&'a Field>,
    save_malformed: &'static str,
    tamper_proofing: bool,
}

impl<'a> SchemaResult<'a> {
    /// The result for this schema.
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

/// Result of `/v1/download_results`.
#[derive(Debug, Serialize)]
pub struct Download {
    /// URL of the file. It cannot be guessed.
    pub dest_url: String,
    /// Until when the file can be downloaded.
    pub expires_at: Timestamp,
}

impl<R: Serialize> Answer<R> {
    /// An answer to the request `of`.
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

    /// The answer as JSON bytes.
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
