//! A projection of the log into SQLite: which sensors there are, their series, and a search over all events.
//!
//! Everything here follows from the log alone: the file can be deleted at any time and is made again. [`Indexer`] applies envelopes in the log's order, each
//! batch and its cursor in one transaction; [`Reader`] answers questions of what was applied.
//!
//! Invariant: a question sees a prefix of the log, never a part of a batch.

mod examine;
mod indexer;
mod reader;
mod schema;

pub use examine::{Examined, examine};
pub use indexer::Indexer;
pub use reader::{Found, Reader, Reading, SensorState, SensorStatus};

/// Why the index failed. It holds nothing that the log does not: delete it to have it made again.
#[derive(Debug, thiserror::Error)]
#[error("the index {what} failed")]
pub struct IndexError {
    what: &'static str,
    source: rusqlite::Error,
}

impl IndexError {
    fn while_(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self { what, source }
    }
}
