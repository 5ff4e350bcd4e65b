//! Formats an error and its sources in one line, for a reader who may see all details.

use alloc::{string::String, string::ToString as _, vec::Vec};

/// The messages of an error and its sources, separated by colons.
#[must_use]
pub fn error_chain(error: &dyn core::error::Error) -> String {
    // Do not import the trait: `source` would then be that of the reference, not of the error.
    let errors = core::iter::successors(Some(error), |error| error.source());
    errors.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}
