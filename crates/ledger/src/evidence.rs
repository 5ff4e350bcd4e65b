//! Evidence bundles: rows of a log in one file, with all that a stranger needs to check them
//! offline.
//!
//! `docs/formats/evidence.md` describes the lines. [`export`](fn@export) writes a bundle from a
//! [`LogReader`](crate::LogReader), [`verify_bundle`] checks one. Both hold one group of rows at a
//! time, so a bundle may be of any length, and neither touches files: they write to and read from
//! what they are given.
//!
//! A group's rows are proved together, and the group says which entry each of its leaves has. So a
//! row that was changed is named by its leaf, whatever was done to the others.

mod export;
mod format;
mod selection;
mod verify;

pub use self::{
    export::{ExportError, Exported, export},
    format::VERSION,
    selection::{Bound, InvalidBound, Selection, first_received_from},
    verify::{BundleError, BundleFault, GroupFault, VerifiedBundle, verify_bundle},
};
