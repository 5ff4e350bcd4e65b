//! How far the log is mirrored, as the API shows it.

use serde::Serialize;

use crate::mirroring::{MirrorProgress, ParkedLeaf};

/// Parked leaves in an answer. A search finds the others.
const PARKED_SHOWN_MAX: usize = 100;

/// Answer to `/api/mirror`.
#[derive(Debug, Serialize)]
pub(super) struct Mirrored {
    server: String,
    /// Number of leaves of the log.
    leaves: u64,
    /// The first leaf that is not mirrored.
    next_leaf: u64,
    lag_leaves: u64,
    /// Events that the server has taken since the site started.
    taken: u64,
    /// Number of leaves that the server refused.
    parked: u64,
    /// The newest of them, newest first.
    newest_parked: Vec<ParkedLeaf>,
    /// Why the last call led to nothing; `null` while all is well.
    trouble: Option<String>,
}

impl Mirrored {
    pub(super) fn of(progress: &MirrorProgress, leaves: u64) -> Self {
        let MirrorProgress { server, next_leaf, taken, parked, trouble } = progress;
        Self {
            server: server.clone(),
            leaves,
            next_leaf: *next_leaf,
            lag_leaves: leaves.saturating_sub(*next_leaf),
            taken: *taken,
            parked: parked.count,
            newest_parked: parked.newest.iter().rev().take(PARKED_SHOWN_MAX).cloned().collect(),
            trouble: trouble.clone(),
        }
    }
}
