//! A summary of a run of readings.

use crate::block_reading::BlockReading;

/// Factor by which numbers are multiplied before they are added: 2^-64. No log has more than 2^64
/// leaves, so the sum stays finite. A power of two loses no digit of any number above 10^-288.
const SCALE: f64 = f64::from_bits(0x3bf0_0000_0000_0000);

/// Count, lowest, highest and sum of readings. Readings without a number are counted separately.
///
/// Invariant: for any readings, the sum is finite and the mean lies between the lowest and the
/// highest number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) readings: u64,
    pub(crate) numbers: u64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The sum of the numbers times [`SCALE`].
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

    pub(crate) fn add(&mut self, reading: &BlockReading<'_>) {
        self.readings += 1;
        self.first_leaf = self.first_leaf.min(reading.leaf);
        self.last_leaf = self.last_leaf.max(reading.leaf);
        if let Some(number) = reading.number() {
            self.numbers += 1;
            self.low = self.low.min(number);
            self.high = self.high.max(number);
            self.sum += number * SCALE;
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

    /// How many numbers there are, scaled as the sum is.
    #[expect(clippy::cast_precision_loss, reason = "no more readings than a float can count")]
    pub(crate) const fn scaled_count(&self) -> f64 {
        self.numbers as f64 * SCALE
    }

    /// The mean of the numbers, if there are any.
    pub(crate) fn mean(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "no more readings than a float can count")]
        let mean = || (self.sum / self.numbers as f64 / SCALE).clamp(self.low, self.high);
        (self.numbers > 0 && self.low <= self.high).then(mean)
    }

    /// Whether the summaries are equal apart from the order in which numbers were added.
    pub(crate) fn is_about(&self, other: &Self) -> bool {
        let mut with_its_sum = *self;
        with_its_sum.sum = other.sum;
        let largest = (self.low.abs().max(self.high.abs())) * SCALE;
        #[expect(clippy::cast_precision_loss, reason = "no more readings than a float can count")]
        let of_all = largest * self.numbers as f64;
        with_its_sum == *other
            && (self.numbers == 0 || (self.sum - other.sum).abs() <= of_all * 1e-9)
    }

    pub(crate) fn of<'a, 'b: 'a>(readings: impl IntoIterator<Item = &'a BlockReading<'b>>) -> Self {
        let mut summary = Self::NOTHING;
        readings.into_iter().for_each(|reading| summary.add(reading));
        summary
    }

    /// Reads a summary from columns, which have the order of its fields.
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

#[cfg(test)]
mod tests {
    use model::event::SUCCESS;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn finite() -> impl Strategy<Value = f64> {
        let any = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |it| it.is_finite());
        prop_oneof![any, Just(f64::MAX), Just(f64::MIN), -100.0..100.0]
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_are_what_they_come_to_is_finite(
            numbers in vec(finite(), 1..40), cut in 0..40_usize
        ) {
            let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
            let reading = |value| BlockReading { at: 0, leaf: 0, status: SUCCESS, flags: None, unit: None, value };
            let readings: Vec<BlockReading<'_>> = texts.iter().map(|text| reading(text)).collect();
            let (first, second) = readings.split_at(cut.min(readings.len()));
            let mut merged = Summary::of(first);
            merged.merge(&Summary::of(second));
            for summary in [merged, Summary::of(&readings)] {
                prop_assert!(summary.sum.is_finite());
                let (low, high, mean) = (summary.low, summary.high, summary.mean().unwrap());
                prop_assert!(low <= mean && mean <= high, "{low} {mean} {high}");
                let scale = numbers.iter().map(|number| number.abs()).fold(0.0, f64::max);
                let exact = numbers.iter().map(|number| number / scale).sum::<f64>() / numbers.len() as f64;
                prop_assert!(scale < 1e-280 || (mean / scale - exact).abs() < 1e-9, "{mean} {exact}");
            }
        }
    }
}
