//! What one search may cost, so that none keeps the others waiting for long.

use std::cell::Cell;

/// What is left to spend. It is counted in rows that SQLite reads one behind the other, a fifth of
/// a microsecond each where it was measured, and not in time: the same search of the same index
/// gets the same answer.
#[derive(Debug)]
pub(crate) struct Effort(Cell<u64>);

impl Effort {
    /// Of a search: some three seconds, of the five that the gateway waits. In ten million events
    /// no search of the benchmark needs a twentieth of it.
    const SEARCH: u64 = 16 << 20;
    /// Looking a row up takes some six times as long as reading on.
    const SEEK: u64 = 6;
    /// Bytes of a text that are read and compared in the time of a row.
    const ROW_BYTES: usize = 1 << 10;

    pub(crate) const fn of_a_search() -> Self {
        Self(Cell::new(Self::SEARCH))
    }

    /// Of the writer, which does what has to be done.
    pub(crate) const fn unlimited() -> Self {
        Self(Cell::new(u64::MAX))
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// A row is looked up.
    pub(crate) fn seek(&self) {
        self.spend(Self::SEEK);
    }

    /// So many rows are read, one behind the other.
    pub(crate) fn rows(&self, rows: usize) {
        self.spend(rows as u64);
    }

    /// A text in a row is compared.
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
