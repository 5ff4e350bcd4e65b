//! The lines of a bundle, which are written and read alike.

use model::{SensorId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Version of the format.
pub const VERSION: u32 = 1;
/// Rows of a group at most: a full block of the ledger. Of leaves that follow each other, the proof
/// of a group then costs two to four bytes a row.
pub(super) const GROUP_ROWS_MAX: usize = 256;
/// A group takes no further row beyond this many bytes of envelopes, so that whoever writes a
/// bundle holds a few MiB.
pub(super) const GROUP_BYTES_FULL: usize = 4 << 20;
/// Longest line: the largest envelope, or the envelopes of some two thousand keys of a log.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// One line of a bundle. Its name is the one field of the line's object.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
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
pub(super) struct Header<'a> {
    pub(super) version: u32,
    /// The signed note with everything that stands under it.
    pub(super) checkpoint: String,
    /// The events that name the log's keys.
    #[serde(borrow)]
    pub(super) keys: Vec<Row<'a>>,
    /// Proves these.
    pub(super) keys_proof: Vec<String>,
    /// The first leaf of the span.
    pub(super) first: u64,
    /// The leaf after its last.
    pub(super) end: u64,
    /// Received from this moment on, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    /// Received before this moment, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Timestamp>,
    /// Of this sensor, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sensor: Option<SensorId>,
    pub(super) exported_at: Timestamp,
    pub(super) exported_by: String,
}

/// What stands in front of its rows: which leaves they are, and the proof of these.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// As in an event of erasure: `12-40,57`.
    pub(super) leaves: String,
    /// The entry of each, base64.
    pub(super) entries: Vec<String>,
    /// A multiproof, base64.
    pub(super) proof: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row<'a> {
    pub(super) leaf: u64,
    /// Byte for byte as it was sealed.
    #[serde(borrow)]
    pub(super) envelope: &'a RawValue,
}

/// The last line: how much there was, so that a file that was cut off is noticed.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) groups: u64,
    /// Rows with an envelope.
    pub(super) rows: u64,
    /// Rows without.
    pub(super) erased: u64,
}
