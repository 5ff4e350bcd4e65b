//! An error in one line, for a person who may know all of it.

use alloc::{string::String, string::ToString as _, vec::Vec};

/// What an error and its sources say, with colons between them.
#[must_use]
pub fn error_chain(error: &dyn core::error::Error) -> String {
    // The trait is not imported: `source` is then that of the error, not that of a reference to it.
    let errors = core::iter::successors(Some(error), |error| error.source());
    errors.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}
