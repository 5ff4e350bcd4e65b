//! A projection of the log into SQLite: which sensors there are, their series, and a search over
//! all events.
//!
//! Everything here follows from the log alone: the file can be deleted at any time and is made
//! again. [`Indexer`] applies envelopes in the log's order, each [`IndexBatch`] and its cursor in
//! one transaction; [`Reader`] answers questions of what was applied.
//!
//! - A [`Search`] is answered from an inverted index of our own: a dictionary of terms, and for
//!   each term the leaves that have it.
//! - A series is kept in blocks of packed readings, with what they come to beside them, and is
//!   answered as readings or as a plot, [`Series`].
//!
//! Invariant: a question sees a prefix of the log, never a part of a batch.
//! Invariant: the file holds no more of an envelope than its terms and its reading, and nothing of
//! one that was erased.

mod batch;
mod block_reading;
mod codec;
mod compare;
mod connections;
mod dictionary;
mod effort;
mod error;
mod examine;
mod field;
mod indexer;
mod leaves;
mod plot;
mod postings;
mod query;
mod reader;
mod readings;
mod result_id;
mod schema;
mod search;
mod sensors;
mod series;
mod set;
mod summary;
mod term;

pub use batch::IndexBatch;
pub use compare::{Comparison, Difference};
pub use error::{IndexError, Trouble};
pub use examine::{Examined, examine, passed_over};
pub use field::{Field, UnknownField};
pub use indexer::Indexer;
pub use plot::{Bucket, Series};
pub use query::{InvalidMoment, InvalidQuery, Page, Query, ResultOrder, Search, Word, moment};
pub use reader::{PassedOver, Reader, SensorStatus};
pub use readings::SeriesReading;
pub use result_id::InvalidResultId;
pub use schema::{Entry, FoundEntry};
pub use search::{ReadEvent, SearchError};
