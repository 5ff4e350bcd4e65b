//! A projection of the log into SQLite: which sensors there are, their series, and a search over all events.
//!
//! Everything here follows from the log alone: the file can be deleted at any time and is made again. [`Indexer`] applies envelopes in the log's order, each
//! [`Batch`] and its cursor in one transaction; [`Reader`] answers questions of what was applied.
//!
//! - A [`Search`] is answered from an inverted index of our own: a dictionary of terms, and for each term the leaves that have it.
//! - A series is kept in blocks of packed readings, with what they come to beside them, and is answered as readings or as a plot, [`Series`].
//!
//! Invariant: a question sees a prefix of the log, never a part of a batch.
//! Invariant: the file holds no more of an envelope than its terms and its reading, and nothing of one that was erased.

mod batch;
mod codec;
mod compare;
mod connections;
mod dictionary;
mod effort;
mod examine;
mod field;
mod indexer;
mod leaves;
mod plot;
mod postings;
mod query;
mod reader;
mod result_id;
mod schema;
mod search;
mod sensors;
mod series;
mod set;
mod summary;

use rusqlite::ErrorCode;

pub use batch::Batch;
pub use compare::{Comparison, Difference};
pub use examine::{Examined, examine, passed_over};
pub use field::{Field, UnknownField};
pub use indexer::Indexer;
pub use plot::{Bucket, Series};
pub use query::{InvalidMoment, InvalidQuery, Order, Page, Query, Search, Word, moment};
pub use reader::{PassedOver, Reader, Reading, SensorState, SensorStatus};
pub use result_id::InvalidResultId;
pub use schema::{Entry, FoundEntry};
pub use search::{ReadEvent, SearchError};

/// Why the index failed. It holds nothing that the log does not: delete it to have it made again.
#[derive(Debug, thiserror::Error)]
#[error("the index {what} failed")]
pub struct IndexError {
    what: &'static str,
    trouble: Trouble,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What kind of failure it is, and so what helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The file takes everything but what was to be written: that is passed over.
    Content,
    /// The file holds what no writer wrote: it is made again from the log.
    Damage,
    /// The disk, the memory or another process is in the way: it may pass, and nothing is deleted for it.
    Passing,
}

impl IndexError {
    fn while_(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self { what, trouble: Trouble::of(&source), source: Box::new(source) }
    }

    /// The log failed that the index was to be held against.
    fn log(what: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source }
    }

    /// The system failed.
    fn io(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source: Box::new(source) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn trouble(&self) -> Trouble {
        self.trouble
    }
}

impl Trouble {
    fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::Error;
        match error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
                    Self::Content
                }
                // The last is what SQLite says of a table or column that is not there.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                    Self::Damage
                }
                _ => Self::Passing,
            },
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => Self::Damage,
            _ => Self::Passing,
        }
    }
}

/// A blob that no writer wrote.
#[derive(Debug, thiserror::Error)]
#[error("{0} is damaged: no writer wrote it so")]
struct Damaged(&'static str);

fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Blob,
        Box::new(Damaged(what)),
    )
}
