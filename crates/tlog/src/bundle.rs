//! Entry bundles: files with up to 256 entries, which are the contents of the leaves.
//!
//! C2SP tlog-tiles, Log entries: each entry follows its length in two bytes, big-endian.
//! [`BundleId`] says where a bundle lies; only the log knows what an entry means.
//!
//! Invariant: a bundle has 1 to [`TILE_WIDTH_MAX`] entries, none longer than [`ENTRY_BYTES_MAX`].
//!
//! [`BundleId`]: crate::BundleId

use alloc::vec::Vec;

use crate::hash::{Hash, leaf_hash};
use crate::tile::{TILE_WIDTH_MAX, TileWidth};

/// Longest entry in bytes: the largest number that its length field can hold.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Consecutive entries of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryBundle {
    entries: Vec<Vec<u8>>,
}

impl EntryBundle {
    /// Bundles entries. The index of the first must be divisible by 256.
    ///
    /// # Errors
    /// There are no entries or more than 256, or an entry is too long.
    pub fn new(entries: Vec<Vec<u8>>) -> Result<Self, InvalidBundle> {
        if entries.is_empty() {
            return Err(InvalidBundle::Empty);
        }
        if entries.len() > TILE_WIDTH_MAX {
            return Err(InvalidBundle::TooManyEntries);
        }
        let lengths = entries.iter().map(Vec::len).enumerate();
        for (offset, bytes) in lengths {
            if bytes > ENTRY_BYTES_MAX {
                return Err(InvalidBundle::EntryTooLong { offset, bytes });
            }
        }
        Ok(Self { entries })
    }

    /// Parses a bundle of any width.
    ///
    /// # Errors
    /// The bytes have no entries or more than 256, or end within an entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidBundle> {
        Self::new(split_entries(bytes)?.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Encodes the bundle in the form in which it is stored and served.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in &self.entries {
            let length = u16::try_from(entry.len()).expect("no entry is longer than its maximum");
            bytes.extend(length.to_be_bytes());
            bytes.extend(entry);
        }
        bytes
    }

    /// The entries, in the order of their leaves.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Number of entries, as a width.
    pub fn width(&self) -> TileWidth {
        TileWidth::from_count(self.entries.len()).expect("a bundle has 1 to 256 entries")
    }

    /// The hashes of the level-0 tile with the same leaves.
    pub fn leaf_hashes(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }
}

/// Splits the bytes of a bundle of any width into its entries, without copying them.
///
/// # Errors
/// The bytes have no entries or more than 256, or end within an entry.
pub fn split_entries(bytes: &[u8]) -> Result<Vec<&[u8]>, InvalidBundle> {
    if bytes.is_empty() {
        return Err(InvalidBundle::Empty);
    }
    let mut entries = Vec::with_capacity(TILE_WIDTH_MAX);
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() == TILE_WIDTH_MAX {
            return Err(InvalidBundle::TooManyEntries);
        }
        let cut_off = InvalidBundle::CutOff { offset: entries.len() };
        let (length, after) = rest.split_first_chunk().ok_or(cut_off)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(cut_off)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// Why entries are not a bundle, or bytes do not hold one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidBundle {
    /// There are no entries.
    #[error("an entry bundle is empty: it must have at least one entry")]
    Empty,
    /// There are more than 256.
    #[error("an entry bundle has more than {TILE_WIDTH_MAX} entries")]
    TooManyEntries,
    /// An entry is too long for its length field.
    #[error(
        "entry {offset} of a bundle has {bytes} bytes, but at most {ENTRY_BYTES_MAX} are allowed"
    )]
    EntryTooLong {
        /// Zero-based position in the bundle.
        offset: usize,
        /// Length of the entry in bytes.
        bytes: usize,
    },
    /// The bytes end within an entry.
    #[error("an entry bundle ends within entry {offset}")]
    CutOff {
        /// Zero-based position in the bundle.
        offset: usize,
    },
}
