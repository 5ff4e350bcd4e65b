//! Pangea's Secure Audit Log API v2, served from a site's own log.
//!
//! The `pangea` crate defines the contract: requests and answers. This crate does the work in
//! between, over HTTP. [`Api`] is the API, [`Config`] is its configuration, and [`Saved`] holds
//! searches and results for which clients may ask later.
//!
//! # The way of a call
//!
//! 1. `api.rs` wires the parts and takes each call through them. `endpoint.rs` defines each path:
//!    its method, scope and largest body. `call.rs` is the request itself, with what it holds.
//! 2. `admission.rs` admits or refuses the call's token.
//! 3. `bodies.rs` reads the body, within the memory that all bodies share.
//! 4. The part for the endpoint does the work. It can use only its fields.
//! 5. `reply.rs` frames the answer and derives the HTTP status from Pangea's status. `refusals.rs`
//!    makes the answers for failures of the log or the machine.
//!
//! | endpoint | part |
//! |---|---|
//! | `/v1/log`, `/v1/log_stream` | `logging.rs` |
//! | `/v2/log`, `/v2/log_async`, `/request/{id}` | `bulk_logging.rs`, with `logging.rs` |
//! | `/v1/search`, `/v1/results` | `searching.rs`, with `finder.rs` for what blocks |
//! | `/v1/export`, `/v1/download_results` | `exporting.rs`, with `downloads.rs` for addresses |
//! | `/v1/root`, `/v1/schema` | `about.rs` |
//!
//! `/download/{secret}/{name}` needs no token: `downloads.rs` sends the file while `content.rs`
//! reads it from the log and `file_writer.rs` writes it as CSV or JSON.
//!
//! # What the parts share
//!
//! - `shown_log.rs`: the log, under the name and with the fields that clients know.
//! - `trees.rs`: roots and proofs of Pangea's tree.
//! - `rooms.rs`: limits how many calls make large answers or work on the disk at once.
//! - `promises.rs`: requests that were answered with 202. `saved.rs` keeps them, and searches, and
//!   defines their form on disk; `saved_by_id.rs` writes them.

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
pub use reply::{no_room, too_many_wrong_tokens};
pub use saved::{Saved, SavedError};
