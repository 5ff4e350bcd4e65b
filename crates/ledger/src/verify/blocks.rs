//! Fetches and checks the leaves of a log in blocks of up to 256, many blocks at a time.
//!
//! A thread of its own fetches and hashes every n-th block, so the hashing of some blocks goes on
//! beside the fetching of others. The caller takes the blocks in the order of the log. It does not
//! matter which thread is done first: the fault that is reported is the first in the log.

use std::{
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use tlog::{
    BundleId, Hash, TileId, TileLevel, TilePath, TreeSize, leaf_hash, root_of, split_entries,
};

use super::{
    error::VerifyError,
    source::{LogKeys, LogSource, read_bundle, read_tile},
};

/// Most files that are fetched at the same time. On a line with 50 ms to the log and back, that
/// many bring 80,000 entries per second; a server that is near is busy with far fewer.
pub const FETCHES_MAX: usize = 32;

/// Checked blocks of each thread that wait for their turn.
const WAITING_MAX: usize = 4;

/// Leaves of a full block.
pub(super) const BLOCK_LEAVES: u64 = 256;

/// A block whose entries hash to what its tile of level 0 says.
pub(super) enum Block {
    /// The root over 256 leaves.
    Full(Hash),
    /// The leaf hashes of the last block of a log.
    Partial(Vec<Hash>),
}

/// Checks every block of a log of `size` leaves, and gives each to `take` in the order of the log.
///
/// # Errors
/// The first fault of a block, or the error of `take`.
pub(super) fn check_blocks(
    source: &impl LogSource,
    size: TreeSize,
    keys: &LogKeys,
    take: &mut dyn FnMut(Block) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let blocks = size.get().div_ceil(BLOCK_LEAVES);
    let threads = usize::try_from(blocks).unwrap_or(FETCHES_MAX).min(FETCHES_MAX);
    thread::scope(|scope| {
        let lane = |first: u64| -> Receiver<_> {
            let (checked, lane) = mpsc::sync_channel(WAITING_MAX);
            scope.spawn(move || {
                let bundles = (first..blocks).step_by(threads);
                let bundles = bundles.filter_map(|index| BundleId::in_tree(index, size));
                send_checked(source, bundles, keys, &checked);
            });
            lane
        };
        let lanes: Vec<_> = (0..blocks).take(threads).map(lane).collect();
        for (lane, _block) in lanes.iter().cycle().zip(0..blocks) {
            take(lane.recv().expect("a thread sends each of its blocks, or a fault")?)?;
        }
        Ok(())
    })
}

/// Sends each block, up to the first that has a fault. Stops if nobody listens any more.
fn send_checked(
    source: &impl LogSource,
    bundles: impl Iterator<Item = BundleId>,
    keys: &LogKeys,
    checked: &SyncSender<Result<Block, VerifyError>>,
) {
    for bundle in bundles {
        let block = check_block(source, bundle, keys);
        let is_fault = block.is_err();
        if checked.send(block).is_err() || is_fault {
            return;
        }
    }
}

/// Compares the entries of a bundle with the tile of level 0.
fn check_block(
    source: &impl LogSource,
    bundle: BundleId,
    keys: &LogKeys,
) -> Result<Block, VerifyError> {
    let computed = leaf_hashes(source, bundle)?;
    let path = TilePath::Entries(bundle);
    let tile = TileId { level: TileLevel::LEAVES, index: bundle.index, width: bundle.width };
    let stored = read_tile(source, tile)?;
    let leaves = bundle.index * BLOCK_LEAVES..;
    for (leaf, (computed, stored)) in leaves.zip(computed.iter().zip(&stored)) {
        if computed != stored {
            let tile = TilePath::Hashes(tile).to_string();
            return Err(VerifyError::Leaf { leaf, bundle: path.to_string(), tile });
        }
        if let Some(commitment) = keys.commitment(leaf)
            && leaf_hash(commitment.as_bytes()) != *computed
        {
            return Err(VerifyError::KeyEvent { leaf });
        }
    }
    let is_full = computed.len() as u64 == BLOCK_LEAVES;
    Ok(if is_full { Block::Full(root_of(&computed)) } else { Block::Partial(computed) })
}

/// Computes the leaf hashes of a bundle from its entries.
fn leaf_hashes(source: &impl LogSource, bundle: BundleId) -> Result<Vec<Hash>, VerifyError> {
    let (found, bytes) = read_bundle(source, bundle)?;
    let entries = split_entries(bytes.as_ref())
        .map_err(|source| VerifyError::Bundle { path: found.to_string(), source })?;
    let (count, expected) = (entries.len(), found.width.count());
    if count != expected {
        return Err(VerifyError::EntryCount { path: found.to_string(), count, expected });
    }
    Ok(entries.into_iter().take(bundle.width.count()).map(leaf_hash).collect())
}
