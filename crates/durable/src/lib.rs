//! Writes files and folders so that a crash leaves them whole or absent, and so that only their
//! owner can read them.
//!
//! Everything in a data directory, a witness's folder or a backup is private: the crate creates
//! folders with mode 700 and files with mode 600, whatever the user's mask allows.
//! [`close_to_others`] removes the access that an earlier version left to other accounts.
//!
//! This crate knows nothing of logs or sites. A log and a witness write the files that must survive
//! every crash through [`disk`], so tests can make each step fail.

pub mod disk;
#[cfg(feature = "simulation")]
pub mod simulated_disk;

mod lock;
mod output;
mod plain;
mod private;
mod replace;
mod secret;
mod staging;
mod stop;

pub use lock::{Lock, LockError};
pub use output::{Output, OutputError, is_standard_output, is_stream, write_output};
pub use plain::{PlainError, Read, open_plain, read_plain, refuse_all_but_plain};
pub use private::{Closed, close_to_others, create_folder, open_to_others, private_file};
pub use replace::{replace, replace_with, sync_folder, sync_folder_of, sync_written_to};
pub use secret::{SeedError, create_seed, find_seed, load_or_create_seed, load_seed, write_secret};
pub use staging::{Staging, StagingError, is_empty, place};
pub use stop::Stop;
