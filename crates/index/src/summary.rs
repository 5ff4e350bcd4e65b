//! What a run of readings comes to.

use crate::series::Stored;

/// Count, lowest, highest and sum of readings. Those without a number are counted apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) readings: u64,
    pub(crate) numbers: u64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) sum: f64,
    pub(crate) first_leaf: u64,
    pub(crate) last_leaf: u64,
}

impl Summary {
    pub(crate) const NOTHING: Self = Self {
        readings: 0,
        numbers: 0,
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
        sum: 0.0,
        first_leaf: u64::MAX,
        last_leaf: 0,
    };

    pub(crate) fn add(&mut self, reading: &Stored<'_>) {
        self.readings += 1;
        self.first_leaf = self.first_leaf.min(reading.leaf);
        self.last_leaf = self.last_leaf.max(reading.leaf);
        if let Some(number) = reading.number() {
            self.numbers += 1;
            self.low = self.low.min(number);
            self.high = self.high.max(number);
            self.sum += number;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.readings += other.readings;
        self.numbers += other.numbers;
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.sum += other.sum;
        self.first_leaf = self.first_leaf.min(other.first_leaf);
        self.last_leaf = self.last_leaf.max(other.last_leaf);
    }

    pub(crate) fn of<'a, 'b: 'a>(readings: impl IntoIterator<Item = &'a Stored<'b>>) -> Self {
        let mut summary = Self::NOTHING;
        readings.into_iter().for_each(|reading| summary.add(reading));
        summary
    }

    /// From columns, in the order in which they stand here.
    pub(crate) fn from_columns(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let whole = |column| row.get(first + column).map(i64::cast_unsigned);
        Ok(Self {
            readings: whole(0)?,
            numbers: whole(1)?,
            low: row.get(first + 2)?,
            high: row.get(first + 3)?,
            sum: row.get(first + 4)?,
            first_leaf: whole(5)?,
            last_leaf: whole(6)?,
        })
    }
}
