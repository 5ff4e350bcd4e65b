//! Sizes, leaves and parts of a tree: the numbers of RFC 6962 §2.1.
//!
//! Invariants:
//! - [`TreeSize`] counts leaves, [`LeafIndex`] names one. An index is in a tree only if
//!   `index < size`; only [`TreeSize::leaf`] checks that.
//! - A [`Growth`] has `old <= new`; only [`TreeSize::extends`] checks that.
//! - A [`Subtree`] ends at or before leaf `u64::MAX`, so its bounds are computed without overflow.

use core::fmt;

/// Number of leaves in a tree. Zero is the empty tree.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TreeSize(u64);

/// Zero-based position of a leaf.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeafIndex(u64);

/// A leaf known to be in a tree of a known size.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LeafInTree {
    index: LeafIndex,
    size: TreeSize,
}

/// A tree and a later state of it, for which a consistency proof exists.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Growth {
    old: TreeSize,
    new: TreeSize,
}

/// A perfect subtree: the `2^height` leaves from `index * 2^height` on.
///
/// These are the nodes of a tree that never change once they exist. Height 0 is a leaf.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subtree {
    height: u8,
    index: u64,
}

impl TreeSize {
    /// The tree without leaves.
    pub const EMPTY: Self = Self(0);

    /// A tree of `leaves` leaves.
    pub const fn new(leaves: u64) -> Self {
        Self(leaves)
    }

    /// The number of leaves.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Checks once that `index` is in this tree.
    pub const fn leaf(self, index: LeafIndex) -> Result<LeafInTree, NotInTree> {
        if index.0 < self.0 {
            Ok(LeafInTree { index, size: self })
        } else {
            Err(NotInTree { index, size: self })
        }
    }

    /// Checks once that this tree can be a later state of `old`; equal sizes can.
    pub const fn extends(self, old: Self) -> Result<Growth, Shrunk> {
        if old.0 <= self.0 { Ok(Growth { old, new: self }) } else { Err(Shrunk { old, new: self }) }
    }
}

impl LeafIndex {
    /// The leaf that `leaves_before` leaves precede.
    pub const fn new(leaves_before: u64) -> Self {
        Self(leaves_before)
    }

    /// The zero-based position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl LeafInTree {
    /// Index of the leaf.
    pub const fn index(self) -> LeafIndex {
        self.index
    }

    /// Size of the tree.
    pub const fn size(self) -> TreeSize {
        self.size
    }
}

impl Growth {
    pub(crate) const fn from_empty(new: TreeSize) -> Self {
        Self { old: TreeSize::EMPTY, new }
    }

    /// Size of the earlier tree.
    pub const fn old_size(self) -> TreeSize {
        self.old
    }

    /// Size of the later tree; at least [`old_size`](Self::old_size).
    pub const fn new_size(self) -> TreeSize {
        self.new
    }
}

impl Subtree {
    /// The `index`-th subtree of `height`, counted from the left.
    pub const fn new(height: u8, index: u64) -> Result<Self, InvalidSubtree> {
        if height < 64 && index < u64::MAX >> height {
            Ok(Self { height, index })
        } else {
            Err(InvalidSubtree { height, index })
        }
    }

    /// The subtree of `height`, at most 63, that contains `leaf`.
    pub(crate) const fn above(leaf: LeafIndex, height: u8) -> Self {
        Self { height, index: leaf.0 >> height }
    }

    /// Number of edges from its root to its leaves, 0 to 63.
    pub const fn height(self) -> u8 {
        self.height
    }

    /// Number of subtrees of the same height to its left.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The subtree's first leaf.
    pub const fn begin(self) -> LeafIndex {
        LeafIndex(self.index << self.height)
    }

    /// Size of the smallest tree that contains the whole subtree.
    pub const fn end(self) -> TreeSize {
        TreeSize((self.index + 1) << self.height)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LeafInTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf {} of {}", self.index, self.size)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leaves from {}", self.new, self.old)
    }
}

/// The tree does not have this leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("leaf {index} is not in a tree of {size} leaves: use an index below the size")]
pub struct NotInTree {
    index: LeafIndex,
    size: TreeSize,
}

/// A tree is smaller than another, so it cannot be a later state of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tree of {new} leaves does not extend one of {old}: a log only grows")]
pub struct Shrunk {
    old: TreeSize,
    new: TreeSize,
}

/// No tree can have this subtree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "there is no subtree {index} of height {height}: use a height of 0 to 63 and an index that \
     keeps its leaves within 64 bits"
)]
pub struct InvalidSubtree {
    height: u8,
    index: u64,
}

/// The leaves of one node of a tree: from `begin` up to, but not including, `end`.
///
/// Invariant: `begin` is a multiple of the smallest power of two that is not less than the number
/// of leaves, as for every node of an RFC 6962 tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    begin: u64,
    end: u64,
}

impl Node {
    /// The node of a whole tree.
    pub(crate) const fn root(size: TreeSize) -> Self {
        Self { begin: 0, end: size.0 }
    }

    pub(crate) const fn begin(self) -> u64 {
        self.begin
    }

    pub(crate) const fn end(self) -> u64 {
        self.end
    }

    /// The node's left and right child; `None` for a leaf.
    ///
    /// RFC 6962 §2.1: the left child has the largest power of two that is less than the number of
    /// leaves.
    pub(crate) fn children(self) -> Option<(Self, Self)> {
        let height = (self.end - self.begin).checked_sub(1)?.checked_ilog2()?;
        let middle = self.begin + (1 << height);
        Some((Self { end: middle, ..self }, Self { begin: middle, ..self }))
    }

    /// The perfect subtrees that the node consists of, the largest and leftmost first.
    pub(crate) fn peaks(self) -> impl DoubleEndedIterator<Item = Subtree> {
        let leaves = self.end - self.begin;
        // One subtree for each bit of the number of leaves, the high bits to the left.
        (0..64_u8).rev().filter(move |height| leaves >> height & 1 == 1).map(move |height| {
            let before = self.begin + (leaves & !(u64::MAX >> (63 - height)));
            Subtree { height, index: before >> height }
        })
    }
}
