//! Pangea's Secure Audit Log API v2 without IO. Requests become types or refusals, and sealed
//! envelopes become answers that the official SDKs verify.
//!
//! Pangea's OpenAPI document is the contract. If the SDKs differ from it, this crate follows the
//! SDKs, because they are its clients. `docs/pangea.md` lists where and why.
//!
//! - [`request`] and [`event`] parse requests, [`submission`] what applications hand in by the
//!   site's own interfaces; [`fault`] describes what is wrong with one;
//! - [`answer`], [`proof`] and [`view`] make answers;
//! - [`exported`] and [`recompute`] check what Pangea itself shows;
//! - [`schema`] and [`signature`] define what an event may hold, and verify who signed it;
//! - [`client`] is the other side: it makes requests to a server of this API, and judges answers,
//!   [`found`] those to searches.
//!
//! # Example
//!
//! ```
//! use pangea::{Schema, request::LogRequest};
//!
//! let schema = Schema::standard();
//! let body = br#"{"event":{"message":"a valve was opened","actor":"ada"},"verbose":true}"#;
//! let request = LogRequest::parse_one(body, &schema).unwrap();
//! assert!(request.verbose);
//!
//! // What the contract does not allow is refused, with its place.
//! let fault = LogRequest::parse_one(br#"{"event":{"message":7}}"#, &schema).unwrap_err();
//! assert_eq!(fault.source_pointer, "/event/message");
//! ```

pub mod answer;
pub mod client;
pub mod event;
pub mod exported;
pub mod fault;
pub mod found;
pub mod proof;
pub mod recompute;
pub mod request;
pub mod schema;
pub mod signature;
pub mod submission;
pub mod view;

mod id;
mod members;
mod redact;
mod when;

pub use event::Item;
pub use fault::{Code, Fault, Refusal, Status};
pub use id::{Attempts, Chance, InvalidId, RequestId, ResultId};
pub use schema::Schema;
pub use view::{Shown, View};
