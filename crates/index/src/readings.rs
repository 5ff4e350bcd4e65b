//! Readings of a sensor, unpacked from its blocks.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds as _},
};

use model::{Timestamp, event::SUCCESS, reading::number_of};
use rusqlite::Connection;
use serde::Serialize;

use crate::{block_reading::BlockReading, series};

/// One reading for display.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesReading {
    /// Index of the reading's leaf in the log.
    pub leaf: u64,
    /// When the reading was taken.
    pub timestamp: Timestamp,
    /// How the poll ended.
    pub status: String,
    /// The value as the sensor wrote it; `N/A` if there is none.
    pub value: String,
    /// The value as a number, corrected by the calibration that is right for its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<f64>,
    /// What a reader must know of it, such as that its sensor's clock is wrong: words, separated by
    /// spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// Unit sealed with the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What each declared channel measured, by name, of a reading of several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelReading>,
}

/// What a channel measured in a reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelReading {
    /// The value with its scale.
    pub value: String,
    /// The value as a number, corrected by the calibration that is right for its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<f64>,
    /// Unit sealed with the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl SeriesReading {
    /// The number to draw: the corrected one if there is one; `None` if the value is no number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        self.calibrated.or_else(|| number_of(&self.status, &self.value))
    }
}

impl From<&BlockReading<'_>> for SeriesReading {
    fn from(stored: &BlockReading<'_>) -> Self {
        Self {
            leaf: stored.leaf,
            timestamp: Timestamp::from_unix_micros(stored.at),
            status: stored.status.to_owned(),
            value: stored.value.to_owned(),
            calibrated: None,
            flags: stored.flags.map(str::to_owned),
            unit: stored.unit.map(str::to_owned),
            channels: BTreeMap::new(),
        }
    }
}

/// The newest readings of a span, oldest first.
pub(crate) fn newest(
    connection: &Connection,
    sensor: i64,
    (from, to): (i64, i64),
    limit: u32,
) -> rusqlite::Result<Vec<SeriesReading>> {
    newest_of(connection, sensor, (from, to), limit, |_| true)
}

/// The newest readings of a span that have no value, oldest first.
pub(crate) fn newest_failures(
    connection: &Connection,
    sensor: i64,
    span: (i64, i64),
    limit: u32,
) -> rusqlite::Result<Vec<SeriesReading>> {
    newest_of(connection, sensor, span, limit, |reading| reading.status != SUCCESS)
}

fn newest_of(
    connection: &Connection,
    sensor: i64,
    (from, to): (i64, i64),
    limit: u32,
    is_wanted: impl Fn(&BlockReading<'_>) -> bool,
) -> rusqlite::Result<Vec<SeriesReading>> {
    let limit = limit as usize;
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let mut select = connection.prepare_cached(
        "SELECT bytes, first_at, first FROM every_block WHERE sensor = ?1 AND first_at >= ?2 AND first_at < ?3
         ORDER BY first_at DESC, first DESC",
    )?;
    let start = series::start_of(connection, sensor, from)?;
    let mut rows = select.query((sensor, start, to))?;
    while let Some(row) = rows.next()? {
        let block = series::unpack(row.get_ref(0)?.as_blob()?)?;
        let in_span = block.iter().rev().filter(|reading| (from..to).contains(&reading.at));
        let in_span = in_span.filter(|reading| is_wanted(reading));
        found.extend(in_span.take(limit - found.len()).map(SeriesReading::from));
        if found.len() == limit {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// The readings from `start` on in its block; if that has none, the readings of the next block.
pub(crate) fn block_from(
    connection: &Connection,
    sensor: i64,
    start: Bound<(i64, i64)>,
) -> rusqlite::Result<Vec<SeriesReading>> {
    let at = match start {
        Bound::Included((at, _)) | Bound::Excluded((at, _)) => at,
        Bound::Unbounded => i64::MIN,
    };
    let mut select = connection.prepare_cached(
        "SELECT bytes, first_at, first FROM every_block WHERE sensor = ?1 AND first_at >= ?2
         ORDER BY first_at, first",
    )?;
    let mut rows = select.query((sensor, series::start_of(connection, sensor, at)?))?;
    while let Some(row) = rows.next()? {
        let block = series::unpack(row.get_ref(0)?.as_blob()?)?;
        let is_in =
            |reading: &&BlockReading<'_>| (start, Bound::Unbounded).contains(&reading.key());
        let found: Vec<_> = block.iter().filter(is_in).map(SeriesReading::from).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}
