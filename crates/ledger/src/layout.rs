//! What the files and folders of a log are called. `docs/formats/ledger.md` says what is in each.

use std::path::{Path, PathBuf};

use crate::segment;

/// Folder of the segments.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder of what is derived from them.
pub(crate) const TREE: &str = "tree";
/// The newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// What the log says of itself, as of a size.
pub(crate) const STATE: &str = "state";
/// What version 1 had in its place: cursors alone.
pub(crate) const STATE_V1: &str = "cursors.json";
/// The file in [`TREE`] with the log's entries.
pub(crate) const ENTRIES: &str = "entries";

/// A segment's path.
pub(crate) fn segment_path(folder: &Path, first_leaf: u64) -> PathBuf {
    folder.join(SEGMENTS).join(segment::file_name(first_leaf))
}

/// The name of the file in [`TREE`] with the places of a closed segment.
pub(crate) fn index_name(first_leaf: u64) -> String {
    format!("blocks-{first_leaf:020}")
}

pub(crate) fn index_path(folder: &Path, first_leaf: u64) -> PathBuf {
    folder.join(TREE).join(index_name(first_leaf))
}

/// The name of the file in [`TREE`] with the nodes of a height.
pub(crate) fn nodes_file(height: u8) -> String {
    format!("nodes-{height}")
}
