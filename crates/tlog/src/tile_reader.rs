//! Computes node hashes from the caller's tiles, and reads each tile once.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use crate::hash::Hash;
use crate::tile::{ShortTile, TileId};
use crate::tree::{Subtree, TreeSize};

/// The tiles of the tree of `size` leaves that were read so far, and the closure that reads them.
pub(crate) struct TileReader<R> {
    size: TreeSize,
    read_tile: R,
    tiles: BTreeMap<TileId, Vec<Hash>>,
}

impl<R, E> TileReader<R>
where
    R: FnMut(&TileId) -> Result<Vec<Hash>, E>,
    E: From<ShortTile>,
{
    pub(crate) const fn new(size: TreeSize, read_tile: R) -> Self {
        Self { size, read_tile, tiles: BTreeMap::new() }
    }

    /// Hash of a subtree, which must be whole in the tree.
    pub(crate) fn subtree(&mut self, subtree: Subtree) -> Result<Hash, E> {
        let tile = subtree.tile(self.size).expect("subtrees are taken from nodes of this tree");
        let hashes = match self.tiles.entry(tile) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unread) => unread.insert((self.read_tile)(&tile)?),
        };
        let short = ShortTile { tile, hashes: hashes.len() };
        Ok(subtree.hash_from_tile(hashes).ok_or(short)?)
    }
}
