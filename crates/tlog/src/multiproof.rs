//! Proofs that several leaves are in a tree. They leave out the hashes that separate proofs would
//! repeat.
//!
//! A proof has the hash of every largest node without any of the leaves below it, from left to
//! right. The tree has the shape of RFC 6962 §2.1. A proof of consecutive leaves is hardly longer
//! than a proof of one leaf. A proof of leaves far apart is as long as their separate proofs
//! together, less the hashes that they share.

use alloc::vec::Vec;

use crate::hash::{Hash, NodeHash, node_hash};
use crate::proof::hash_of;
use crate::tree::{LeafIndex, Node, NotInTree, Subtree, TreeSize};

/// Leaves known to be in a tree of a known size, in order and each once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeavesInTree {
    size: TreeSize,
    indices: Vec<LeafIndex>,
}

impl LeavesInTree {
    /// Checks once that each index is in the tree and comes after the one before.
    ///
    /// # Errors
    /// An index is not in the tree, or the indices are not in order, each once.
    pub fn new(
        size: TreeSize,
        indices: impl IntoIterator<Item = LeafIndex>,
    ) -> Result<Self, InvalidLeaves> {
        let indices: Vec<LeafIndex> = indices.into_iter().collect();
        if let Some([before, index]) = indices.array_windows().find(|[one, next]| one >= next) {
            return Err(InvalidLeaves::Order { before: *before, index: *index });
        }
        indices.last().map_or(Ok(()), |last| size.leaf(*last).map(drop))?;
        Ok(Self { size, indices })
    }

    /// Size of the tree.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Indices of the leaves, in order.
    pub fn indices(&self) -> &[LeafIndex] {
        &self.indices
    }

    /// The nodes whose hashes form the proof.
    fn others(&self) -> Vec<Node> {
        let mut others = Vec::new();
        without(Node::root(self.size), &self.indices, &mut others);
        others
    }
}

/// Makes the proof of all these leaves from the roots of subtrees.
///
/// # Errors
/// `subtree_hash` failed.
pub fn multiproof_from_subtrees<N: NodeHash, E>(
    leaves: &LeavesInTree,
    mut subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    leaves.others().into_iter().map(|node| hash_of::<N, E>(node, &mut subtree_hash)).collect()
}

/// Checks that the tree with this `root` has leaves with these hashes at these indices.
///
/// # Errors
/// The number of hashes is wrong, or the proof leads to another root.
pub fn verify_multiproof(
    leaves: &LeavesInTree,
    leaf_hashes: &[Hash],
    proof: &[Hash],
    root: &Hash,
) -> Result<(), MultiproofError> {
    let leaves_len = leaves.indices.len();
    if leaf_hashes.len() != leaves_len {
        return Err(MultiproofError::Leaves { expected_len: leaves_len, len: leaf_hashes.len() });
    }
    let expected_len = leaves.others().len();
    let unequal_len = MultiproofError::Length { expected_len, len: proof.len() };
    if proof.len() != expected_len {
        return Err(unequal_len);
    }
    let (mut known, mut proof) = (leaf_hashes.iter(), proof.iter());
    let computed = hash_from(Node::root(leaves.size), &leaves.indices, &mut known, &mut proof)
        .ok_or(unequal_len)?;
    if computed == *root { Ok(()) } else { Err(MultiproofError::Root { computed, root: *root }) }
}

/// Collects the largest nodes below `node` without any of `leaves`, which are all below `node`.
fn without(node: Node, leaves: &[LeafIndex], others: &mut Vec<Node>) {
    if leaves.is_empty() {
        others.push(node);
    } else if let Some((left, right)) = node.children() {
        let (on_the_left, on_the_right) = split(leaves, right);
        without(left, on_the_left, others);
        without(right, on_the_right, others);
    }
}

/// Computes the hash of `node`; `None` if there are too few hashes.
fn hash_from<'a>(
    node: Node,
    leaves: &[LeafIndex],
    known: &mut impl Iterator<Item = &'a Hash>,
    proof: &mut impl Iterator<Item = &'a Hash>,
) -> Option<Hash> {
    if leaves.is_empty() {
        return proof.next().copied();
    }
    let Some((left, right)) = node.children() else {
        return known.next().copied();
    };
    let (on_the_left, on_the_right) = split(leaves, right);
    let left = hash_from(left, on_the_left, known, proof)?;
    let right = hash_from(right, on_the_right, known, proof)?;
    Some(node_hash(&left, &right))
}

fn split(leaves: &[LeafIndex], right: Node) -> (&[LeafIndex], &[LeafIndex]) {
    leaves.split_at(leaves.partition_point(|leaf| leaf.get() < right.begin()))
}

/// Why leaves are not a valid set for one proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLeaves {
    /// A leaf is not in the tree.
    #[error(transparent)]
    NotInTree(#[from] NotInTree),
    /// The leaves are not in order, or one occurs twice.
    #[error(
        "leaf {index} comes after leaf {before}: name the leaves in ascending order, each once"
    )]
    Order {
        /// Index of a leaf.
        before: LeafIndex,
        /// Index of the leaf after it, which is not greater.
        index: LeafIndex,
    },
}

/// Why leaves are not proved to be in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MultiproofError {
    /// The number of leaf hashes differs from the number of leaves.
    #[error("a proof of {expected_len} leaves needs as many leaf hashes, but there are {len}")]
    Leaves {
        /// Number of leaves.
        expected_len: usize,
        /// Number of leaf hashes.
        len: usize,
    },
    /// The proof has the wrong number of hashes.
    #[error("a proof of these leaves has {expected_len} hashes, but this one has {len}")]
    Length {
        /// Number of hashes in a proof of these leaves.
        expected_len: usize,
        /// Number of hashes in this proof.
        len: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to the root {computed}, not to {root}")]
    Root {
        /// The root that the proof leads to.
        computed: Hash,
        /// The expected root.
        root: Hash,
    },
}
