//! Limits the cost of one search, so that no search delays the others for long.

use std::cell::Cell;

/// The cost that a search may still spend, in rows that SQLite reads sequentially (0.2 µs each
/// where measured). It does not count time, so that the same search of the same index gets the same
/// answer.
#[derive(Debug)]
pub(crate) struct Effort(Cell<u64>);

impl Effort {
    /// Budget of a search: about three seconds, of the five that the gateway waits. In ten million
    /// events, no search of the benchmark needs a twentieth of it.
    const SEARCH: u64 = 16 << 20;
    /// Cost of looking up a row, which takes about six times as long as reading the next one.
    const SEEK: u64 = 6;
    /// Bytes of text that are read and compared in the time of one row.
    const ROW_BYTES: usize = 1 << 10;

    pub(crate) const fn of_a_search() -> Self {
        Self(Cell::new(Self::SEARCH))
    }

    /// Budget of the writer, which must finish its work.
    pub(crate) const fn unlimited() -> Self {
        Self(Cell::new(u64::MAX))
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Spends the cost of looking up one row.
    pub(crate) fn seek(&self) {
        self.spend(Self::SEEK);
    }

    /// Spends the cost of reading `rows` rows sequentially.
    pub(crate) fn rows(&self, rows: usize) {
        self.spend(rows as u64);
    }

    /// Spends the cost of comparing the text of a row.
    pub(crate) fn compare(&self, text: &str) {
        self.rows(text.len() / Self::ROW_BYTES);
    }

    fn spend(&self, cost: u64) {
        self.0.set(self.0.get().saturating_sub(cost));
    }
}

#[cfg(test)]
impl Effort {
    pub(crate) const fn of(rows: u64) -> Self {
        Self(Cell::new(rows))
    }

    pub(crate) const fn left(&self) -> u64 {
        self.0.get()
    }
}
