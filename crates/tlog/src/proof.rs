//! Proofs that a leaf is in a tree and that a tree extends another: made from tiles, and checked.
//!
//! RFC 6962 §2.1.1 and §2.1.2. Hashes in a proof go from the leaves up. The sizes were checked when
//! the [`LeafInTree`] or the [`Growth`] was made, so making a proof fails only where reading does.
//!
//! Makers take a closure that reads one tile of the tree. Each tile is asked for at most once, at
//! the width the tree has it; a fuller one will do, for it begins with the same hashes. What is
//! read is believed: check a proof of tiles that came from elsewhere. Whoever keeps roots of
//! subtrees in another way than as tiles uses the `_from_subtrees` makers, for a tree of either
//! [`NodeHash`].

use alloc::vec::Vec;

use crate::hash::{Hash, NodeHash, Rfc6962, empty_root, node_hash};
use crate::tile::{ShortTile, TileId};
use crate::tile_reader::TileReader;
use crate::tree::{Growth, LeafInTree, Node, Subtree, TreeSize};

/// Most hashes in a proof: the height of the largest tree, and for consistency the node to begin
/// at.
pub const PROOF_HASHES_MAX: usize = 65;

/// Root of the tree of `size` leaves (RFC 6962 §2.1).
pub fn root<E: From<ShortTile>>(
    size: TreeSize,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Hash, E> {
    let mut tiles = TileReader::new(size, read_tile);
    hash_of::<Rfc6962, E>(Node::root(size), &mut |subtree| tiles.subtree(subtree))
}

/// The audit path of a leaf (RFC 6962 §2.1.1).
pub fn inclusion_proof<E: From<ShortTile>>(
    leaf: LeafInTree,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Hash>, E> {
    let mut tiles = TileReader::new(leaf.size(), read_tile);
    inclusion_proof_from_subtrees::<Rfc6962, E>(leaf, |subtree| tiles.subtree(subtree))
}

/// The audit path of a leaf, from the roots of subtrees.
pub fn inclusion_proof_from_subtrees<N: NodeHash, E>(
    leaf: LeafInTree,
    mut subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut siblings = Vec::new();
    let mut node = Node::root(leaf.size());
    while let Some((left, right)) = node.children() {
        let sibling;
        (node, sibling) =
            if leaf.index().get() < right.begin() { (left, right) } else { (right, left) };
        siblings.push(sibling);
    }
    siblings.iter().rev().map(|node| hash_of::<N, E>(*node, &mut subtree_hash)).collect()
}

/// The proof that the new tree begins with the leaves of the old one (RFC 6962 §2.1.2).
///
/// It is empty if the old tree is empty or the trees are equal, for then there is nothing to show.
pub fn consistency_proof<E: From<ShortTile>>(
    growth: Growth,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Hash>, E> {
    let mut tiles = TileReader::new(growth.new_size(), read_tile);
    consistency_proof_from_subtrees::<Rfc6962, E>(growth, |subtree| tiles.subtree(subtree))
}

/// The proof that the new tree begins with the leaves of the old one, from the roots of subtrees of
/// the new one; empty as [`consistency_proof`] says.
pub fn consistency_proof_from_subtrees<N: NodeHash, E>(
    growth: Growth,
    mut subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let (old, new) = (growth.old_size(), growth.new_size());
    if old == TreeSize::EMPTY {
        return Ok(Vec::new());
    }
    let mut nodes = Vec::new();
    let mut node = Node::root(new);
    // Down the right edge of the old tree, to the lowest node both trees have whole.
    while node.end() != old.get() {
        let (left, right) = node.children().expect("a node that `old` cuts has two children");
        let sibling;
        (node, sibling) = if old.get() <= right.begin() { (left, right) } else { (right, left) };
        nodes.push(sibling);
    }
    // If it is the old tree itself, the verifier has its hash.
    if node.begin() != 0 {
        nodes.push(node);
    }
    nodes.iter().rev().map(|node| hash_of::<N, E>(*node, &mut subtree_hash)).collect()
}

/// Checks that the tree with this `root` has the leaf with this hash at this place.
pub fn verify_inclusion(
    leaf: LeafInTree,
    leaf_hash: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), InclusionError> {
    let path = Path::of(leaf);
    let expected_len = path.siblings_from(0);
    if proof.len() != expected_len {
        return Err(InclusionError::Length { leaf, expected_len, len: proof.len() });
    }
    let computed =
        proof.iter().zip(path.turns(0)).fold(*leaf_hash, |hash, (sibling, turn)| match turn {
            Turn::Left => node_hash(&hash, sibling),
            Turn::Right => node_hash(sibling, &hash),
        });
    if computed == *root {
        Ok(())
    } else {
        Err(InclusionError::Root { leaf, computed, root: *root })
    }
}

/// Checks that the tree with `new_root` begins with the leaves of the tree with `old_root`.
pub fn verify_consistency(
    growth: Growth,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    let Some(height) = shared_height(growth) else {
        return verify_without_proof(growth, old_root, new_root, proof);
    };
    // The path to the last leaf of the old tree, from the highest node whose last leaf it is in
    // both.
    let path = Path::between(growth.old_size().get() - 1, growth.new_size().get() - 1);
    let old_is_whole = growth.old_size().get() == 1 << height;
    let expected_len = path.siblings_from(height) + usize::from(!old_is_whole);
    let unequal_len = ConsistencyError::Length { growth, expected_len, len: proof.len() };
    if proof.len() != expected_len {
        return Err(unequal_len);
    }
    let (start, siblings) =
        if old_is_whole { (old_root, proof) } else { proof.split_first().ok_or(unequal_len)? };
    let (mut old_computed, mut new_computed) = (*start, *start);
    for (sibling, turn) in siblings.iter().zip(path.turns(height)) {
        match turn {
            // A sibling to the right has only leaves that the old tree lacks.
            Turn::Left => new_computed = node_hash(&new_computed, sibling),
            Turn::Right => {
                old_computed = node_hash(sibling, &old_computed);
                new_computed = node_hash(sibling, &new_computed);
            }
        }
    }
    if old_computed != *old_root {
        return Err(ConsistencyError::OldRoot { growth, computed: old_computed, root: *old_root });
    }
    if new_computed != *new_root {
        return Err(ConsistencyError::NewRoot { growth, computed: new_computed, root: *new_root });
    }
    Ok(())
}

/// Why a leaf was not shown to be in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InclusionError {
    /// The proof is not as long as the tree is high at that leaf.
    #[error("an inclusion proof of {leaf} has {expected_len} hashes, this one {len}")]
    Length {
        /// What should have been proved.
        leaf: LeafInTree,
        /// Hashes in a proof of it.
        expected_len: usize,
        /// Hashes in this proof.
        len: usize,
    },
    /// The proof leads elsewhere.
    #[error("the inclusion proof of {leaf} leads to {computed}, not to the root {root}")]
    Root {
        /// What should have been proved.
        leaf: LeafInTree,
        /// Where the proof leads.
        computed: Hash,
        /// Where it should lead.
        root: Hash,
    },
}

/// Why a tree was not shown to extend another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConsistencyError {
    /// The proof has not as many hashes as these sizes need.
    #[error("a consistency proof of {growth} has {expected_len} hashes, this one {len}")]
    Length {
        /// What should have been proved.
        growth: Growth,
        /// Hashes in a proof of it.
        expected_len: usize,
        /// Hashes in this proof.
        len: usize,
    },
    /// The proof is not about the old tree.
    #[error("the consistency proof of {growth} leads to {computed}, not to the old root {root}")]
    OldRoot {
        /// What should have been proved.
        growth: Growth,
        /// Where the proof leads.
        computed: Hash,
        /// Where it should lead.
        root: Hash,
    },
    /// The proof is not about the new tree.
    #[error("the consistency proof of {growth} leads to {computed}, not to the new root {root}")]
    NewRoot {
        /// What should have been proved.
        growth: Growth,
        /// Where the proof leads.
        computed: Hash,
        /// Where it should lead.
        root: Hash,
    },
}

/// The way from a leaf up to the root.
///
/// Below `fork`, where it parts from the way of the tree's last leaf, each node has a sibling, on
/// the left or on the right. Above, only nodes that are right children have: the others are the
/// last of their height, and promoted.
struct Path {
    index: u64,
    /// Height at which the two ways have joined.
    fork: u32,
}

/// Which child of its parent a node on a [`Path`] is.
enum Turn {
    Left,
    Right,
}

impl Path {
    fn of(leaf: LeafInTree) -> Self {
        Self::between(leaf.index().get(), leaf.size().get() - 1)
    }

    fn between(index: u64, last: u64) -> Self {
        Self { index, fork: u64::BITS - (index ^ last).leading_zeros() }
    }

    /// Number of siblings from `height` up, for a `height` of at most `fork`.
    fn siblings_from(&self, height: u32) -> usize {
        self.turns(height).count()
    }

    fn turns(&self, height: u32) -> impl Iterator<Item = Turn> {
        let (index, fork) = (self.index, self.fork);
        (height..u64::BITS).filter_map(move |height| match index >> height & 1 {
            1 => Some(Turn::Right),
            _ => (height < fork).then_some(Turn::Left),
        })
    }
}

/// Height of the subtree on the right edge of the old tree, or `None` where a proof is empty.
fn shared_height(growth: Growth) -> Option<u32> {
    let trivial = growth.old_size() == TreeSize::EMPTY || growth.old_size() == growth.new_size();
    (!trivial).then(|| growth.old_size().get().trailing_zeros())
}

fn verify_without_proof(
    growth: Growth,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    if !proof.is_empty() {
        return Err(ConsistencyError::Length { growth, expected_len: 0, len: proof.len() });
    }
    if growth.old_size() == TreeSize::EMPTY && *old_root != empty_root() {
        let computed = empty_root();
        return Err(ConsistencyError::OldRoot { growth, computed, root: *old_root });
    }
    if growth.old_size() == growth.new_size() && old_root != new_root {
        return Err(ConsistencyError::NewRoot { growth, computed: *old_root, root: *new_root });
    }
    Ok(())
}

/// Hash of a node of a tree, which is perfect or made of perfect subtrees.
pub(crate) fn hash_of<N: NodeHash, E>(
    node: Node,
    subtree_hash: &mut impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let mut peaks = node.peaks().rev();
    let Some(smallest) = peaks.next() else {
        return Ok(empty_root());
    };
    let smallest = subtree_hash(smallest)?;
    peaks.try_fold(smallest, |right, left| Ok(N::node(&subtree_hash(left)?, &right)))
}
