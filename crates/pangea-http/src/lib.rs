//! Pangea's Secure Audit Log API v2, served from a site's own log.
//!
//! The `pangea` crate knows the contract: what a request says, and how an answer looks. This crate
//! does the work in between, over HTTP. [`Api`] is the API, [`Config`] says how it shows the log,
//! [`Saved`] is what clients may come back for.
//!
//! # The way of a call
//!
//! 1. `api.rs` wires the parts and takes each call through them. `endpoint.rs` says what a path is,
//!    and which method, scope and size of body it takes. `call.rs` is the request itself, and what
//!    it holds.
//! 2. `admission.rs` admits the token that the call bears, or refuses it.
//! 3. `bodies.rs` reads the body, within the memory that all bodies share.
//! 4. The part for the endpoint does the work. Its fields are all that it touches.
//! 5. `reply.rs` frames the answer; HTTP's status follows from Pangea's there. `refusals.rs` says
//!    what a client is told when the log or the machine fails.
//!
//! | endpoint | part |
//! |---|---|
//! | `/v1/log`, `/v1/log_stream` | `logging.rs` |
//! | `/v2/log`, `/v2/log_async`, `/request/{id}` | `bulk_logging.rs`, with `logging.rs` |
//! | `/v1/search`, `/v1/results` | `searching.rs`, with `finder.rs` for what blocks |
//! | `/v1/export`, `/v1/download_results` | `exporting.rs`, with `downloads.rs` for addresses |
//! | `/v1/root`, `/v1/schema` | `about.rs` |
//!
//! `/download/{secret}/{name}` goes another way, without a token of its own: `downloads.rs` sends
//! the file while `content.rs` reads it from the log and `file_writer.rs` writes it as CSV or JSON.
//!
//! # What the parts share
//!
//! - `shown_log.rs`: the log, under the name and with the fields that clients know.
//! - `trees.rs`: roots and proofs of Pangea's tree.
//! - `rooms.rs`: how many calls make large answers or work on the disk at once.
//! - `promises.rs`: what was answered with 202. It is kept in `saved.rs`, as searches are; the form
//!   on disk is there, and how it is written in `saved_by_id.rs`.

mod about;
mod admission;
mod api;
mod bodies;
mod bulk_logging;
mod call;
mod config;
mod content;
mod downloads;
mod endpoint;
mod exporting;
mod file_writer;
mod finder;
mod logging;
mod promises;
mod recent;
mod refusals;
mod reply;
mod rooms;
mod saved;
mod saved_by_id;
mod searching;
mod shown_log;
mod trees;

pub use api::Api;
pub use config::{Config, PangeaConfigError};
pub use reply::no_room;
pub use saved::{Saved, SavedError};
