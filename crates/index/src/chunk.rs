//! Chunks: how the log is divided for the postings.

/// Places in a chunk, one for each leaf: as many as 16 bits can number.
pub(crate) const PLACES: usize = 1 << 16;

/// The chunk in which a leaf lies.
pub(crate) const fn of(leaf: u64) -> u64 {
    leaf / PLACES as u64
}

/// The first leaf of a chunk.
pub(crate) const fn first_leaf(chunk: u64) -> u64 {
    chunk * PLACES as u64
}

/// The place of a leaf within its chunk.
#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are meant")]
pub(crate) const fn place_of(leaf: u64) -> u16 {
    leaf as u16
}
