//! The right edge of a growing tree: all that is needed to append to it and to know its root.
//!
//! RFC 6962 §2.1. A tree is a row of perfect subtrees, one for each bit of its size; their roots
//! are its peaks. A writer keeps a [`Frontier`] instead of the leaves, and gets it back at start-up
//! with [`Frontier::load`] from a few tiles, or with [`Frontier::load_subtrees`] from wherever it
//! keeps the roots of subtrees. What an inner node hashes is a parameter, [`NodeHash`].
//!
//! Invariant: `peaks.len()` is the number of ones in `size`, so at most 64 hashes are held.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::hash::{Hash, NodeHash, Rfc6962, empty_root};
use crate::tile::{ShortTile, TileId};
use crate::tile_reader::TileReader;
use crate::tree::{LeafIndex, Node, Subtree, TreeSize};

/// The peaks of a tree, to which leaves are appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frontier<N = Rfc6962> {
    size: u64,
    /// From the largest and leftmost to the smallest.
    peaks: Vec<Hash>,
    nodes: PhantomData<N>,
}

impl Frontier {
    /// The empty tree.
    pub const fn new() -> Self {
        Self::empty()
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
        Self::load_subtrees(size, |subtree| tiles.subtree(subtree))
    }
}

impl<N: NodeHash> Frontier<N> {
    /// The empty tree.
    pub const fn empty() -> Self {
        Self { size: 0, peaks: Vec::new(), nodes: PhantomData }
    }

    /// The tree of `size` leaves whose subtrees have the roots that `subtree_hash` gives; they are
    /// believed.
    pub fn load_subtrees<E>(
        size: TreeSize,
        subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let peaks: Result<_, E> = Node::root(size).peaks().map(subtree_hash).collect();
        Ok(Self { size: size.get(), peaks: peaks?, nodes: PhantomData })
    }

    /// Adds a leaf on the right, given as its hash ([`leaf_hash`](crate::leaf_hash) in an RFC 6962
    /// tree), and says which it is.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        self.append_with(leaf, |_subtree, _hash| {})
    }

    /// Adds a leaf as [`append`](Self::append) does, and tells `complete` of each subtree above it
    /// that it completes, from the lowest up, with its root.
    pub fn append_with(
        &mut self,
        leaf: Hash,
        mut complete: impl FnMut(Subtree, Hash),
    ) -> LeafIndex {
        let index = LeafIndex::new(self.size);
        let mut peak = leaf;
        // Each low bit that is set is a peak as high as the new one, which it is merged with.
        for height in (1_u8..).take(self.size.trailing_ones() as usize) {
            let left = self.peaks.pop().expect("a size has as many peaks as bits set");
            peak = N::node(&left, &peak);
            complete(Subtree::above(index, height), peak);
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
            peaks.fold(smallest, |right, left| N::node(&left, &right))
        })
    }
}

impl<N: NodeHash> Default for Frontier<N> {
    fn default() -> Self {
        Self::empty()
    }
}
