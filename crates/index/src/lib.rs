//! An index of the log in SQLite: the sensors, the series of each, and a search over all events.
//!
//! An index is of one log. It follows from the log alone, so the file can be deleted at any time;
//! the site then rebuilds it. [`Indexer`] applies envelopes in the log's order, each [`IndexBatch`]
//! together with its cursor in one transaction. [`Reader`] answers questions about the applied
//! envelopes.
//!
//! - A [`Search`] uses an inverted index: a dictionary of terms, and for each term the leaves that
//!   have it.
//! - A series is stored in blocks of packed readings, each with a summary beside it. The answer is
//!   readings or a plot, [`Series`].
//!
//! Invariants:
//! - a question sees a prefix of the log, never a part of a batch;
//! - the file holds only an envelope's terms and reading, and nothing of an erased envelope.
//!
//! # Example
//!
//! ```
//! use index::{Entry, IndexBatch, Indexer, Query, Search};
//! use model::{Envelope, Event, LogId, Salt, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("index.sqlite");
//! let log = LogId::from_sha256([1; 32]);
//! let mut indexer = Indexer::open(&path, log, |_leaf| Ok(None))?;
//!
//! // Leaves are applied in the log's order.
//! let at = Timestamp::from_unix_micros(0);
//! let event = Event::site("NOTE", "example", "a valve was opened".to_owned(), at);
//! let envelope = Envelope { event, received_at: at, salt: Salt::from_random([7; 16]) };
//! let mut batch = IndexBatch::new(indexer.next_leaf());
//! batch.extend([Some(envelope)]);
//! indexer.apply(&batch, Entry::default())?;
//!
//! // Parts of words are found, in any field.
//! let search = Search { query: Query::parse("valv", |_field| false)?, ..Search::default() };
//! let page = indexer.reader()?.search(&search, 0, 20, &mut |_leaf| Ok(None))?;
//! assert_eq!(page.leaves, [0]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod block_reading;
mod calibrated;
mod channels;
mod chunk;
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
mod newest;
mod plot;
mod postings;
mod query;
mod reader;
mod readings;
mod recent;
mod result_id;
mod run;
mod schema;
mod search;
mod sensors;
mod series;
mod set;
mod summary;
mod tail;
mod term;

pub use batch::IndexBatch;
pub use channels::channel_series;
pub use compare::{Comparison, Difference};
pub use error::{IndexError, Trouble};
pub use examine::{Examined, examine, passed_over};
pub use field::{Field, UnknownField};
pub use indexer::Indexer;
pub use plot::{Bucket, Series};
pub use query::{InvalidMoment, InvalidQuery, Page, Query, ResultOrder, Search, Word, moment};
pub use reader::{Described, ListedSensor, PassedOver, Reader, SensorStatus};
pub use readings::{ChannelReading, SeriesReading};
pub use result_id::InvalidResultId;
pub use schema::{Entry, FoundEntry};
pub use search::{ReadEvent, SearchError};
