//! Writes batches of envelopes into the index file.

use std::{
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    time::Duration,
};

use model::LogId;
use rusqlite::Connection;

use crate::{
    batch::IndexBatch,
    block_reading::Key,
    channels, chunk,
    dictionary::{self, RecentKeys},
    error::{IndexError, Trouble},
    leaves::{self, InSeries},
    newest, postings,
    reader::Reader,
    schema::{self, Entry, FoundEntry},
    sensors, series,
    set::Set,
    tail::Tail,
};

/// Applies the log to the index. An index has one indexer at a time.
#[derive(Debug)]
pub struct Indexer {
    path: PathBuf,
    log: LogId,
    connection: Connection,
    next_leaf: u64,
    /// Number of leaves that could not be indexed.
    passed_over: u64,
    /// Whether bytes of erased envelopes may remain in the file.
    forgets: bool,
    /// `None` after a failure, until the next batch: it may hold parts of a transaction that was
    /// undone.
    memory: Option<Memory>,
}

/// Parts of the file that the writer holds in memory.
#[derive(Debug)]
struct Memory {
    tail: Tail,
    leaves: leaves::Rows,
    newest: newest::Rows,
    terms: RecentKeys,
}

impl Memory {
    fn load(connection: &Connection, next_leaf: u64) -> rusqlite::Result<Self> {
        Ok(Self {
            tail: Tail::load(connection, next_leaf)?,
            leaves: leaves::Rows::load(connection, next_leaf)?,
            newest: newest::Rows::default(),
            terms: RecentKeys::new(RecentKeys::MAX),
        })
    }
}

impl Indexer {
    /// How long [`forget`](Self::forget) waits for readers: longer than a question takes.
    const READERS_WAIT: Duration = Duration::from_secs(1);

    /// Opens the index of the log with this id, or creates one. `entry_of` gives the log's entry
    /// of the last applied leaf. If it differs from the index's, or the log has no such leaf, the
    /// index follows a history that the log has lost, and it is rebuilt. A damaged index is rebuilt
    /// too.
    ///
    /// # Errors
    /// The file or the log cannot be read. Nothing was deleted.
    pub fn open(
        path: &Path,
        log: LogId,
        entry_of: impl FnOnce(u64) -> FoundEntry,
    ) -> Result<Self, IndexError> {
        let connection = schema::open(path, log, entry_of)?;
        match Self::of(connection, path, log) {
            Err(error) if error.trouble() == Trouble::Damage => {
                Self::of(schema::begin(path, log)?, path, log)
            }
            opened => opened,
        }
    }

    /// Moves the write-ahead log into the file, so that anyone who reads the file alone sees
    /// everything. If a reader prevents this, the next start does it.
    pub fn close(self) {
        let _left_to_the_next_start =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// Deletes a damaged file and starts an empty index at the log's first leaf. If this fails
    /// there is no file, and nothing can be applied until a later call succeeds.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin_anew(&mut self) -> Result<(), IndexError> {
        let failed = IndexError::while_("starting over");
        // Close the old file first, because SQLite then removes its write-ahead log.
        self.connection = Connection::open_in_memory().map_err(failed)?;
        let connection = schema::begin(&self.path, self.log)?;
        *self = Self::of(connection, &self.path, self.log)?;
        Ok(())
    }

    fn of(connection: Connection, path: &Path, log: LogId) -> Result<Self, IndexError> {
        let opened = || {
            connection.busy_timeout(Self::READERS_WAIT)?;
            let (next_leaf, forgets) =
                connection.query_row("SELECT next_leaf, forgets FROM log", [], |row| {
                    Ok((row.get(0).map(i64::cast_unsigned)?, row.get(1)?))
                })?;
            let passed_over = passed_over(&connection)?;
            Ok((next_leaf, forgets, passed_over, Memory::load(&connection, next_leaf)?))
        };
        let (next_leaf, forgets, passed_over, memory) =
            opened().map_err(IndexError::while_("opening"))?;
        let path = path.to_owned();
        let memory = Some(memory);
        Ok(Self { path, log, connection, next_leaf, passed_over, forgets, memory })
    }

    /// Opens a reader of the same file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn reader(&self) -> Result<Reader, IndexError> {
        Reader::open(&self.path)
    }

    /// The first leaf that is not applied.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// Number of leaves that could not be indexed.
    #[must_use]
    pub const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Applies a batch, which must begin with [`next_leaf`](Self::next_leaf). `last_entry` is the
    /// log's entry of the last leaf of the batch.
    ///
    /// # Errors
    /// The transaction failed, and nothing of the batch was applied.
    ///
    /// # Panics
    /// The batch begins with another leaf.
    pub fn apply(&mut self, batch: &IndexBatch, last_entry: Entry) -> Result<(), IndexError> {
        assert_eq!(batch.first_leaf(), self.next_leaf, "batches are applied in the log's order");
        self.try_apply(batch, last_entry).map_err(IndexError::while_("applying"))
    }

    fn try_apply(&mut self, batch: &IndexBatch, last_entry: Entry) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut memory = match self.memory.take() {
            Some(memory) => memory,
            None => Memory::load(&transaction, self.next_leaf)?,
        };
        let next_leaf = batch.next_leaf();
        memory.take_in(&transaction, batch)?;
        transaction
            .prepare_cached("UPDATE log SET next_leaf = ?1, last_entry = ?2")?
            .execute((next_leaf.cast_signed(), last_entry))?;
        let there = |range: &RangeInclusive<u64>| {
            *range.start()..range.end().saturating_add(1).min(next_leaf)
        };
        let ranges = batch.erased.iter().map(there);
        let ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
        let erased = memory.erase(&transaction, &ranges)?;
        if erased {
            transaction.execute("UPDATE log SET forgets = 1", [])?;
        }
        let passed_over = if erased || !batch.passed_over.is_empty() {
            passed_over(&transaction)?
        } else {
            self.passed_over
        };
        transaction.commit()?;
        self.memory = Some(memory);
        self.next_leaf = next_leaf;
        self.passed_over = passed_over;
        self.forgets |= erased;
        Ok(())
    }

    /// Whether bytes of erased envelopes may remain in the file.
    #[must_use]
    pub const fn has_to_forget(&self) -> bool {
        self.forgets
    }

    /// Rewrites the whole file if envelopes were erased since the last rewrite. SQLite leaves
    /// copies of rows that it moved, and does not overwrite them when it deletes a row. Takes some
    /// seconds for a hundred megabytes. Returns `false` if a reader held the old file; call again
    /// then.
    ///
    /// # Errors
    /// SQLite fails, or the disk has no room for a second copy of the file.
    pub fn forget(&mut self) -> Result<bool, IndexError> {
        self.try_forget().map_err(IndexError::while_("forgetting"))
    }

    fn try_forget(&mut self) -> rusqlite::Result<bool> {
        if !self.forgets {
            return Ok(true);
        }
        self.connection.execute_batch("VACUUM")?;
        let is_busy = |connection: &Connection| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        };
        if is_busy(&self.connection)? {
            return Ok(false);
        }
        self.connection.execute("UPDATE log SET forgets = 0", [])?;
        self.forgets = false;
        Ok(true)
    }
}

impl Memory {
    fn take_in(&mut self, connection: &Connection, batch: &IndexBatch) -> rusqlite::Result<()> {
        let terms = dictionary::keys(connection, &mut self.terms, &batch.terms)?;
        let sensors = self.newest.keys(connection, batch.sensors.keys())?;
        sensors::take_in(connection, batch, &sensors)?;
        let key = |place: u32| sensors.get(place as usize).copied();
        let channels = batch.channels.iter().filter_map(|(series, (sensor, name))| {
            Some((key(*sensor)?, name.as_str(), key(*series)?))
        });
        channels::take_in(connection, channels)?;

        for (leaf, content) in (batch.first_leaf()..).zip(&batch.leaves) {
            if content.received_at.is_some() {
                let places = batch.terms_of(content).iter();
                let keys = places.filter_map(|place| terms.get(*place as usize)).copied();
                self.tail.push(leaf, keys);
            }
            self.tail.go_on(connection, leaf + 1)?;
            let in_series =
                |(sensor, at)| Some(InSeries { sensor: *sensors.get(sensor as usize)?, at });
            let reading = content.reading.and_then(in_series);
            self.leaves.push(connection, content.received_at, reading)?;
        }
        self.tail.write(connection, batch.pairs())?;
        self.leaves.write(connection)?;
        for (leaf, reason) in &batch.passed_over {
            connection
                .prepare_cached("INSERT INTO passed_over VALUES (?1, ?2)")?
                .execute((leaf.cast_signed(), reason))?;
        }
        for (place, (sensor, of_sensor)) in batch.sensors.iter().enumerate() {
            let readings = &mut batch.readings(place);
            self.newest.add(connection, *sensor, of_sensor.last_numbers, readings)?;
        }
        Ok(())
    }

    /// Removes all facts of the leaves in the ranges. Returns whether there were any.
    fn erase(&mut self, connection: &Connection, ranges: &[Range<u64>]) -> rusqlite::Result<bool> {
        let chunks = ranges
            .iter()
            .flat_map(|range| chunk::of(range.start)..=chunk::of(range.end.saturating_sub(1)));
        let chunks: BTreeSet<u64> = chunks.collect();
        let mut any = forget_passed_over(connection, ranges)?;
        let mut gone = Vec::new();
        let mut readings = Vec::new();
        for chunk in chunks {
            let leaves = leaves_of_chunk(chunk, ranges);
            if let Some(terms) = postings::erase(connection, &mut self.tail, chunk, &leaves)? {
                any = true;
                gone.extend(terms);
                readings.extend(leaves::erase(connection, &mut self.leaves, chunk, &leaves)?);
            }
        }
        readings.sort_unstable();
        readings.extend(channels::places(connection, &readings)?);
        for of_sensor in readings.chunk_by(|(a, _), (b, _)| a.sensor == b.sensor) {
            let Some((InSeries { sensor, .. }, _)) = of_sensor.first() else { continue };
            let keys = of_sensor.iter().map(|(reading, leaf)| (reading.at, leaf.cast_signed()));
            let mut keys: Vec<Key> = keys.collect();
            keys.sort_unstable();
            newest::erase(connection, *sensor, &keys)?;
            series::erase(connection, *sensor, &keys)?;
        }
        for range in ranges.iter().filter(|_| any) {
            sensors::erase(connection, range)?;
        }
        if !readings.is_empty() {
            channels::forget_empty(connection)?;
        }
        postings::forget_unused(connection, &self.tail, gone)?;
        if any {
            self.newest.clear();
            self.terms.clear();
        }
        Ok(any)
    }
}

/// Number of leaves that could not be indexed.
fn passed_over(connection: &Connection) -> rusqlite::Result<u64> {
    let count = connection
        .prepare_cached("SELECT count(*) FROM passed_over")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    Ok(count.cast_unsigned())
}

/// Removes the reasons for passing over these leaves, because a reason may quote an erased
/// envelope. Returns whether there were any.
fn forget_passed_over(connection: &Connection, ranges: &[Range<u64>]) -> rusqlite::Result<bool> {
    let mut delete =
        connection.prepare_cached("DELETE FROM passed_over WHERE leaf >= ?1 AND leaf < ?2")?;
    let mut any = false;
    for range in ranges {
        any |= delete.execute((range.start.cast_signed(), range.end.cast_signed()))? > 0;
    }
    Ok(any)
}

/// The leaves of a chunk that lie in one of the ranges.
fn leaves_of_chunk(chunk: u64, ranges: &[Range<u64>]) -> Set {
    let start = chunk::first_leaf(chunk);
    let mut leaves = Set::empty(chunk::PLACES);
    for range in ranges.iter().filter(|range| range.end > start) {
        let mut of_range = Set::full(chunk::PLACES);
        of_range.keep(range.start.saturating_sub(start)..range.end - start);
        leaves.unite(&of_range);
    }
    leaves
}
