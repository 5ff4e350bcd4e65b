//! Verifies a log from the outside: computes everything again and trusts only a key.
//!
//! [`verify_tree`] needs only a log's public files, as served over HTTP. [`verify_folder`] needs
//! the data directory, and compares the envelopes in the segments with everything else there. Both
//! stop at the first fault and name it. [`verify_growth`] compares a log with a checkpoint that it
//! signed earlier.

mod error;
mod folder;
mod growth;
mod tree;

pub use self::{
    error::VerifyError,
    folder::{Observer, VerifiedFolder, verify_folder, verify_folder_with},
    growth::{Grown, GrowthError, verify_growth},
    tree::{LogSource, Verified, verify_tree},
};
pub use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};
