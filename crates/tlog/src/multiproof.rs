//! Proofs that several leaves are in a tree at once: the hashes that a proof of each would repeat
//! are left out.
//!
//! A proof holds the hash of every largest node that has none of the leaves below it, from left to
//! right; the tree's shape is that of RFC 6962 §2.1. Of leaves that follow each other it is hardly
//! longer than a proof of one; of leaves far apart it is as long as their proofs together, less
//! what they share.

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
    /// Checks once that each is in the tree and follows the one before.
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

    /// Of which tree.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// Which leaves.
    pub fn indices(&self) -> &[LeafIndex] {
        &self.indices
    }

    /// The nodes whose hashes are a proof.
    fn others(&self) -> Vec<Node> {
        let mut others = Vec::new();
        without(Node::root(self.size), &self.indices, &mut others);
        others
    }
}

/// The proof of all these leaves, from the roots of subtrees.
pub fn multiproof_from_subtrees<N: NodeHash, E>(
    leaves: &LeavesInTree,
    mut subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    leaves.others().into_iter().map(|node| hash_of::<N, E>(node, &mut subtree_hash)).collect()
}

/// Checks that the tree with this `root` has leaves with these hashes at these places.
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

/// The largest nodes below `node` that have none of `leaves`, which are all below it.
fn without(node: Node, leaves: &[LeafIndex], others: &mut Vec<Node>) {
    if leaves.is_empty() {
        others.push(node);
    } else if let Some((left, right)) = node.children() {
        let (on_the_left, on_the_right) = split(leaves, right);
        without(left, on_the_left, others);
        without(right, on_the_right, others);
    }
}

/// The hash of `node`; `None` where there are fewer hashes than it takes.
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

/// Leaves that cannot be proved together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLeaves {
    /// One is not in the tree.
    #[error(transparent)]
    NotInTree(#[from] NotInTree),
    /// They are not in order, or one is there twice.
    #[error("leaf {index} comes after leaf {before}: name leaves in order, each once")]
    Order {
        /// A leaf.
        before: LeafIndex,
        /// The one that follows it.
        index: LeafIndex,
    },
}

/// Why leaves were not shown to be in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MultiproofError {
    /// There is not one hash for each leaf.
    #[error("a proof of {expected_len} leaves needs their hashes, and there are {len}")]
    Leaves {
        /// How many leaves.
        expected_len: usize,
        /// How many hashes of leaves.
        len: usize,
    },
    /// The proof is not as long as it must be.
    #[error("a proof of these leaves has {expected_len} hashes, this one {len}")]
    Length {
        /// Hashes in a proof of them.
        expected_len: usize,
        /// Hashes in this proof.
        len: usize,
    },
    /// The proof leads elsewhere.
    #[error("the proof leads to {computed}, not to the root {root}")]
    Root {
        /// Where it leads.
        computed: Hash,
        /// Where it should lead.
        root: Hash,
    },
}
