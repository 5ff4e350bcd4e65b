//! The lines of a bundle, shared by writing and reading.

use model::{SensorId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Version of the bundle format (`docs/formats/evidence.md`).
pub const VERSION: u32 = 1;
/// Most rows of a group: a full block of the ledger. The proof of a group of consecutive leaves
/// then takes two to four bytes for each row.
pub(super) const GROUP_ROWS_MAX: usize = 256;
/// Size of a group's envelopes in bytes at which it takes no further row, so a writer needs only a
/// few MiB of memory.
pub(super) const GROUP_BYTES_FULL: usize = 4 << 20;
/// Longest line in bytes: the largest envelope, or the envelopes of some two thousand keys of a
/// log.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// One line of a bundle. The line is an object with one field, named after the variant.
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

/// The first line: the checkpoint and keys that prove everything else, and the selection.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'a> {
    pub(super) version: u32,
    /// The signed note of the checkpoint, with all its signatures.
    pub(super) checkpoint: String,
    /// The events that name the log's keys.
    #[serde(borrow)]
    pub(super) keys: Vec<Row<'a>>,
    /// The multiproof of the key events, base64.
    pub(super) keys_proof: Vec<String>,
    /// First leaf of the span.
    pub(super) first: u64,
    /// The leaf after the span's last leaf.
    pub(super) end: u64,
    /// Rows received at this moment or later, if the selection has such a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Timestamp>,
    /// Rows received before this moment, if the selection has such a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Timestamp>,
    /// Rows of this sensor, if the selection has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sensor: Option<SensorId>,
    pub(super) exported_at: Timestamp,
    pub(super) exported_by: String,
}

/// The line before the rows of a group: which leaves they are, and the proof of the leaves.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// The leaves, in the notation of an erasure event: `12-40,57`.
    pub(super) leaves: String,
    /// The log's entry of each leaf, base64.
    pub(super) entries: Vec<String>,
    /// The multiproof of the leaves, base64.
    pub(super) proof: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row<'a> {
    pub(super) leaf: u64,
    /// The envelope, byte for byte as it was sealed.
    #[serde(borrow)]
    pub(super) envelope: &'a RawValue,
}

/// The last line: the counts, by which a reader notices a file that was cut off.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) groups: u64,
    /// Number of rows with an envelope.
    pub(super) rows: u64,
    /// Number of rows without an envelope.
    pub(super) erased: u64,
}
