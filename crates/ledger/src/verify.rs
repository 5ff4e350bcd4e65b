//! Verifies a log from the outside: computes everything again and believes nothing but a key.
//!
//! [`verify_tree`] is for anyone who can read a log's public files over HTTP; [`verify_folder`] is
//! for whoever has the data directory, and holds the envelopes in the segments against everything
//! else there. Both stop at the first thing that is wrong and name it. [`verify_growth`] compares a
//! log with what it once signed.

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
