//! The right edge of a growing tree: all that is needed to append to it and to know its root.
//!
//! RFC 6962 §2.1. A tree is a row of perfect subtrees, one for each bit of its size; their roots are
//! its peaks. A writer keeps a [`Frontier`] instead of the leaves, and gets it back at start-up with
//! [`Frontier::load`] from a few tiles.
//!
//! Invariant: `peaks.len()` is the number of ones in `size`, so at most 64 hashes are held.

use alloc::vec::Vec;

use crate::hash::{Hash, empty_root, node_hash};
use crate::tile::{ShortTile, TileId};
use crate::tile_reader::TileReader;
use crate::tree::{LeafIndex, Node, TreeSize};

/// The peaks of a tree, to which leaves are appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    /// From the largest and leftmost to the smallest.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The tree of `size` leaves whose tiles `read_tile` gives; see
    /// [`inclusion_proof`](crate::inclusion_proof) for what is asked of it.
    ///
    /// Tiles are believed: compare [`root`](Self::root) with a checkpoint.
    pub fn load<E: From<ShortTile>>(
        size: TreeSize,
        read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
    ) -> Result<Self, E> {
        let mut tiles = TileReader::new(size, read_tile);
        let peaks: Result<_, E> =
            Node::root(size).peaks().map(|subtree| tiles.subtree(subtree)).collect();
        Ok(Self { size: size.get(), peaks: peaks? })
    }

    /// Adds a leaf on the right, given as its [`leaf_hash`](crate::leaf_hash), and says which it is.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        let index = LeafIndex::new(self.size);
        let mut peak = leaf;
        // Each low bit that is set is a peak as high as the new one, which it is merged with.
        for _merge in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a size has as many peaks as bits set");
            peak = node_hash(&left, &peak);
        }
        self.peaks.push(peak);
        self.size = self.size.checked_add(1).expect("no log lives to see 2^64 leaves");
        index
    }

    /// Number of leaves appended.
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// Root of the tree as it is now.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let smallest = peaks.next();
        smallest.map_or_else(empty_root, |smallest| {
            peaks.fold(smallest, |right, left| node_hash(&left, &right))
        })
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

/// Root of the tree whose leaves have these hashes.
///
/// The root of a full tile's hashes is the hash that stands for it one level above (C2SP tlog-tiles,
/// Merkle Tree).
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    for hash in hashes {
        frontier.append(*hash);
    }
    frontier.root()
}
