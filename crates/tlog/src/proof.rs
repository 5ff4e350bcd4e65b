//! Proofs that a leaf is in a tree and that a tree extends another: makes them from tiles, and
//! checks them.
//!
//! RFC 6962 §2.1.1 and §2.1.2. Hashes in a proof go from the leaves up. Making the [`LeafInTree`]
//! or the [`Growth`] has checked the sizes, so making a proof fails only if reading does.
//!
//! The functions that make proofs take a closure that reads one tile of the tree. They ask for each
//! tile at most once, at the width that the tree has; the closure may give a wider one, because it
//! begins with the same hashes. The tiles are not checked: check a proof that was made from someone
//! else's tiles. A caller that keeps roots of subtrees in another form than tiles uses the
//! `_from_subtrees` functions, for a tree of either [`NodeHash`].

use alloc::vec::Vec;

use crate::hash::{Hash, NodeHash, Rfc6962, empty_root, node_hash};
use crate::tile::{ShortTile, TileId};
use crate::tile_reader::TileReader;
use crate::tree::{Growth, LeafInTree, Node, Subtree, TreeSize};

/// Most hashes in a proof: the height of the largest tree, and in a consistency proof the node to
/// begin at.
pub const PROOF_HASHES_MAX: usize = 65;

/// The root of the tree of `size` leaves (RFC 6962 §2.1), computed from tiles.
///
/// # Errors
/// `read_tile` failed, or a tile has too few hashes.
pub fn root<E: From<ShortTile>>(
    size: TreeSize,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Hash, E> {
    let mut tiles = TileReader::new(size, read_tile);
    hash_of::<Rfc6962, E>(Node::root(size), &mut |subtree| tiles.subtree(subtree))
}

/// The audit path of a leaf (RFC 6962 §2.1.1), made from tiles.
///
/// # Errors
/// `read_tile` failed, or a tile has too few hashes.
pub fn inclusion_proof<E: From<ShortTile>>(
    leaf: LeafInTree,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Hash>, E> {
    let mut tiles = TileReader::new(leaf.size(), read_tile);
    inclusion_proof_from_subtrees::<Rfc6962, E>(leaf, |subtree| tiles.subtree(subtree))
}

/// The audit path of a leaf (RFC 6962 §2.1.1), made from the roots of subtrees.
///
/// # Errors
/// `subtree_hash` failed.
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

/// The proof that the new tree begins with the leaves of the old one (RFC 6962 §2.1.2), made from
/// tiles.
///
/// It is empty if the old tree is empty or the trees are equal, because there is nothing to prove
/// then.
///
/// # Errors
/// `read_tile` failed, or a tile has too few hashes.
pub fn consistency_proof<E: From<ShortTile>>(
    growth: Growth,
    read_tile: impl FnMut(&TileId) -> Result<Vec<Hash>, E>,
) -> Result<Vec<Hash>, E> {
    let mut tiles = TileReader::new(growth.new_size(), read_tile);
    consistency_proof_from_subtrees::<Rfc6962, E>(growth, |subtree| tiles.subtree(subtree))
}

/// The proof that the new tree begins with the leaves of the old one (RFC 6962 §2.1.2), made from
/// the roots of subtrees of the new tree. It is empty in the cases that [`consistency_proof`]
/// names.
///
/// # Errors
/// `subtree_hash` failed.
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
    // Go down the right edge of the old tree, to the lowest node that both trees have completely.
    while node.end() != old.get() {
        let (left, right) = node.children().expect("a node that `old` cuts has two children");
        let sibling;
        (node, sibling) = if old.get() <= right.begin() { (left, right) } else { (right, left) };
        nodes.push(sibling);
    }
    // If the node is the old tree itself, the verifier has its hash.
    if node.begin() != 0 {
        nodes.push(node);
    }
    nodes.iter().rev().map(|node| hash_of::<N, E>(*node, &mut subtree_hash)).collect()
}

/// Checks that the tree with this `root` has a leaf with this hash at this index (RFC 6962 §2.1.1).
///
/// # Errors
/// The number of hashes is wrong, or the proof leads to another root.
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

/// Checks that the tree with `new_root` begins with the leaves of the tree with `old_root` (RFC
/// 6962 §2.1.2).
///
/// # Errors
/// The number of hashes is wrong, or the proof leads to another old or new root.
pub fn verify_consistency(
    growth: Growth,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    let Some(height) = shared_height(growth) else {
        return verify_without_proof(growth, old_root, new_root, proof);
    };
    // The path to the last leaf of the old tree, from the highest node that ends with this leaf in
    // both trees.
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

/// Why a leaf is not proved to be in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InclusionError {
    /// The proof has the wrong number of hashes for this leaf.
    #[error("an inclusion proof of {leaf} has {expected_len} hashes, but this one has {len}")]
    Length {
        /// The leaf that should have been proved.
        leaf: LeafInTree,
        /// Number of hashes in a proof of this leaf.
        expected_len: usize,
        /// Number of hashes in this proof.
        len: usize,
    },
    /// The proof leads to another root.
    #[error("the inclusion proof of {leaf} leads to the root {computed}, not to {root}")]
    Root {
        /// The leaf that should have been proved.
        leaf: LeafInTree,
        /// The root that the proof leads to.
        computed: Hash,
        /// The expected root.
        root: Hash,
    },
}

/// Why a tree is not proved to extend another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConsistencyError {
    /// The proof has the wrong number of hashes for these sizes.
    #[error("a consistency proof of {growth} has {expected_len} hashes, but this one has {len}")]
    Length {
        /// The two sizes.
        growth: Growth,
        /// Number of hashes in a proof for these sizes.
        expected_len: usize,
        /// Number of hashes in this proof.
        len: usize,
    },
    /// The proof does not lead to the old root.
    #[error("the consistency proof of {growth} leads to the old root {computed}, not to {root}")]
    OldRoot {
        /// The two sizes.
        growth: Growth,
        /// The root that the proof leads to.
        computed: Hash,
        /// The expected old root.
        root: Hash,
    },
    /// The proof does not lead to the new root.
    #[error("the consistency proof of {growth} leads to the new root {computed}, not to {root}")]
    NewRoot {
        /// The two sizes.
        growth: Growth,
        /// The root that the proof leads to.
        computed: Hash,
        /// The expected new root.
        root: Hash,
    },
}

/// The path from a leaf up to the root.
///
/// Below `fork`, where it separates from the path of the tree's last leaf, each node has a sibling,
/// on the left or on the right. Above it, only right children have one: the other nodes are the
/// last of their height and move up unchanged.
struct Path {
    index: u64,
    /// Height at which the two paths have joined.
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

/// Height of the subtree on the right edge of the old tree; `None` if the proof is empty.
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

/// Hash of a node, which is a perfect subtree or consists of several.
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
