//! A series prepared for drawing: all readings of a span if there are few, otherwise summaries in
//! buckets of equal width.

use std::collections::BTreeMap;

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use crate::{
    calibrated,
    readings::{self, SeriesReading},
    series::{self, Blocks, ROLLUP},
    summary::Summary,
};

/// A series over a span of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Series {
    /// Every reading, oldest first.
    Readings {
        /// Every reading of the span, oldest first.
        readings: Vec<SeriesReading>,
    },
    /// A summary of the readings in each bucket that has any, oldest first.
    Buckets {
        /// Width of each bucket in milliseconds.
        width_ms: u64,
        /// The buckets that hold readings.
        buckets: Vec<Bucket>,
    },
}

/// Summary of the readings in one bucket. If the span begins or ends within the bucket, only the
/// readings within the span count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Start of the bucket, a multiple of the width since 1970.
    pub start: Timestamp,
    /// Number of readings in the bucket.
    pub readings: u64,
    /// Number of readings with a number, from which `min`, `max` and `mean` follow, corrected if
    /// the sensor is calibrated. The other readings had no answer in time, an invalid one, or a
    /// text.
    pub numbers: u64,
    /// The lowest number; `None` without numbers.
    pub min: Option<f64>,
    /// The highest number; `None` without numbers.
    pub max: Option<f64>,
    /// The mean of the numbers; `None` without numbers.
    pub mean: Option<f64>,
    /// Lowest leaf index among the readings.
    pub first_leaf: u64,
    /// Highest leaf index among the readings.
    pub last_leaf: u64,
}

/// Most blocks that one plot reads, which takes some tens of milliseconds. A plot of more blocks
/// uses rollups, even if those give few points.
const BLOCKS_MAX: u32 = 20_000;
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Bucket widths below a rollup's, in microseconds: divisions of a clock face. Larger widths are
/// multiples of a rollup.
const WIDTHS: [i64; 20] = [
    SECOND / 10,
    SECOND / 5,
    SECOND / 2,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    ROLLUP,
];

/// Readings of a sensor in a span, in microseconds, as at most `points_max` points. `points_max`
/// must be at least 1.
pub(crate) fn plot(
    connection: &Connection,
    sensor: i64,
    span: (Option<i64>, Option<i64>),
    points_max: u32,
) -> rusqlite::Result<Series> {
    let Some((from, to)) = cut_to_series(connection, sensor, span)? else {
        return Ok(Series::Readings { readings: Vec::new() });
    };
    let calibrations = calibrated::of_series(connection, sensor)?;
    let mut readings =
        readings::newest(connection, sensor, (from, to), points_max.saturating_add(1))?;
    calibrated::correct(&mut readings, &calibrations);
    if readings.len() <= points_max as usize {
        return Ok(Series::Readings { readings });
    }
    let mut width = width((from, to), points_max);
    if width < ROLLUP && has_more_blocks(connection, sensor, (from, to))? {
        width = ROLLUP;
    }
    let mut buckets: BTreeMap<i64, Summary> = BTreeMap::new();
    for (part, calibration) in calibrated::parts(&calibrations, (from, to)) {
        summarise(connection, sensor, part, width, |at, summary| {
            let corrected = calibration.map(|calibration| summary.corrected(calibration));
            let bucket = buckets.entry(at.div_euclid(width)).or_insert(Summary::NOTHING);
            bucket.merge(corrected.as_ref().unwrap_or(summary));
        })?;
    }
    let buckets = buckets.into_iter().map(|(number, summary)| bucket(number * width, &summary));
    let width_ms = width.cast_unsigned() / 1_000;
    Ok(Series::Buckets { width_ms, buckets: buckets.collect() })
}

/// Visits the summaries of the readings in a span. None of them reaches beyond a bucket of this
/// width.
fn summarise(
    connection: &Connection,
    sensor: i64,
    (from, to): (i64, i64),
    width: i64,
    mut visit: impl FnMut(i64, &Summary),
) -> rusqlite::Result<()> {
    let together = |first: i64, last: i64| first.div_euclid(width) == last.div_euclid(width);
    let whole = (from.div_euclid(ROLLUP) + 1, to.div_euclid(ROLLUP));
    if width < ROLLUP || whole.0 >= whole.1 {
        let span = (from, to);
        return series::summarise(connection, Blocks::Every, sensor, span, together, &mut visit);
    }
    let edges = [(from, whole.0 * ROLLUP), (whole.1 * ROLLUP, to)];
    for edge in edges {
        series::summarise(connection, Blocks::Every, sensor, edge, together, &mut visit)?;
    }
    rollups(connection, sensor, whole, &mut visit)?;
    let whole = (whole.0 * ROLLUP, whole.1 * ROLLUP);
    series::summarise(connection, Blocks::Newest, sensor, whole, together, &mut visit)
}

/// The part of a span in which the sensor can have readings.
fn cut_to_series(
    connection: &Connection,
    sensor: i64,
    (from, to): (Option<i64>, Option<i64>),
) -> rusqlite::Result<Option<(i64, i64)>> {
    let end_of = |order: &str, column: &str| {
        connection
            .prepare_cached(&format!(
                "SELECT {column}, first_at, first FROM every_block WHERE sensor = ?1
                 ORDER BY first_at {order}, first {order} LIMIT 1"
            ))?
            .query_row([sensor], |row| row.get::<_, i64>(0))
            .optional()
    };
    let (first, last) = (end_of("ASC", "first_at")?, end_of("DESC", "last_at")?);
    let cut = first.zip(last).map(|(first, last)| {
        (from.unwrap_or(first).max(first), to.unwrap_or(i64::MAX).min(last + 1))
    });
    Ok(cut.filter(|(from, to)| from < to))
}

/// The smallest width at which the span needs at most `points_max` buckets.
fn width((from, to): (i64, i64), points_max: u32) -> i64 {
    let points_max = i64::from(points_max);
    let is_enough =
        |width: &i64| (to - 1).div_euclid(*width) - from.div_euclid(*width) < points_max;
    let wide = || {
        let rollups = (to - from) / ROLLUP / points_max;
        (rollups.max(1)..).map(|rollups| rollups * ROLLUP).find(is_enough)
    };
    WIDTHS.into_iter().find(is_enough).or_else(wide).unwrap_or(ROLLUP)
}

fn has_more_blocks(
    connection: &Connection,
    sensor: i64,
    (from, to): (i64, i64),
) -> rusqlite::Result<bool> {
    let blocks: u32 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM block WHERE sensor = ?1 AND first_at >= ?2 AND first_at < ?3 LIMIT ?4)",
        )?
        .query_row((sensor, from, to, BLOCKS_MAX + 1), |row| row.get(0))?;
    Ok(blocks > BLOCKS_MAX)
}

fn rollups(
    connection: &Connection,
    sensor: i64,
    (first, end): (i64, i64),
    mut visit: impl FnMut(i64, &Summary),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT number, readings, numbers, low, high, sum, first_leaf, last_leaf FROM rollup
         WHERE sensor = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
    )?;
    let mut rows = select.query((sensor, first, end))?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        visit(number * ROLLUP, &Summary::from_columns(row, 1)?);
    }
    Ok(())
}

fn bucket(start: i64, summary: &Summary) -> Bucket {
    let number = |number: f64| Some(number).filter(|_| summary.numbers > 0);
    Bucket {
        start: Timestamp::from_unix_micros(start),
        readings: summary.readings,
        numbers: summary.numbers,
        min: number(summary.low),
        max: number(summary.high),
        mean: summary.mean(),
        first_leaf: summary.first_leaf,
        last_leaf: summary.last_leaf,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_span_has_no_more_buckets_than_asked_for(from in 0..1_i64 << 50, len in 1..1_i64 << 50, points_max in 1..5_000_u32) {
            let to = from + len;
            let width = width((from, to), points_max);
            prop_assert!((to - 1) / width - from / width < i64::from(points_max) || width % ROLLUP == 0 && points_max == 1);
            prop_assert!(ROLLUP % width == 0 || width % ROLLUP == 0);
        }
    }
}
