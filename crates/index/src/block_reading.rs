//! One reading as a block of a series holds it.

use model::reading::number_of;

/// A reading as a block holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BlockReading<'a> {
    pub(crate) at: i64,
    pub(crate) leaf: u64,
    pub(crate) status: &'a str,
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

/// Time and leaf: the order of readings.
pub(crate) type Key = (i64, i64);
