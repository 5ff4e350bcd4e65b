//! One log on disk: what makes a reading durable and provable.
//!
//! - [`segment`]s are the write-ahead log. They hold envelopes in commit groups; the writer writes
//!   and fsyncs each group as one and compresses it in blocks.
//! - `tree` is derived from the segments: the log's entries, and the nodes of the two trees over
//!   them. `envelopes` knows where each envelope lies.
//! - `state` is what follows from the log's own events: keys, holds, erasures and cursors.
//! - `sealer` is the work of the one thread that writes, and `writer` is the handle to that thread.
//!   `recover` opens the log, also after a crash. `erase` rewrites closed segments without the
//!   erased envelopes.
//! - [`copy`] copies a log while it grows; [`examine`] reports what is intact in damaged files.
//! - [`Ledger`] is the handle that every other part of the site uses. [`LogReader`] reads a log's
//!   folder without opening the log, also while a site writes it.
//! - [`evidence`] puts rows and their proofs in one file for a third party.
//! - [`verify`] trusts none of the above and computes everything again.
//!
//! `docs/formats/ledger.md` describes every byte. The crate accesses all files except the key's
//! through [`disk`], so tests can make each operation fail.
//!
//! Invariants, as sizes in leaves: checkpoint <= tree files on disk; checkpoint <= state;
//! checkpoint <= durable; receipts < durable. The log never reuses a leaf that it acknowledged, and
//! the checkpoint never goes back.
//!
//! # Example
//!
//! ```
//! use ledger::{Batch, Ledger, disk::RealDisk, verify::verify_folder};
//! use model::{Event, Timestamp};
//! use tlog::{KeyName, Signer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let signer = Signer::from_seed(KeyName::parse("log.example")?, &[7; 32]);
//! let key = signer.vkey().clone();
//! let (ledger, writer) = Ledger::open(folder.path(), signer)?;
//!
//! // When this answers, the event is on the disk and has its leaf. Leaf 0 says which log this is.
//! let at = Timestamp::from_unix_micros(0);
//! let event = Event::site("NOTE", "example", "a valve was opened".to_owned(), at);
//! let receipt = ledger.append(Batch::of(vec![event])).await?;
//! assert_eq!(receipt.first_leaf, 1);
//!
//! // A checkpoint covers it, and so it can be proved.
//! ledger.publish_checkpoint().await?;
//! let proof = ledger.prove(receipt.first_leaf)?.expect("a checkpoint covers the leaf");
//! let entry = ledger.entries(receipt.first_leaf, 1)?.remove(0);
//! proof.verify(&tlog::leaf_hash(entry.as_bytes()), &key)?;
//!
//! // Anyone who has the folder can compute everything again.
//! writer.close().await?;
//! let verified = verify_folder(&RealDisk, folder.path(), Some(&key), &mut |_leaves| {})?;
//! assert_eq!(verified.checkpoint.size.get(), 2);
//! # Ok(())
//! # }
//! ```

pub mod copy;
pub mod evidence;
pub mod examine;
pub mod segment;
pub mod verify;

mod append_keys;
mod batch;
mod block;
mod command;
mod commits;
mod damage;
mod envelopes;
mod erase;
mod failure;
mod key;
mod layout;
mod ledger;
mod published;
mod ranges;
mod reader;
mod recover;
mod salts;
mod seal;
mod sealer;
mod shared;
mod state;
mod stored;
mod tree;
mod writer;

pub use append_keys::{AppendKey, InvalidAppendKey};
pub use batch::{AppendError, Batch, Receipt};
pub use commits::{BOUNDS_SECONDS, Commits, histogram};
pub use durable::{disk, load_or_create_seed, write_secret};
pub use erase::EraseError;
pub use failure::WriteError;
pub use key::{KeyError, KeyFiles, load_key, load_or_create_key};
pub use key_history::rotation;
pub use ledger::{Erased, Erasure, Ledger, Storage};
pub use published::Published;
pub use ranges::{InvalidRanges, LeafRanges};
pub use reader::{LogReader, OpenReaderError};
pub use recover::{OpenError, Signers};
pub use segment::{Cursor, FORMAT};
pub use state::{Hold, InvalidLogEvent, LogKey};
pub use stored::{ReadError, StoredEnvelope};
pub use writer::Writer;
#[cfg(feature = "simulation")]
pub use writer::{Stepped, SteppedWriter};
