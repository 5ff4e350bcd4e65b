//! Verifies a log from the outside: computes everything again and trusts only a key.
//!
//! [`verify_tree`] needs only a log's public files, as served over HTTP, and any program may have
//! written the log. [`verify_folder`] needs the data directory, and compares the envelopes in the
//! segments with everything else there. Both stop at the first fault and name it. [`verify_growth`]
//! compares a log with a checkpoint that it signed earlier.

mod blocks;
mod error;
mod folder;
mod growth;
mod source;
mod tree;

pub use self::{
    blocks::FETCHES_MAX,
    error::{NoKeys, OpenLogError, VerifyError},
    folder::{Observer, VerifiedFolder, verify_folder, verify_folder_with},
    growth::{Grown, GrowthError, verify_growth},
    source::{KnownLog, LogKeys, LogSource},
    tree::{Verified, verify_tree},
};
pub use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};
