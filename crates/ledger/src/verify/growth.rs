//! Shows that a log was only added to since an older checkpoint, by a consistency proof from its
//! tiles.

use key_history::{InvalidKeys, KeyHistory};
use tlog::{
    Checkpoint, ConsistencyError, Hash, OpenCheckpointError, ShortTile, Shrunk, TileId, TreeSize,
    VerifierKey, consistency_proof, root, verify_consistency,
};

use super::{
    error::VerifyError,
    tree::{LogSource, read_tile},
};

/// Both checkpoints of a log that only grew.
#[derive(Clone, Debug)]
pub struct Grown {
    /// The older one.
    pub since: Checkpoint,
    /// The newest.
    pub checkpoint: Checkpoint,
    /// The keys that have signed the log up to there.
    pub keys: KeyHistory,
}

/// Shows that the log still begins with everything that the older checkpoint `since`, a signed
/// note, covers. Reads some tiles, not the whole log.
///
/// If `known` is given, it must be among the keys that the newest checkpoint's leaves name; the
/// older one may be of before that.
///
/// # Errors
/// One of the checkpoints does not hold, a tile cannot be had, or the history was changed.
pub fn verify_growth(
    source: &mut impl LogSource,
    known: Option<&VerifierKey>,
    since: &str,
) -> Result<Grown, GrowthError> {
    let note = source.checkpoint().map_err(VerifyError::Unavailable)?;
    let events = source.key_events().map_err(VerifyError::Unavailable)?;
    let (keys, checkpoint) =
        KeyHistory::under(&note, &events, known).map_err(GrowthError::Checkpoint)?;
    let since = keys.open_checkpoint(since).map_err(GrowthError::Since)?;
    let growth = checkpoint.size.extends(since.size)?;
    let mut read = |tile: &TileId| -> Result<Vec<Hash>, GrowthError> {
        // As wide as it is now: not everyone keeps the narrower ones of earlier trees.
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

/// Why a log is not shown to have only grown.
#[derive(Debug, thiserror::Error)]
pub enum GrowthError {
    /// The older checkpoint is not the log's.
    #[error("the older checkpoint does not hold")]
    Since(#[source] OpenCheckpointError),
    /// The newest is not.
    #[error("the newest checkpoint is not one of this log")]
    Checkpoint(#[source] InvalidKeys),
    /// It has become shorter.
    #[error("the log is shorter than it was")]
    Shrunk(#[from] Shrunk),
    /// Its history is another.
    #[error(
        "the history was changed, a fork: of its first {size} leaves the older checkpoint signs the root {signed}, and the log now has {now}"
    )]
    Fork {
        /// Leaves of the older checkpoint.
        size: TreeSize,
        /// What that signs.
        signed: Hash,
        /// What the log has now, as its newest checkpoint signs it.
        now: Hash,
    },
    /// Its tiles are not those of its checkpoint.
    #[error("the log's tiles do not lead to its newest checkpoint")]
    Tiles(#[from] ConsistencyError),
    /// A tile cannot be had or is none.
    #[error(transparent)]
    File(#[from] VerifyError),
    /// A tile has too few hashes.
    #[error("a tile cannot be used")]
    ShortTile(#[from] ShortTile),
}
