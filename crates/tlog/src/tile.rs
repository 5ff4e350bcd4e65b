//! Tiles: the tree as files of up to 256 hashes that never change once they are full.
//!
//! C2SP tlog-tiles, Merkle Tree and Log entries. A tile of level `l` holds the roots of consecutive
//! subtrees of `256^l` leaves: level 0 holds leaf hashes, and each hash above stands for one *full*
//! tile below. Entry bundles are cut like the tiles of level 0. Where a tile lies is [`TilePath`]'s
//! business, what is in a bundle [`EntryBundle`]'s.
//!
//! Invariant: a tree has only complete subtrees in its tiles, so a tile of a smaller tree is a
//! prefix of the same tile of a larger one.
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

/// Levels on which a tree of at most `u64::MAX` leaves has hashes.
const LEVELS_USED: u8 = 8;

/// Distance of a tile from the leaves, 0 to 63.
///
/// Trees counted in 64 bits end at level 7; the other levels can be named, but are empty.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TileLevel(u8);

/// How much of a tile or bundle there is.
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
    /// How many hashes.
    pub width: TileWidth,
}

/// Names one bundle of entries at one width.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BundleId {
    /// Zero-based position; the bundle begins with leaf `index * 256`.
    pub index: u64,
    /// How many entries.
    pub width: TileWidth,
}

impl TileLevel {
    /// The level of leaf hashes.
    pub const LEAVES: Self = Self(0);
    /// The highest level that has a name.
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
    /// The width of `count` hashes or entries: 1 to 256.
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
    /// The tile as a tree of `size` leaves has it, or `None` if it has none of it.
    pub fn in_tree(level: TileLevel, index: u64, size: TreeSize) -> Option<Self> {
        Some(Self { level, index, width: tile_width(level, index, size)? })
    }
}

impl BundleId {
    /// The bundle as a tree of `size` leaves has it, or `None` if it has none of it.
    pub fn in_tree(index: u64, size: TreeSize) -> Option<Self> {
        Some(Self { index, width: tile_width(TileLevel::LEAVES, index, size)? })
    }
}

impl LeafIndex {
    /// Position of the bundle and of the level-0 tile that the leaf is in.
    pub const fn tile_index(self) -> u64 {
        self.get() >> TILE_HEIGHT
    }

    /// Position of the leaf within its bundle and its level-0 tile: 0 to 255.
    pub const fn offset_in_tile(self) -> u8 {
        (self.get() & 0xff) as u8
    }
}

impl LeafInTree {
    /// The bundle that holds the leaf's entry, as wide as this tree has it.
    pub fn bundle(self) -> BundleId {
        BundleId::in_tree(self.index().tile_index(), self.size())
            .expect("a leaf in a tree is in a bundle of it")
    }
}

impl TreeSize {
    /// All tiles of this tree, lower levels first, each as wide as the tree has it.
    pub fn tiles(self) -> impl Iterator<Item = TileId> {
        Growth::from_empty(self).tiles()
    }

    /// All entry bundles of this tree, each as wide as the tree has it.
    pub fn bundles(self) -> impl Iterator<Item = BundleId> {
        Growth::from_empty(self).bundles()
    }
}

impl Growth {
    /// The tiles of the new tree that the old one did not have, or not at that width, lower levels
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

    /// The entry bundles of the new tree that the old one did not have, or not at that width.
    pub fn bundles(self) -> impl Iterator<Item = BundleId> {
        self.tiles()
            .take_while(|tile| tile.level == TileLevel::LEAVES)
            .map(|TileId { index, width, .. }| BundleId { index, width })
    }
}

impl Subtree {
    /// The tile from which this subtree's hash is computed in a tree of `size` leaves, or `None` if
    /// the subtree is not whole in it.
    pub fn tile(self, size: TreeSize) -> Option<TileId> {
        if self.end() > size {
            return None;
        }
        let level = TileLevel(self.height() / TILE_HEIGHT);
        let above = TILE_HEIGHT - self.height() % TILE_HEIGHT;
        TileId::in_tree(level, self.index() >> above, size)
    }

    /// This subtree's hash, computed from the hashes of its [`tile`](Self::tile), or `None` if they
    /// are too few.
    pub fn hash_from_tile(self, hashes: &[Hash]) -> Option<Hash> {
        let height_in_tile = self.height() % TILE_HEIGHT;
        let begin = usize::from((self.index() << height_in_tile & 0xff) as u8);
        hashes.get(begin..begin + (1 << height_in_tile)).map(root_of)
    }
}

/// How much of a tile a tree of `size` leaves has, or `None` if nothing.
pub fn tile_width(level: TileLevel, index: u64, size: TreeSize) -> Option<TileWidth> {
    let before = index.checked_mul(1 << TILE_HEIGHT)?;
    let count = level.hashes(size).checked_sub(before)?.min(1 << TILE_HEIGHT);
    TileWidth::from_count(usize::try_from(count).ok()?)
}

/// A tile's bytes: its hashes one after the other.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// The hashes in a tile's bytes, of which there must be as many as its width says.
pub fn decode_hashes(width: TileWidth, bytes: &[u8]) -> Result<Vec<Hash>, InvalidTileLen> {
    let (hashes, rest) = bytes.as_chunks();
    if rest.is_empty() && hashes.len() == width.count() {
        Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
    } else {
        Err(InvalidTileLen { expected_bytes: width.count() * Hash::LEN, bytes: bytes.len() })
    }
}

/// A level that tiles do not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{level} is not a level of tiles: use 0 to {}", TileLevel::MAX.0)]
pub struct InvalidTileLevel {
    level: u8,
}

/// Bytes that are not a tile of the width they should have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tile has {bytes} bytes, and {expected_bytes} at its width")]
pub struct InvalidTileLen {
    expected_bytes: usize,
    bytes: usize,
}

/// A tile that was read but has fewer hashes than its width says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{tile}` was given with {hashes} hashes, not {}", tile.width.count())]
pub struct ShortTile {
    /// What was asked for.
    pub tile: TileId,
    /// How many hashes were given.
    pub hashes: usize,
}
