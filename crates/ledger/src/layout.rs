//! Names of a log's files and folders. `docs/formats/ledger.md` says what each contains.

use std::path::{Path, PathBuf};

use crate::segment;

/// Folder with the segments.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder with the files that are derived from the segments.
pub(crate) const TREE: &str = "tree";
/// File with the newest checkpoint, a signed note.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// File with the log's own state (keys, holds, erasures, cursors) at a size.
pub(crate) const STATE: &str = "state";
/// File that format version 1 had instead of [`STATE`], with cursors only.
pub(crate) const STATE_V1: &str = "cursors.json";
/// The file in [`TREE`] with the log's entries.
pub(crate) const ENTRIES: &str = "entries";

/// Path of the segment that begins with this leaf.
pub(crate) fn segment_path(folder: &Path, first_leaf: u64) -> PathBuf {
    folder.join(SEGMENTS).join(segment::file_name(first_leaf))
}

/// Name of the file in [`TREE`] with the places of the blocks of a closed segment.
pub(crate) fn index_name(first_leaf: u64) -> String {
    format!("blocks-{first_leaf:020}")
}

pub(crate) fn index_path(folder: &Path, first_leaf: u64) -> PathBuf {
    folder.join(TREE).join(index_name(first_leaf))
}

/// Name of the file in [`TREE`] with the nodes of one height.
pub(crate) fn nodes_file(height: u8) -> String {
    format!("nodes-{height}")
}
