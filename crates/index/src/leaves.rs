//! The receipt time of each leaf and, for a reading, its sensor and the time it was taken. This
//! table leads from a time to leaves, and from a leaf to its place in a series.
//!
//! A row holds up to 512 consecutive leaves, each as differences from the one before. Leaves are
//! sorted by receipt time.

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    chunk,
    codec::{self, Bytes},
    error::damaged,
    set::Set,
};

/// Most leaves in a row. A search reads one row to find where its window begins, and the writer
/// rewrites the last row with every batch.
const LEAVES_MAX: usize = 512;

/// Place of a reading in its series.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct InSeries {
    pub(crate) sensor: i64,
    pub(crate) at: i64,
}

/// The stored facts of one leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) received_at: i64,
    pub(crate) reading: Option<InSeries>,
}

/// The newest row, which the writer holds in memory.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    first: u64,
    leaves: Vec<Leaf>,
    last_received_at: i64,
}

impl Rows {
    pub(crate) fn load(connection: &Connection, next_leaf: u64) -> rusqlite::Result<Self> {
        let mut rows = Self { first: next_leaf, ..Self::default() };
        if let Some((first, leaves)) = row_before(connection, next_leaf)? {
            rows.last_received_at = leaves.last().map_or(0, |leaf| leaf.received_at);
            if leaves.len() < LEAVES_MAX {
                rows.first = first;
                rows.leaves = leaves;
            }
        }
        Ok(rows)
    }

    /// Adds the next leaf. The leaf of an erased envelope gets the receipt time of the leaf before
    /// it.
    pub(crate) fn push(
        &mut self,
        connection: &Connection,
        received_at: Option<Timestamp>,
        reading: Option<InSeries>,
    ) -> rusqlite::Result<()> {
        if self.leaves.len() == LEAVES_MAX {
            self.write(connection)?;
            self.first += LEAVES_MAX as u64;
            self.leaves.clear();
        }
        let received_at = received_at.map_or(self.last_received_at, Timestamp::unix_micros);
        self.last_received_at = received_at;
        self.leaves.push(Leaf { received_at, reading });
        Ok(())
    }

    /// Writes the pushed leaves. Call it before the transaction ends.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        write(connection, self.first, &self.leaves)
    }
}

fn write(connection: &Connection, first: u64, leaves: &[Leaf]) -> rusqlite::Result<()> {
    let Some(first_at) = leaves.first().map(|leaf| leaf.received_at) else { return Ok(()) };
    let mut bytes = Vec::with_capacity(leaves.len() * 6);
    let mut before = first_at;
    for Leaf { received_at, reading } in leaves {
        codec::put_signed(&mut bytes, received_at - before);
        before = *received_at;
        match reading {
            Some(InSeries { sensor, at }) => {
                codec::put(&mut bytes, sensor.cast_unsigned());
                codec::put_signed(&mut bytes, at - received_at);
            }
            None => codec::put(&mut bytes, NO_READING),
        }
    }
    connection.prepare_cached("INSERT OR REPLACE INTO leaves VALUES (?1, ?2, ?3)")?.execute((
        first.cast_signed(),
        first_at,
        bytes,
    ))?;
    Ok(())
}

/// Marks a leaf that is not a reading. SQLite's keys begin at 1.
const NO_READING: u64 = 0;

fn read(first_at: i64, bytes: &[u8]) -> Option<Vec<Leaf>> {
    let mut bytes = Bytes(bytes);
    let mut leaves = Vec::with_capacity(LEAVES_MAX);
    let mut received_at = first_at;
    while !bytes.is_empty() {
        received_at = received_at.checked_add(bytes.signed()?)?;
        let reading = match bytes.number()? {
            NO_READING => None,
            sensor => Some(InSeries {
                sensor: sensor.cast_signed(),
                at: received_at.checked_add(bytes.signed()?)?,
            }),
        };
        leaves.push(Leaf { received_at, reading });
    }
    Some(leaves)
}

pub(crate) type Row = (u64, Vec<Leaf>);

/// Parses a row of the columns `first`, `first_at` and `leaves`.
pub(crate) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let first: i64 = row.get(0)?;
    let leaves = read(row.get(1)?, row.get_ref(2)?.as_blob()?);
    Ok((first.cast_unsigned(), leaves.ok_or_else(|| damaged("a row of leaves"))?))
}

/// The last row that begins before a leaf.
fn row_before(connection: &Connection, leaf: u64) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(
            "SELECT first, first_at, leaves FROM leaves WHERE first < ?1 ORDER BY first DESC LIMIT 1",
        )?
        .query_row([i64::try_from(leaf).unwrap_or(i64::MAX)], row)
        .optional()
}

/// The first leaf received at or after this time.
pub(crate) fn first_since(connection: &Connection, moment: Timestamp) -> rusqlite::Result<u64> {
    let moment = moment.unix_micros();
    let row = connection
        .prepare_cached(
            "SELECT first, first_at, leaves FROM leaves WHERE first_at < ?1 ORDER BY first_at DESC, first DESC LIMIT 1",
        )?
        .query_row([moment], row)
        .optional()?;
    Ok(row.map_or(0, |(first, leaves)| {
        first + leaves.partition_point(|leaf| leaf.received_at < moment) as u64
    }))
}

/// Removes the readings of some leaves of a chunk. Returns them, each with its leaf.
pub(crate) fn erase(
    connection: &Connection,
    rows: &mut Rows,
    chunk: u64,
    leaves: &Set,
) -> rusqlite::Result<Vec<(InSeries, u64)>> {
    let start = chunk::first_leaf(chunk);
    let range = leaves.places().next().zip(leaves.places().next_back());
    let Some((first, last)) = range else { return Ok(Vec::new()) };
    let is_erased = |leaf| chunk::of(leaf) == chunk && leaves.contains(chunk::place_of(leaf));
    let mut erased = Vec::new();
    let mut end = start + u64::from(last) + 1;
    while start + u64::from(first) < end {
        let Some((first, mut leaves)) = row_before(connection, end)? else { break };
        let before = erased.len();
        for (leaf, content) in (first..).zip(&mut leaves).filter(|(leaf, _)| is_erased(*leaf)) {
            erased.extend(content.reading.take().map(|reading| (reading, leaf)));
        }
        if erased.len() > before {
            write(connection, first, &leaves)?;
            if rows.first == first {
                rows.leaves = leaves;
            }
        }
        end = first;
    }
    Ok(erased)
}
