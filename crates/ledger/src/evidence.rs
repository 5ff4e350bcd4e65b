//! Evidence bundles: rows of a log in one file, with everything that a third party needs to check
//! them offline.
//!
//! `docs/formats/evidence.md` describes the lines. [`export`](fn@export) writes a bundle from a
//! [`LogReader`](crate::LogReader), and [`verify_bundle`] checks one. Both hold one group of rows
//! in memory at a time, so a bundle may have any length. Neither opens files: they write to and
//! read from what the caller passes.
//!
//! One proof covers all rows of a group, and the group lists the entry of each of its leaves. So a
//! check names the leaf of a changed row, whatever happened to the other rows.

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
