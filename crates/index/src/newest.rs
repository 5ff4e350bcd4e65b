//! What changes with every reading of a sensor: its newest numbers, and its newest readings, which
//! are not in a block of their series yet.
//!
//! Both are in one row of a table whose rows lie close together. So a reading costs one statement,
//! and a batch with a reading of each of many sensors changes few pages of the file. When a row has
//! enough readings, they move into the sensor's series. The writer holds the rows that it used last
//! in memory.
//!
//! Invariant: the readings of a row are later than those of the sensor's blocks.

use std::collections::HashMap;

use model::{SensorId, Timestamp, completeness::LastNumbers};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    block_reading::{BlockReading, Key},
    series::{self, Writer},
    summary::Summary,
};

/// Readings with which a row is full. Every reading rewrites the row, and every so many readings
/// rewrite a block.
const READINGS_MAX: u64 = 32;
/// Bytes of readings beyond which a row is full, too.
const BYTES_MAX: usize = 1 << 10;
/// Sensors whose rows the writer holds: more than a site has at a time. A row takes half a kilobyte
/// with its readings.
const SENSORS_MAX: usize = 32_768;

/// The rows that the writer used last.
#[derive(Debug, Default)]
pub(crate) struct Rows(HashMap<SensorId, Box<Row>>);

#[derive(Debug)]
struct Row {
    /// Key of the sensor in the other tables.
    key: i64,
    numbers: LastNumbers,
    /// Time of the last reading in a block. Later readings belong into the row.
    blocks_end: i64,
    open: Open,
}

/// Readings that are packed as a block, and are none yet.
#[derive(Debug)]
struct Open {
    block: Writer,
    first: Key,
    summary: Summary,
}

impl Default for Open {
    fn default() -> Self {
        Self { block: Writer::default(), first: (0, 0), summary: Summary::NOTHING }
    }
}

impl Open {
    fn of(readings: &[BlockReading<'_>]) -> Self {
        let mut open = Self::default();
        readings.iter().for_each(|reading| open.push(reading));
        open
    }

    fn push(&mut self, reading: &BlockReading<'_>) {
        if self.summary.readings == 0 {
            self.first = reading.key();
        }
        self.block.push(reading);
        self.summary.add(reading);
    }

    /// Whether the reading follows behind all others.
    fn is_before(&self, reading: &BlockReading<'_>) -> bool {
        self.summary.readings == 0 || self.block.key() < reading.key()
    }

    fn is_full(&self) -> bool {
        self.summary.readings >= READINGS_MAX || self.block.bytes().len() > BYTES_MAX
    }
}

impl Rows {
    /// The keys of these sensors. Sensors that are not in the index get one.
    pub(crate) fn keys<'a>(
        &mut self,
        connection: &Connection,
        sensors: impl IntoIterator<Item = &'a SensorId>,
    ) -> rusqlite::Result<Vec<i64>> {
        sensors.into_iter().map(|sensor| Ok(self.row(connection, *sensor)?.key)).collect()
    }

    fn row(&mut self, connection: &Connection, sensor: SensorId) -> rusqlite::Result<&mut Row> {
        if self.0.len() >= SENSORS_MAX && !self.0.contains_key(&sensor) {
            self.0.clear();
        }
        Ok(match self.0.entry(sensor) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Box::new(Row::load(connection, sensor)?))
            }
        })
    }

    /// Adds what a batch says of a sensor: its newest numbers, and readings in any order.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        sensor: SensorId,
        numbers: LastNumbers,
        readings: &mut [BlockReading<'_>],
    ) -> rusqlite::Result<()> {
        let row = self.row(connection, sensor)?;
        let numbers = LastNumbers { anew: false, ..row.numbers.then(numbers) };
        if readings.is_empty() && numbers == row.numbers {
            return Ok(());
        }
        row.numbers = numbers;
        readings.sort_unstable_by_key(BlockReading::key);
        let late = readings.partition_point(|reading| reading.at <= row.blocks_end);
        let (late, new) = readings.split_at_mut(late);
        series::add(connection, row.key, late)?;
        row.take_in(connection, new)?;
        row.write(connection)
    }

    /// Forgets the rows, because the file was changed in another way.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Row {
    fn load(connection: &Connection, sensor: SensorId) -> rusqlite::Result<Self> {
        let id = sensor.to_string();
        let found = connection
            .prepare_cached("SELECT key FROM sensor WHERE id = ?1")?
            .query_row([&id], |row| row.get(0))
            .optional()?;
        let key = match found {
            Some(key) => key,
            None => connection
                .prepare_cached("INSERT INTO sensor (id) VALUES (?1) RETURNING key")?
                .query_row([&id], |row| row.get(0))?,
        };
        let bytes = bytes_of(connection, key)?.unwrap_or_default();
        let open = Open::of(&series::unpack(&bytes)?);
        let blocks_end = connection
            .prepare_cached(
                "SELECT last_at FROM block WHERE sensor = ?1 ORDER BY first_at DESC, first DESC LIMIT 1",
            )?
            .query_row([key], |row| row.get(0))
            .optional()?;
        let numbers = last_numbers(connection, key)?;
        Ok(Self { key, numbers, blocks_end: blocks_end.unwrap_or(i64::MIN), open })
    }

    /// Adds sorted readings that are later than those in blocks.
    fn take_in(
        &mut self,
        connection: &Connection,
        readings: &[BlockReading<'_>],
    ) -> rusqlite::Result<()> {
        let is_many = self.open.summary.readings + readings.len() as u64 >= READINGS_MAX;
        let is_in_order = readings.first().is_none_or(|first| self.open.is_before(first));
        if !is_many && is_in_order {
            readings.iter().for_each(|reading| self.open.push(reading));
            if !self.open.is_full() {
                return Ok(());
            }
        }
        let former = std::mem::take(&mut self.open);
        let mut all = series::unpack(former.block.bytes())?;
        if is_many || !is_in_order {
            all.extend(readings);
            all.sort_unstable_by_key(BlockReading::key);
        }
        if !is_many {
            let sorted = Open::of(&all);
            if !sorted.is_full() {
                self.open = sorted;
                return Ok(());
            }
        }
        self.blocks_end = all.last().map_or(self.blocks_end, |last| last.at);
        series::add(connection, self.key, &mut all)
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let LastNumbers { poll, seq, numbered_until, set_back, answered, .. } = self.numbers;
        let Open { block, first, summary } = &self.open;
        let is_empty = summary.readings == 0;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO newest VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
            )?
            .execute(rusqlite::params![
                self.key,
                poll.cast_signed(),
                seq.map(u64::cast_signed),
                numbered_until.map(Timestamp::unix_micros),
                set_back,
                answered,
                first.0,
                first.1,
                block.key().0,
                summary.readings.cast_signed(),
                summary.numbers.cast_signed(),
                summary.low,
                summary.high,
                summary.sum,
                if is_empty { 0 } else { summary.first_leaf.cast_signed() },
                summary.last_leaf.cast_signed(),
                block.bytes(),
            ])?;
        Ok(())
    }
}

fn bytes_of(connection: &Connection, key: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bytes FROM newest WHERE sensor = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Removes readings of one sensor from its row. They are given by their sorted keys.
pub(crate) fn erase(connection: &Connection, key: i64, erased: &[Key]) -> rusqlite::Result<()> {
    let Some(bytes) = bytes_of(connection, key)? else { return Ok(()) };
    let mut left = series::unpack(&bytes)?;
    let before = left.len();
    left.retain(|reading| erased.binary_search(&reading.key()).is_err());
    if left.len() == before {
        return Ok(());
    }
    let numbers = last_numbers(connection, key)?;
    // The end of the blocks is not written.
    Row { key, numbers, blocks_end: i64::MIN, open: Open::of(&left) }.write(connection)
}

/// Columns of a sensor's newest numbers.
pub(crate) const LAST_NUMBERS: &str = "poll, seq, numbered_until, set_back, answered";

/// Reads [`LAST_NUMBERS`] from the columns that begin at `first`.
pub(crate) fn read_last_numbers(
    row: &rusqlite::Row<'_>,
    first: usize,
) -> rusqlite::Result<LastNumbers> {
    let seq: Option<i64> = row.get(first + 1)?;
    let numbered_until: Option<i64> = row.get(first + 2)?;
    Ok(LastNumbers {
        poll: row.get(first).map(i64::cast_unsigned)?,
        seq: seq.map(i64::cast_unsigned),
        numbered_until: numbered_until.map(Timestamp::from_unix_micros),
        set_back: row.get(first + 3)?,
        answered: row.get(first + 4)?,
        ..LastNumbers::default()
    })
}

/// The newest numbers of a sensor.
pub(crate) fn last_numbers(connection: &Connection, key: i64) -> rusqlite::Result<LastNumbers> {
    let found = connection
        .prepare_cached(&format!("SELECT {LAST_NUMBERS} FROM newest WHERE sensor = ?1"))?
        .query_row([key], |row| read_last_numbers(row, 0))
        .optional()?;
    Ok(found.unwrap_or_default())
}
