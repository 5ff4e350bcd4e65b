//! Corrects what the index has as the sensor wrote it, by the calibrations that are in force now.
//!
//! The index stores nothing that is corrected, so nothing in it is out of date when a calibration
//! with an earlier date is ordered, or when the event of an order is erased. A correction is a
//! straight line, and so the corrected lowest, highest and mean value follow from those of a
//! summary.

use model::{Calibration, Calibrations, InForce, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{readings::SeriesReading, summary::Summary};

/// The calibrations of a series, which is a sensor's own or that of one of its channels.
pub(crate) fn of_series(connection: &Connection, series: i64) -> rusqlite::Result<Calibrations> {
    let channel: Option<(i64, String)> = connection
        .prepare_cached("SELECT sensor, name FROM channel WHERE series = ?1")?
        .query_row([series], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (sensor, channel) = channel.map_or((series, None), |(sensor, name)| (sensor, Some(name)));
    let in_force = connection
        .prepare_cached("SELECT in_force FROM sensor WHERE key = ?1")?
        .query_row([sensor], |row| {
            Ok(row.get_ref(0)?.as_str_or_null()?.map(InForce::from_canonical))
        })
        .optional()?;
    Ok(in_force.flatten().unwrap_or_default().calibrations(channel.as_deref()))
}

/// Adds the corrected numbers to readings.
pub(crate) fn correct(readings: &mut [SeriesReading], calibrations: &Calibrations) {
    if calibrations.is_empty() {
        return;
    }
    for reading in readings {
        reading.calibrated =
            calibrations.correct(reading.timestamp, &reading.status, &reading.value);
    }
}

/// The parts of a span of microseconds in which one calibration is right, or none.
pub(crate) fn parts(
    calibrations: &Calibrations,
    (from, to): (i64, i64),
) -> Vec<((i64, i64), Option<&Calibration>)> {
    let within = calibrations.begins().map(Timestamp::unix_micros);
    let within = within.filter(|begin| from < *begin && *begin < to);
    let begins: Vec<i64> = std::iter::once(from).chain(within).collect();
    let ends = begins.iter().skip(1).copied().chain([to]);
    let of = |begin: i64| calibrations.at(Timestamp::from_unix_micros(begin));
    begins.iter().zip(ends).map(|(begin, end)| ((*begin, end), of(*begin))).collect()
}

impl Summary {
    /// The summary of the corrected numbers.
    pub(crate) fn corrected(&self, calibration: &Calibration) -> Self {
        if self.numbers == 0 {
            return *self;
        }
        let ends = [self.low, self.high].map(|end| calibration.of(end));
        let [low, high] = [f64::min, f64::max].map(|pick| pick(ends[0], ends[1]));
        let count = self.scaled_count();
        let sum = calibration.of_sum(self.sum, count).clamp(low * count, high * count);
        Self { low, high, sum, ..*self }
    }
}
