//! One reading of a series block.

use model::reading::number_of;

/// A reading as a block stores it. Its texts borrow from the block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BlockReading<'a> {
    pub(crate) at: i64,
    pub(crate) leaf: u64,
    pub(crate) status: &'a str,
    pub(crate) flags: Option<&'a str>,
    pub(crate) unit: Option<&'a str>,
    pub(crate) value: &'a str,
}

impl BlockReading<'_> {
    pub(crate) fn number(&self) -> Option<f64> {
        number_of(self.status, self.value)
    }

    pub(crate) const fn key(&self) -> Key {
        (self.at, self.leaf.cast_signed())
    }
}

/// Time in microseconds since 1970, and leaf. Readings are sorted by this pair.
pub(crate) type Key = (i64, i64);
