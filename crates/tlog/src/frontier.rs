//! The right edge of a growing tree: everything that appending to it and computing its root need.
//!
//! RFC 6962 §2.1. A tree is a row of perfect subtrees, one for each bit of its size; their roots
//! are its peaks. A writer keeps a [`Frontier`] instead of the leaves. At start-up
//! [`Frontier::load`] restores it from a few tiles, or [`Frontier::load_subtrees`] from roots of
//! subtrees that the writer keeps in another form. The parameter [`NodeHash`] says how to hash an
//! inner node.
//!
//! Invariant: `peaks.len()` is the number of ones in `size`, so a frontier has at most 64 hashes.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::hash::{Hash, NodeHash, Rfc6962, empty_root};
use crate::tile::{ShortTile, TileId};
use crate::tile_reader::TileReader;
use crate::tree::{LeafIndex, Node, Subtree, TreeSize};

/// The peaks of a tree. Leaves can be appended to it.
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

    /// Loads the tree of `size` leaves from the tiles that `read_tile` gives.
    /// [`inclusion_proof`](crate::inclusion_proof) says which tiles it asks for.
    ///
    /// The tiles are not checked: compare [`root`](Self::root) with a checkpoint.
    ///
    /// # Errors
    /// `read_tile` failed, or a tile has too few hashes.
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

    /// Loads the tree of `size` leaves from the roots of subtrees that `subtree_hash` gives. The
    /// roots are not checked.
    ///
    /// # Errors
    /// `subtree_hash` failed.
    pub fn load_subtrees<E>(
        size: TreeSize,
        subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let peaks: Result<_, E> = Node::root(size).peaks().map(subtree_hash).collect();
        Ok(Self { size: size.get(), peaks: peaks?, nodes: PhantomData })
    }

    /// Adds a leaf on the right, given as its hash ([`leaf_hash`](crate::leaf_hash) in an RFC 6962
    /// tree), and returns its index.
    pub fn append(&mut self, leaf: Hash) -> LeafIndex {
        self.append_with(leaf, |_subtree, _hash| {})
    }

    /// Adds a leaf as [`append`](Self::append) does. Calls `complete` with each subtree above the
    /// leaf that the leaf completes, from the lowest up, and with the subtree's root.
    pub fn append_with(
        &mut self,
        leaf: Hash,
        mut complete: impl FnMut(Subtree, Hash),
    ) -> LeafIndex {
        let index = LeafIndex::new(self.size);
        let mut peak = leaf;
        // Each low bit that is set is a peak as high as the new one, so merge the two.
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
