//! How bytes reach the disk: whole or not at all, and for their owner alone.
//!
//! Everything in a data directory, a witness's folder or a backup is private: folders are made with
//! mode 700 and files with mode 600, whatever the user's mask lets through. [`close_to_others`]
//! does the same for what an earlier version left more open.
//!
//! This crate knows nothing of logs or sites. What must hold through every crash, a log's files and
//! a witness's, is written through [`disk`], so that tests can make each of its steps fail.

pub mod disk;

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
pub use private::{Closed, close_to_others, create_folder, private_file};
pub use replace::{replace, replace_with, sync_folder, sync_folder_of};
pub use secret::{SeedError, create_seed, find_seed, load_or_create_seed, load_seed, write_secret};
pub use staging::{Staging, StagingError, is_empty, place};
pub use stop::Stop;
