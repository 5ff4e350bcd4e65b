//! Evidence bundles: rows of a log in one file, with all that a stranger needs to check them offline.
//!
//! `docs/formats/evidence.md` describes the lines. [`export`](fn@export) writes a bundle from a [`LogReader`](crate::LogReader), [`verify_bundle`] checks
//! one. Both hold one group of rows at a time, so a bundle may be of any length, and neither touches files: they write to and read from what they are given.
//!
//! A group's rows are proved together, and the group says which entry each of its leaves has. So a row that was changed is named by its leaf, whatever was
//! done to the others.

mod export;
mod selection;
mod verify;

use model::{SensorId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::{
    export::{ExportError, Exported, export},
    selection::{Bound, InvalidBound, Selection, first_received_from},
    verify::{BundleError, Finding, GroupFault, VerifiedBundle, verify_bundle},
};

/// Version of the format.
pub const VERSION: u32 = 1;
/// Rows of a group at most: a full block of the ledger. Of leaves that follow each other, the proof of a group then costs two to four bytes a row.
const GROUP_ROWS_MAX: usize = 256;
/// A group takes no further row beyond this many bytes of envelopes, so that whoever writes a bundle holds a few MiB.
const GROUP_BYTES_FULL: usize = 4 << 20;
/// Longest line: the largest envelope, or the envelopes of some two thousand keys of a log.
const LINE_BYTES_MAX: usize = 4 << 20;

/// One line of a bundle. Its name is the one field of the line's object.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    #[serde(rename = "sealwire_evidence", borrow)]
    Header(Header<'a>),
    Group(Group),
    #[serde(borrow)]
    Row(Row<'a>),
    /// The leaf of a row whose envelope was erased.
    Erased(u64),
    End(End),
}

/// The first line: what everything else is held against, and what was asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    version: u32,
    /// The signed note with everything that stands under it.
    checkpoint: String,
    /// The events that name the log's keys.
    #[serde(borrow)]
    keys: Vec<Row<'a>>,
    /// Proves these.
    keys_proof: Vec<String>,
    /// The first leaf of the span.
    first: u64,
    /// The leaf after its last.
    end: u64,
    /// Received from this moment on, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    /// Received before this moment, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    /// Of this sensor, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sensor: Option<SensorId>,
    exported_at: Timestamp,
    exported_by: String,
}

/// What stands in front of its rows: which leaves they are, and the proof of these.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// As in an event of erasure: `12-40,57`.
    leaves: String,
    /// The entry of each, base64.
    entries: Vec<String>,
    /// A multiproof, base64.
    proof: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    leaf: u64,
    /// Byte for byte as it was sealed.
    #[serde(borrow)]
    envelope: &'a RawValue,
}

/// The last line: how much there was, so that a file that was cut off is noticed.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct End {
    groups: u64,
    /// Rows with an envelope.
    rows: u64,
    /// Rows without.
    erased: u64,
}
