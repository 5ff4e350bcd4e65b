//! The readings of each sensor, sorted by the time they were taken, in blocks.
//!
//! A block packs up to 256 consecutive readings of one sensor, sorted by time and leaf, with a
//! summary beside it. Blocks of a sensor do not overlap; a block that grows too large is split. In
//! addition, a rollup summarises the readings of each quarter of a day in which a sensor has any.

use std::collections::BTreeMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use model::event::{COMM_ERROR, SUCCESS, VALUE_ERROR};

use crate::{
    block_reading::{BlockReading, Key},
    codec::{self, Bytes},
    error::damaged,
    summary::Summary,
};

/// Most readings in a block: two kilobytes, which each new reading of the sensor rewrites.
const READINGS_MAX: usize = 256;
/// Size in bytes beyond which a block takes no further reading.
const BYTES_FULL: usize = 16 << 10;
/// Width of a rollup in microseconds: six hours. A year of rollups is read in a few milliseconds. A
/// sensor that answers once an hour has fewer rollups than readings.
pub(crate) const ROLLUP: i64 = 6 * 3_600 * 1_000_000;

/// Statuses that the first byte of a reading can name. Any other status follows as text.
const STATUSES: [&str; 3] = [SUCCESS, COMM_ERROR, VALUE_ERROR];
const OTHER_STATUS: u8 = 3;
/// Bit of the first byte: the unit differs from that of the reading before, and follows.
const OTHER_UNIT: u8 = 4;
/// Bit of the first byte: the reading has flags, which follow.
const HAS_FLAGS: u8 = 8;

/// A block being packed.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    unit: Option<Box<str>>,
    key: Key,
}

impl Writer {
    /// Appends a reading.
    pub(crate) fn push(&mut self, reading: &BlockReading<'_>) {
        let bytes = &mut self.bytes;
        let known = STATUSES.iter().zip(0_u8..).find(|(status, _)| **status == reading.status);
        let status = known.map_or(OTHER_STATUS, |(_, number)| number);
        let is_other_unit = self.unit.as_deref() != reading.unit;
        let has = |is_there, bit| if is_there { bit } else { 0 };
        let is_flagged = has(reading.flags.is_some(), HAS_FLAGS);
        bytes.push(status | has(is_other_unit, OTHER_UNIT) | is_flagged);
        let (at, leaf) = reading.key();
        codec::put_signed(bytes, at - self.key.0);
        codec::put_signed(bytes, leaf - self.key.1);
        if status == OTHER_STATUS {
            codec::put_text(bytes, reading.status);
        }
        if is_other_unit {
            codec::put(bytes, u64::from(reading.unit.is_some()));
            codec::put_text(bytes, reading.unit.unwrap_or_default());
            self.unit = reading.unit.map(Box::from);
        }
        if let Some(flags) = reading.flags {
            codec::put_text(bytes, flags);
        }
        codec::put_text(bytes, reading.value);
        self.key = (at, leaf);
    }

    /// The packed readings.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Key of the last reading.
    pub(crate) const fn key(&self) -> Key {
        self.key
    }
}

/// Unpacks the readings of a block.
pub(crate) fn unpack(bytes: &[u8]) -> rusqlite::Result<Vec<BlockReading<'_>>> {
    try_unpack(bytes).ok_or_else(|| damaged("a block of readings"))
}

fn try_unpack(bytes: &[u8]) -> Option<Vec<BlockReading<'_>>> {
    let mut bytes = Bytes(bytes);
    let mut readings = Vec::with_capacity(READINGS_MAX);
    let (mut at, mut leaf, mut unit) = (0_i64, 0_i64, None);
    while !bytes.is_empty() {
        let first = bytes.byte()?;
        at = at.checked_add(bytes.signed()?)?;
        leaf = leaf.checked_add(bytes.signed()?)?;
        let status = match STATUSES.get(usize::from(first & 3)) {
            Some(status) => status,
            None => bytes.text()?,
        };
        if first & OTHER_UNIT != 0 {
            let is_there = bytes.number()? == 1;
            unit = Some(bytes.text()?).filter(|_| is_there);
        }
        let flags = if first & HAS_FLAGS == 0 { None } else { Some(bytes.text()?) };
        let value = bytes.text()?;
        readings.push(BlockReading { at, leaf: leaf.cast_unsigned(), status, flags, unit, value });
    }
    Some(readings)
}

/// Adds readings of one sensor to its blocks, in any order.
pub(crate) fn add(
    connection: &Connection,
    sensor: i64,
    readings: &mut [BlockReading<'_>],
) -> rusqlite::Result<()> {
    readings.sort_unstable_by_key(BlockReading::key);
    let mut rollups: BTreeMap<i64, Summary> = BTreeMap::new();
    for reading in &*readings {
        let rollup = reading.at.div_euclid(ROLLUP);
        rollups.entry(rollup).or_insert(Summary::NOTHING).add(reading);
    }
    for (rollup, summary) in &rollups {
        write_rollup(connection, ADD_TO_ROLLUP, sensor, *rollup, summary)?;
    }
    let mut rest = &*readings;
    while let Some(first) = rest.first() {
        let key = block_for(connection, sensor, first.key())?;
        let next = key.map(|key| block_after(connection, sensor, key)).transpose()?.flatten();
        let belong = rest.partition_point(|reading| next.is_none_or(|next| reading.key() < next));
        // Readings before the first block belong to it too.
        let (belonging, others) = rest.split_at(belong.max(1));
        rest = others;
        let bytes = key.map(|key| take_block(connection, sensor, key)).transpose()?;
        let bytes = bytes.unwrap_or_default();
        let mut merged = unpack(&bytes)?;
        merged.extend(belonging);
        merged.sort_by_key(BlockReading::key);
        write_blocks(connection, sensor, &merged, next.is_none())?;
    }
    Ok(())
}

/// Removes readings of one sensor from its blocks. They are given by their sorted keys.
pub(crate) fn erase(connection: &Connection, sensor: i64, keys: &[Key]) -> rusqlite::Result<()> {
    let mut rest = keys;
    while let Some(first) = rest.first() {
        let Some(key) = block_for(connection, sensor, *first)? else { break };
        let next = block_after(connection, sensor, key)?;
        let within = rest.partition_point(|key| next.is_none_or(|next| *key < next)).max(1);
        let (within, others) = rest.split_at(within);
        rest = others;
        let bytes = take_block(connection, sensor, key)?;
        let mut left = unpack(&bytes)?;
        left.retain(|reading| within.binary_search(&reading.key()).is_err());
        write_blocks(connection, sensor, &left, true)?;
    }
    let mut rollups: Vec<i64> = keys.iter().map(|(at, _)| at.div_euclid(ROLLUP)).collect();
    rollups.dedup();
    for rollup in rollups {
        let mut summary = Summary::NOTHING;
        let span = (rollup * ROLLUP, (rollup + 1) * ROLLUP);
        let visit = |_, part: &Summary| summary.merge(part);
        summarise(connection, Blocks::Full, sensor, span, |_, _| true, visit)?;
        if summary.readings == 0 {
            connection
                .prepare_cached("DELETE FROM rollup WHERE sensor = ?1 AND number = ?2")?
                .execute((sensor, rollup))?;
        } else {
            write_rollup(connection, REPLACE_ROLLUP, sensor, rollup, &summary)?;
        }
    }
    Ok(())
}

const REPLACE_ROLLUP: &str =
    "INSERT OR REPLACE INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const ADD_TO_ROLLUP: &str = "
    INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
        readings = readings + ?3, numbers = numbers + ?4, low = min(low, ?5), high = max(high, ?6), sum = sum + ?7,
        first_leaf = min(first_leaf, ?8), last_leaf = max(last_leaf, ?9)";

fn write_rollup(
    connection: &Connection,
    statement: &str,
    sensor: i64,
    number: i64,
    summary: &Summary,
) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute((
        sensor,
        number,
        summary.readings.cast_signed(),
        summary.numbers.cast_signed(),
        summary.low,
        summary.high,
        summary.sum,
        summary.first_leaf.cast_signed(),
        summary.last_leaf.cast_signed(),
    ))?;
    Ok(())
}

/// The block to which a reading belongs: the last one that begins at or before it, or the first
/// block.
fn block_for(connection: &Connection, sensor: i64, key: Key) -> rusqlite::Result<Option<Key>> {
    let before = connection
        .prepare_cached(
            "SELECT first_at, first FROM block WHERE sensor = ?1 AND (first_at, first) <= (?2, ?3)
             ORDER BY first_at DESC, first DESC LIMIT 1",
        )?
        .query_row((sensor, key.0, key.1), key_of)
        .optional()?;
    if before.is_some() {
        return Ok(before);
    }
    block_after(connection, sensor, key)
}

fn block_after(connection: &Connection, sensor: i64, key: Key) -> rusqlite::Result<Option<Key>> {
    connection
        .prepare_cached(
            "SELECT first_at, first FROM block WHERE sensor = ?1 AND (first_at, first) > (?2, ?3)
             ORDER BY first_at, first LIMIT 1",
        )?
        .query_row((sensor, key.0, key.1), key_of)
        .optional()
}

fn key_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Key> {
    Ok((row.get(0)?, row.get(1)?))
}

fn take_block(connection: &Connection, sensor: i64, key: Key) -> rusqlite::Result<Vec<u8>> {
    connection
        .prepare_cached(
            "DELETE FROM block WHERE sensor = ?1 AND first_at = ?2 AND first = ?3 RETURNING bytes",
        )?
        .query_row((sensor, key.0, key.1), |row| row.get(0))
}

/// Writes sorted readings as blocks. At the end of a series it fills the blocks, because later
/// readings follow behind; elsewhere it splits them evenly.
fn write_blocks(
    connection: &Connection,
    sensor: i64,
    readings: &[BlockReading<'_>],
    is_end: bool,
) -> rusqlite::Result<()> {
    let blocks = readings.len().div_ceil(READINGS_MAX).max(1);
    let most = if is_end { READINGS_MAX } else { readings.len().div_ceil(blocks) };
    let mut rest = readings;
    while let Some(first) = rest.first() {
        let mut block = Writer::default();
        let mut len = 0;
        for reading in rest.iter().take(most) {
            if block.bytes.len() >= BYTES_FULL {
                break;
            }
            block.push(reading);
            len += 1;
        }
        let (written, others) = rest.split_at(len);
        rest = others;
        let summary = Summary::of(written);
        connection
            .prepare_cached(
                "INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute((
                sensor,
                first.at,
                first.leaf.cast_signed(),
                block.key.0,
                summary.readings.cast_signed(),
                summary.numbers.cast_signed(),
                summary.low,
                summary.high,
                summary.sum,
                summary.first_leaf.cast_signed(),
                summary.last_leaf.cast_signed(),
                block.bytes,
            ))?;
    }
    Ok(())
}

/// Where to look for the first reading at or after `from`: the start of the last block before it,
/// or `from` itself.
pub(crate) fn start_of(connection: &Connection, sensor: i64, from: i64) -> rusqlite::Result<i64> {
    let before: Option<i64> = connection
        .prepare_cached(
            "SELECT first_at FROM every_block WHERE sensor = ?1 AND first_at < ?2 ORDER BY first_at DESC LIMIT 1",
        )?
        .query_row((sensor, from), |row| row.get(0))
        .optional()?;
    Ok(before.unwrap_or(from))
}

/// Which blocks are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blocks {
    /// All of a series.
    Every,
    /// Those that rollups sum up.
    Full,
    /// The newest readings, which no rollup sums up yet.
    Newest,
}

impl Blocks {
    const fn table(self) -> &'static str {
        match self {
            Self::Every => "every_block",
            Self::Full => "block",
            Self::Newest => "newest",
        }
    }
}

/// Summarises the readings of a span. `together` decides by the first and last time of a block
/// whether `visit` gets the block's summary, with its first time. If not, `visit` gets its readings
/// one by one.
pub(crate) fn summarise(
    connection: &Connection,
    blocks: Blocks,
    sensor: i64,
    (from, to): (i64, i64),
    together: impl Fn(i64, i64) -> bool,
    mut visit: impl FnMut(i64, &Summary),
) -> rusqlite::Result<()> {
    let mut select: CachedStatement<'_> = connection.prepare_cached(&format!(
        "SELECT first_at, last_at, readings, numbers, low, high, sum, first_leaf, last_leaf, bytes, first FROM {}
         WHERE sensor = ?1 AND first_at >= ?2 AND first_at < ?3 AND readings > 0 ORDER BY first_at, first",
        blocks.table()
    ))?;
    let start = start_of(connection, sensor, from)?;
    let mut rows = select.query((sensor, start, to))?;
    while let Some(row) = rows.next()? {
        let (first_at, last_at) = (row.get(0)?, row.get(1)?);
        if from <= first_at && last_at < to && together(first_at, last_at) {
            visit(first_at, &Summary::from_columns(row, 2)?);
            continue;
        }
        let readings = unpack(row.get_ref(9)?.as_blob()?)?;
        for reading in readings.iter().filter(|reading| (from..to).contains(&reading.at)) {
            visit(reading.at, &Summary::of([reading]));
        }
    }
    Ok(())
}

/// The columns beside the bytes of a block.
#[derive(Debug, PartialEq)]
pub(crate) struct Columns {
    pub(crate) first: Key,
    last_at: i64,
    summary: Summary,
}

impl Columns {
    /// The columns that these readings must have.
    pub(crate) fn of(readings: &[BlockReading<'_>]) -> Self {
        Self {
            first: readings.first().map_or((0, 0), BlockReading::key),
            last_at: readings.last().map_or(0, |last| last.at),
            summary: Summary::of(readings),
        }
    }
}

/// Calls `visit` with each block of a sensor, in order, and whether rollups sum it up.
pub(crate) fn each_block(
    connection: &Connection,
    sensor: i64,
    mut visit: impl FnMut(bool, Columns, &[BlockReading<'_>]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    for blocks in [Blocks::Full, Blocks::Newest] {
        let mut select = connection.prepare_cached(&format!(
            "SELECT first_at, first, last_at, readings, numbers, low, high, sum, first_leaf, last_leaf, bytes FROM {}
             WHERE sensor = ?1 ORDER BY first_at, first",
            blocks.table()
        ))?;
        let mut rows = select.query([sensor])?;
        while let Some(row) = rows.next()? {
            let columns = Columns {
                first: (row.get(0)?, row.get(1)?),
                last_at: row.get(2)?,
                summary: Summary::from_columns(row, 3)?,
            };
            let readings = unpack(row.get_ref(10)?.as_blob()?)?;
            // A row without readings holds numbers alone.
            if blocks == Blocks::Full || !readings.is_empty() || columns.summary.readings > 0 {
                visit(blocks == Blocks::Full, columns, &readings)?;
            }
        }
    }
    Ok(())
}

/// Calls `visit` with each rollup of a sensor.
pub(crate) fn each_rollup(
    connection: &Connection,
    sensor: i64,
    mut visit: impl FnMut(i64, &Summary),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT number, readings, numbers, low, high, sum, first_leaf, last_leaf FROM rollup WHERE sensor = ?1",
    )?;
    let mut rows = select.query([sensor])?;
    while let Some(row) = rows.next()? {
        visit(row.get(0)?, &Summary::from_columns(row, 1)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_block_gives_back_what_it_was_given(
            readings in vec((any::<i32>(), any::<u32>(), "SUCCESS|COMM_ERROR|odd", option::of("°C|"), option::of("too_early|"), any::<String>()), 0..20)
        ) {
            let readings: Vec<BlockReading<'_>> = readings.iter().map(|(at, leaf, status, unit, flags, value)| BlockReading {
                at: i64::from(*at), leaf: u64::from(*leaf), status, flags: flags.as_deref(), unit: unit.as_deref(), value,
            }).collect();
            let mut block = Writer::default();
            readings.iter().for_each(|reading| block.push(reading));
            prop_assert_eq!(unpack(&block.bytes).unwrap(), readings);
        }

        #[test]
        fn nothing_on_disk_makes_it_panic(bytes: Vec<u8>) {
            let _ = try_unpack(&bytes);
        }
    }
}
