//! Tiles: the tree as files of up to 256 hashes, which never change once they are full.
//!
//! C2SP tlog-tiles, Merkle Tree and Log entries. A tile of level `l` has the roots of consecutive
//! subtrees of `256^l` leaves: level 0 has leaf hashes, and each hash above is the root of one
//! *full* tile below. Entry bundles cover the same leaves as the tiles of level 0. [`TilePath`]
//! says where a tile lies, and [`EntryBundle`] what a bundle contains.
//!
//! Invariant: tiles contain only complete subtrees, so a tile of a smaller tree is a prefix of the
//! same tile of a larger one.
//!
//! [`TilePath`]: crate::TilePath
//! [`EntryBundle`]: crate::EntryBundle

use alloc::vec::Vec;
use core::num::NonZeroU8;

use crate::hash::{Hash, root_of};
use crate::tree::{Growth, LeafInTree, LeafIndex, Subtree, TreeSize};

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH_MAX: usize = 256;

/// Height of the subtree that a full tile stands for.
const TILE_HEIGHT: u8 = 8;

/// Number of levels on which a tree of at most `u64::MAX` leaves has hashes.
const LEVELS_USED: u8 = 8;

/// Distance of a tile from the leaves, 0 to 63.
///
/// A tree whose size has 64 bits ends at level 7. The other levels have names but no hashes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TileLevel(u8);

/// How many hashes a tile has, or how many entries a bundle has.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TileWidth {
    /// The first 1 to 255; the tile will still grow.
    Partial(NonZeroU8),
    /// All 256; the tile is final.
    Full,
}

/// Names one tile of hashes at one width.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TileId {
    /// Distance from the leaves.
    pub level: TileLevel,
    /// Zero-based position within the level.
    pub index: u64,
    /// Number of hashes.
    pub width: TileWidth,
}

/// Names one bundle of entries at one width.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BundleId {
    /// Zero-based position; the bundle begins with leaf `index * 256`.
    pub index: u64,
    /// Number of entries.
    pub width: TileWidth,
}

impl TileLevel {
    /// The level of leaf hashes.
    pub const LEAVES: Self = Self(0);
    /// The highest level that a path can name.
    pub const MAX: Self = Self(63);

    /// The `level`-th level above the leaves.
    pub const fn new(level: u8) -> Result<Self, InvalidTileLevel> {
        if level <= Self::MAX.0 { Ok(Self(level)) } else { Err(InvalidTileLevel { level }) }
    }

    /// Distance from the leaves.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Number of hashes that a tree of `size` leaves has on this level.
    fn hashes(self, size: TreeSize) -> u64 {
        let height = u32::from(self.0) * u32::from(TILE_HEIGHT);
        size.get().checked_shr(height).unwrap_or(0)
    }
}

impl TileWidth {
    /// The width for `count` hashes or entries; `None` if `count` is not 1 to 256.
    pub fn from_count(count: usize) -> Option<Self> {
        if count == TILE_WIDTH_MAX {
            return Some(Self::Full);
        }
        u8::try_from(count).ok().and_then(NonZeroU8::new).map(Self::Partial)
    }

    /// Number of hashes or entries: 1 to 256.
    pub fn count(self) -> usize {
        match self {
            Self::Partial(count) => usize::from(count.get()),
            Self::Full => TILE_WIDTH_MAX,
        }
    }
}

impl TileId {
    /// The tile at the width that a tree of `size` leaves has; `None` if the tree has no hash of
    /// it.
    pub fn in_tree(level: TileLevel, index: u64, size: TreeSize) -> Option<Self> {
        Some(Self { level, index, width: tile_width(level, index, size)? })
    }
}

impl BundleId {
    /// The bundle at the width that a tree of `size` leaves has; `None` if the tree has no entry of
    /// it.
    pub fn in_tree(index: u64, size: TreeSize) -> Option<Self> {
        Some(Self { index, width: tile_width(TileLevel::LEAVES, index, size)? })
    }
}

impl LeafIndex {
    /// Index of the bundle and of the level-0 tile that contain the leaf.
    pub const fn tile_index(self) -> u64 {
        self.get() >> TILE_HEIGHT
    }

    /// Position of the leaf within its bundle and its level-0 tile: 0 to 255.
    pub const fn offset_in_tile(self) -> u8 {
        (self.get() & 0xff) as u8
    }
}

impl LeafInTree {
    /// The bundle that contains the leaf's entry, at the width that this tree has.
    pub fn bundle(self) -> BundleId {
        BundleId::in_tree(self.index().tile_index(), self.size())
            .expect("a leaf in a tree is in a bundle of it")
    }
}

impl TreeSize {
    /// All tiles of this tree, lower levels first, each at the width that the tree has.
    pub fn tiles(self) -> impl Iterator<Item = TileId> {
        Growth::from_empty(self).tiles()
    }

    /// All entry bundles of this tree, each at the width that the tree has.
    pub fn bundles(self) -> impl Iterator<Item = BundleId> {
        Growth::from_empty(self).bundles()
    }
}

impl Growth {
    /// The tiles of the new tree that the old one lacks or has at a smaller width, lower levels
    /// first.
    pub fn tiles(self) -> impl Iterator<Item = TileId> {
        (0..LEVELS_USED).flat_map(move |level| {
            let level = TileLevel(level);
            let (old, new) = (level.hashes(self.old_size()), level.hashes(self.new_size()));
            let end = if old == new { 0 } else { new.div_ceil(1 << TILE_HEIGHT) };
            (old >> TILE_HEIGHT..end)
                .filter_map(move |index| TileId::in_tree(level, index, self.new_size()))
        })
    }

    /// The entry bundles of the new tree that the old one lacks or has at a smaller width.
    pub fn bundles(self) -> impl Iterator<Item = BundleId> {
        self.tiles()
            .take_while(|tile| tile.level == TileLevel::LEAVES)
            .map(|TileId { index, width, .. }| BundleId { index, width })
    }
}

impl Subtree {
    /// The tile that gives this subtree's hash in a tree of `size` leaves; `None` if the tree does
    /// not contain the whole subtree.
    pub fn tile(self, size: TreeSize) -> Option<TileId> {
        if self.end() > size {
            return None;
        }
        let level = TileLevel(self.height() / TILE_HEIGHT);
        let above = TILE_HEIGHT - self.height() % TILE_HEIGHT;
        TileId::in_tree(level, self.index() >> above, size)
    }

    /// Computes this subtree's hash from the hashes of its [`tile`](Self::tile); `None` if they are
    /// too few.
    pub fn hash_from_tile(self, hashes: &[Hash]) -> Option<Hash> {
        let height_in_tile = self.height() % TILE_HEIGHT;
        let begin = usize::from((self.index() << height_in_tile & 0xff) as u8);
        hashes.get(begin..begin + (1 << height_in_tile)).map(root_of)
    }
}

/// Number of hashes that a tree of `size` leaves has in a tile, as a width; `None` if it has none.
pub fn tile_width(level: TileLevel, index: u64, size: TreeSize) -> Option<TileWidth> {
    let before = index.checked_mul(1 << TILE_HEIGHT)?;
    let count = level.hashes(size).checked_sub(before)?.min(1 << TILE_HEIGHT);
    TileWidth::from_count(usize::try_from(count).ok()?)
}

/// Encodes a tile: its hashes one after the other.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// Decodes a tile. The bytes must have as many hashes as the width says.
///
/// # Errors
/// The number of bytes is wrong for this width.
pub fn decode_hashes(width: TileWidth, bytes: &[u8]) -> Result<Vec<Hash>, InvalidTileLen> {
    let (hashes, rest) = bytes.as_chunks();
    if rest.is_empty() && hashes.len() == width.count() {
        Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
    } else {
        Err(InvalidTileLen { expected_bytes: width.count() * Hash::LEN, bytes: bytes.len() })
    }
}

/// The level is out of range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{level} is not a tile level: use 0 to {}", TileLevel::MAX.0)]
pub struct InvalidTileLevel {
    level: u8,
}

/// The bytes do not have the length of a tile of the expected width.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tile has {bytes} bytes, but a tile of its width has {expected_bytes}")]
pub struct InvalidTileLen {
    expected_bytes: usize,
    bytes: usize,
}

/// The caller read a tile and gave fewer hashes than its width says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{tile}` has {hashes} hashes, not {}", tile.width.count())]
pub struct ShortTile {
    /// The tile that was asked for.
    pub tile: TileId,
    /// Number of hashes that the caller gave.
    pub hashes: usize,
}
