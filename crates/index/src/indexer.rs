//! From envelopes to rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    time::Duration,
};

use model::{Envelope, Event, Timestamp, action};
use rusqlite::Connection;

use crate::{
    Entry, IndexError, Reader,
    dictionary::{Dictionary, TermKey},
    field,
    leaves::{self, InSeries},
    postings::{self, Tail},
    schema,
    sensors::{self, Sensors},
    series::{self, Stored},
    set::Set,
};

/// Applies the log to the index. There is one.
#[derive(Debug)]
pub struct Indexer {
    path: PathBuf,
    connection: Connection,
    next_leaf: u64,
    /// Whether bytes of what was erased may still lie in the file.
    forgets: bool,
    memory: Memory,
}

/// What the writer keeps at hand of the file.
#[derive(Debug)]
struct Memory {
    dictionary: Dictionary,
    tail: Tail,
    leaves: leaves::Rows,
    sensors: Sensors,
}

impl Memory {
    fn load(connection: &Connection, next_leaf: u64) -> rusqlite::Result<Self> {
        Ok(Self {
            dictionary: Dictionary::default(),
            tail: Tail::load(connection, next_leaf)?,
            leaves: leaves::Rows::load(connection, next_leaf)?,
            sensors: Sensors::default(),
        })
    }
}

/// A reading that waits for the end of its batch.
#[derive(Debug)]
struct Waiting {
    at: i64,
    leaf: u64,
    status: String,
    unit: Option<String>,
    value: String,
}

impl Waiting {
    fn stored(&self) -> Stored<'_> {
        Stored {
            at: self.at,
            leaf: self.leaf,
            status: &self.status,
            unit: self.unit.as_deref(),
            value: &self.value,
        }
    }
}

/// What a batch comes to.
#[derive(Debug, Default)]
struct Batch {
    terms: Vec<TermKey>,
    readings: BTreeMap<i64, Vec<Waiting>>,
    erased: Vec<RangeInclusive<u64>>,
}

impl Indexer {
    /// Leaves with which a batch is best: what they have in common is written once for all.
    pub const BATCH_BEST: usize = postings::CHUNK / 2;
    /// How long [`forget`](Self::forget) waits for readers: longer than a question takes.
    const READERS_WAIT: Duration = Duration::from_secs(1);

    /// Opens the index of the log with this key, or makes one. `entry_of` is asked for the log's entry of the last leaf that was applied: if it is
    /// another, or if there is none, the index is of a history that the log has lost, and is made anew.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(
        path: &Path,
        vkey: &str,
        entry_of: impl FnOnce(u64) -> Option<Entry>,
    ) -> Result<Self, IndexError> {
        Self::try_open(path, vkey, entry_of).map_err(IndexError::while_("opening"))
    }

    fn try_open(
        path: &Path,
        vkey: &str,
        entry_of: impl FnOnce(u64) -> Option<Entry>,
    ) -> rusqlite::Result<Self> {
        let connection = schema::open(path, vkey, entry_of)?;
        connection.busy_timeout(Self::READERS_WAIT)?;
        let (next_leaf, forgets) =
            connection.query_row("SELECT next_leaf, forgets FROM log", [], |row| {
                Ok((row.get(0).map(i64::cast_unsigned)?, row.get(1)?))
            })?;
        let memory = Memory::load(&connection, next_leaf)?;
        Ok(Self { path: path.to_owned(), connection, next_leaf, forgets, memory })
    }

    /// A reader of the same file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn reader(&self) -> Result<Reader, IndexError> {
        Reader::open(&self.path)
    }

    /// The first leaf that was not applied.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// Applies envelopes that follow each other, the first of which is [`next_leaf`](Self::next_leaf); `None` is one that was erased, or is no envelope, as
    /// `verify` would say. `last_entry` is the log's entry of the last of them.
    ///
    /// # Errors
    /// Nothing of the batch was applied.
    pub fn apply(
        &mut self,
        envelopes: impl IntoIterator<Item = Option<Envelope>>,
        last_entry: Entry,
    ) -> Result<(), IndexError> {
        let applied = self.apply_all(envelopes, last_entry).or_else(|error| {
            // What is at hand may be of the transaction that failed.
            self.memory = Memory::load(&self.connection, self.next_leaf)?;
            Err(error)
        });
        applied.map_err(IndexError::while_("applying"))
    }

    fn apply_all(
        &mut self,
        envelopes: impl IntoIterator<Item = Option<Envelope>>,
        last_entry: Entry,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let memory = &mut self.memory;
        let mut batch = Batch::default();
        let mut next_leaf = self.next_leaf;
        for envelope in envelopes {
            match envelope {
                Some(envelope) => {
                    memory.envelope(&transaction, &mut batch, next_leaf, envelope)?;
                }
                None => memory.leaves.push(&transaction, None, None)?,
            }
            next_leaf += 1;
            memory.tail.go_on(&transaction, next_leaf)?;
        }
        memory.write(&transaction, &batch)?;
        transaction.execute(
            "UPDATE log SET next_leaf = ?1, last_entry = ?2",
            (next_leaf.cast_signed(), last_entry),
        )?;
        let there = |range: RangeInclusive<u64>| {
            *range.start()..range.end().saturating_add(1).min(next_leaf)
        };
        let ranges = batch.erased.into_iter().map(there);
        let ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
        let erased = memory.erase(&transaction, &ranges)?;
        if erased {
            // Terms that went with their last event may still be known here.
            memory.dictionary = Dictionary::default();
            transaction.execute("UPDATE log SET forgets = 1", [])?;
        }
        transaction.commit()?;
        self.next_leaf = next_leaf;
        self.forgets |= erased;
        Ok(())
    }

    /// Whether something was erased whose bytes may still lie about in the file.
    #[must_use]
    pub const fn has_to_forget(&self) -> bool {
        self.forgets
    }

    /// Writes the whole file anew, if anything was erased since it last was: SQLite leaves copies of rows that it moved, which it does not
    /// overwrite when the row is deleted. Takes some seconds for a hundred megabytes. Answers `false` if a reader held the old file; try again
    /// then.
    ///
    /// # Errors
    /// SQLite fails, or the disk has no room for the file a second time.
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
    fn envelope(
        &mut self,
        connection: &Connection,
        batch: &mut Batch,
        leaf: u64,
        envelope: Envelope,
    ) -> rusqlite::Result<()> {
        let Envelope { event, received_at, salt: _ } = envelope;
        let mut failed = Ok(());
        batch.terms.clear();
        field::terms(&event, |field, text| match self.dictionary.key(connection, field, text) {
            Ok(key) => batch.terms.push(key),
            Err(error) => failed = Err(error),
        });
        failed?;
        self.tail.push(leaf, &batch.terms);
        batch.erased.extend(erased(&event));
        let sensor = event.sensor();
        let sensor = sensor
            .map(|sensor| self.sensors.see(connection, leaf, sensor, &event))
            .transpose()?
            .flatten();
        let reading = sensor.and_then(|sensor| Some((sensor, reading(leaf, event, received_at)?)));
        let place =
            reading.as_ref().map(|(sensor, reading)| InSeries { sensor: *sensor, at: reading.at });
        self.leaves.push(connection, Some(received_at), place)?;
        if let Some((sensor, reading)) = reading {
            batch.readings.entry(sensor).or_default().push(reading);
        }
        Ok(())
    }

    fn write(&mut self, connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
        self.dictionary.write_grams(connection)?;
        self.tail.write(connection)?;
        self.leaves.write(connection)?;
        self.sensors.write_last_numbers(connection)?;
        for (sensor, readings) in &batch.readings {
            let mut readings: Vec<_> = readings.iter().map(Waiting::stored).collect();
            series::add(connection, *sensor, &mut readings)?;
        }
        Ok(())
    }

    /// Removes what there is of ranges of leaves. Answers whether there was anything.
    fn erase(&mut self, connection: &Connection, ranges: &[Range<u64>]) -> rusqlite::Result<bool> {
        let chunks = ranges.iter().flat_map(|range| {
            postings::chunk_of(range.start)..=postings::chunk_of(range.end.saturating_sub(1))
        });
        let chunks: BTreeSet<u64> = chunks.collect();
        let mut any = false;
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
        for of_sensor in readings.chunk_by(|(a, _), (b, _)| a.sensor == b.sensor) {
            let Some((InSeries { sensor, .. }, _)) = of_sensor.first() else { continue };
            series::erase(connection, *sensor, of_sensor)?;
        }
        for range in ranges.iter().filter(|_| any) {
            sensors::erase(connection, range)?;
        }
        postings::forget_unused(connection, &self.tail, gone)?;
        Ok(any)
    }
}

/// Which leaves of a chunk are in one of the ranges.
fn leaves_of_chunk(chunk: u64, ranges: &[Range<u64>]) -> Set {
    let start = postings::first_leaf(chunk);
    let mut leaves = Set::empty(postings::CHUNK);
    for range in ranges.iter().filter(|range| range.end > start) {
        let mut of_range = Set::full(postings::CHUNK);
        of_range.keep(range.start.saturating_sub(start)..range.end - start);
        leaves.unite(&of_range);
    }
    leaves
}

/// The leaves that an event says were erased.
fn erased(event: &Event) -> Vec<RangeInclusive<u64>> {
    if event.action.as_deref() != Some(action::ENVELOPES_ERASED) {
        return Vec::new();
    }
    let detail = event.sealwire.as_ref();
    let ranges = detail.and_then(|detail| detail.erased.as_deref()).unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    ranges.split(',').filter_map(range).collect()
}

/// The reading of an event, if it is one. Another program may seal an event under our action: what has no status is an event and nothing more.
fn reading(leaf: u64, event: Event, received_at: Timestamp) -> Option<Waiting> {
    let status =
        event.status.filter(|_| event.action.as_deref() == Some(action::SENSOR_READING))?;
    let at = event.timestamp.as_deref().and_then(|text| text.parse().ok()).unwrap_or(received_at);
    Some(Waiting {
        at: Timestamp::unix_micros(at),
        leaf,
        status,
        unit: event.sealwire.and_then(|detail| detail.unit),
        value: event.new.unwrap_or_default(),
    })
}
