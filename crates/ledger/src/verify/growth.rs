//! Verifies that a log has only grown since an older checkpoint, by a consistency proof (RFC 6962,
//! section 2.1.2) that it computes from the log's tiles.

use tlog::{
    Checkpoint, ConsistencyError, Hash, OpenCheckpointError, ShortTile, Shrunk, TileId, TreeSize,
    consistency_proof, root, verify_consistency,
};

use super::{
    error::{OpenLogError, VerifyError},
    source::{KnownLog, LogKeys, LogSource, Opened, read_tile},
};

/// The two checkpoints of a log that has only grown between them.
#[derive(Clone, Debug)]
pub struct Grown {
    /// The older checkpoint.
    pub since: Checkpoint,
    /// The newest checkpoint.
    pub checkpoint: Checkpoint,
    /// The keys that have signed the log, up to the newest checkpoint.
    pub keys: LogKeys,
}

/// Verifies that the log still begins with everything that the older checkpoint `since`, a signed
/// note, covers. Reads some tiles, not the whole log.
///
/// If `known` is given, it must be among the keys that the newest checkpoint's leaves name. The
/// older checkpoint may come before that key. If the log names no keys, `known` must have signed
/// both checkpoints.
///
/// # Errors
/// One of the checkpoints is invalid, a tile is unavailable, or the history was changed.
pub fn verify_growth(
    source: &impl LogSource,
    known: Option<&KnownLog>,
    since: &str,
) -> Result<Grown, GrowthError> {
    let Opened { checkpoint, keys, .. } =
        Opened::newest(source, known).map_err(GrowthError::Checkpoint)?;
    let since = keys.open_checkpoint(since).map_err(GrowthError::Since)?;
    let growth = checkpoint.size.extends(since.size)?;
    let mut read = |tile: &TileId| -> Result<Vec<Hash>, GrowthError> {
        // Ask for the tile's present width: not every server keeps the narrower tiles of earlier
        // trees.
        let tile = TileId::in_tree(tile.level, tile.index, checkpoint.size).unwrap_or(*tile);
        Ok(read_tile(source, tile)?)
    };
    let now = root(since.size, &mut read)?;
    let proof = consistency_proof(growth, &mut read)?;
    verify_consistency(growth, &now, &checkpoint.root, &proof)?;
    if now != since.root {
        return Err(GrowthError::Fork { size: since.size, signed: since.root, now });
    }
    Ok(Grown { since, checkpoint, keys })
}

/// Why a log could not be shown to have only grown.
#[derive(Debug, thiserror::Error)]
pub enum GrowthError {
    /// The older checkpoint is not one of this log.
    #[error("the older checkpoint does not verify")]
    Since(#[source] OpenCheckpointError),
    /// The newest checkpoint is not one of this log.
    #[error("the newest checkpoint is not from this log")]
    Checkpoint(#[source] OpenLogError),
    /// The log is shorter than the older checkpoint.
    #[error("the log is shorter than it was")]
    Shrunk(#[from] Shrunk),
    /// The log now has another history.
    #[error(
        "the log was forked: for its first {size} leaves the older checkpoint signs the root {signed}, but the log now has the root {now}"
    )]
    Fork {
        /// Number of leaves that the older checkpoint covers.
        size: TreeSize,
        /// The root that the older checkpoint signs.
        signed: Hash,
        /// The root of these leaves in the tree that the newest checkpoint signs.
        now: Hash,
    },
    /// The log's tiles do not lead to the root of its newest checkpoint.
    #[error("the log's tiles do not have the root of its newest checkpoint")]
    Tiles(#[from] ConsistencyError),
    /// A tile is unavailable or malformed.
    #[error(transparent)]
    File(#[from] VerifyError),
    /// A tile has fewer hashes than the proof needs.
    #[error("cannot use a tile")]
    ShortTile(#[from] ShortTile),
}
