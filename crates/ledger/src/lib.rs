//! One log on disk: what makes a reading durable, and provable.
//!
//! - [`segment`] is the write-ahead log: envelopes in commit groups, each written and fsynced as one;
//! - `tree_files` are derived from it: entries, tile hashes and where each envelope lies;
//! - `writer` is the one thread that writes, `recover` is how it starts, also after a crash;
//! - [`Ledger`] is the handle everyone else has; [`verify`] trusts nothing of the above and computes it again.
//!
//! `docs/formats/ledger.md` describes every byte.
//!
//! Invariants, as sizes in leaves: checkpoint <= tree files on disk; checkpoint <= durable; receipts < durable. A leaf that was acknowledged is never
//! reused, and the checkpoint never goes back.

pub mod segment;
pub mod verify;

mod atomic_file;
mod cursors;
mod key;
mod recover;
mod tree_files;
mod writer;

mod ledger;

pub use key::{KeyError, load_or_create_key};
pub use ledger::{Batch, Ledger, Published, ReadError, Receipt, StoredEnvelope};
pub use recover::OpenError;
pub use segment::Cursor;
pub use tree_files::TileError;
pub use writer::{AppendError, WriteError, Writer};

/// Version of the format that this crate writes; `docs/formats/ledger.md`.
pub const FORMAT: u32 = 1;
