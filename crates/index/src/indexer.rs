//! From envelopes to rows.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use model::{
    Envelope, Event, SensorId, Timestamp, action, completeness::LastNumbers, derive::Standing,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::{IndexError, Reader, schema};

/// Applies the log to the index. There is one.
#[derive(Debug)]
pub struct Indexer {
    path: PathBuf,
    connection: Connection,
    next_leaf: u64,
    /// Keys of names and sensors that were looked up before.
    names: HashMap<String, i64>,
    sensors: HashMap<SensorId, i64>,
}

impl Indexer {
    /// Names that are kept at hand; beyond it they are forgotten and looked up again.
    const NAMES_MAX: usize = 10_000;

    /// Opens the index of the log with this key, which has `size` leaves, or makes one.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: &Path, vkey: &str, size: u64) -> Result<Self, IndexError> {
        let failed = IndexError::while_("opening");
        let connection = schema::open(path, vkey, size).map_err(&failed)?;
        let next_leaf: i64 = connection
            .query_row("SELECT next_leaf FROM log", [], |row| row.get(0))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            next_leaf: next_leaf.cast_unsigned(),
            names: HashMap::new(),
            sensors: HashMap::new(),
        })
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

    /// Applies envelopes that follow each other, the first of which is [`next_leaf`](Self::next_leaf); `None` is one that was erased. What is no envelope is
    /// passed over; `verify` names it.
    ///
    /// # Errors
    /// Nothing of the batch was applied.
    pub fn apply<'a>(
        &mut self,
        envelopes: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), IndexError> {
        let applied = self.apply_all(envelopes).map_err(IndexError::while_("applying"));
        if applied.is_err() || self.names.len() > Self::NAMES_MAX {
            // Keys that were given out in a transaction that failed are gone with it.
            self.names.clear();
            self.sensors.clear();
        }
        applied
    }

    fn apply_all<'a>(
        &mut self,
        envelopes: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut rows = Rows {
            transaction: &transaction,
            names: &mut self.names,
            sensors: &mut self.sensors,
            last_numbers: BTreeMap::new(),
        };
        let mut next_leaf = self.next_leaf;
        let mut erased = false;
        for bytes in envelopes {
            if let Some(Ok(envelope)) = bytes.map(Envelope::parse) {
                rows.envelope(next_leaf.cast_signed(), &envelope)?;
                erased |= rows.erase(&envelope)?;
            }
            next_leaf += 1;
        }
        rows.write_last_numbers()?;
        transaction.execute("UPDATE log SET next_leaf = ?1", [next_leaf.cast_signed()])?;
        transaction.commit()?;
        self.next_leaf = next_leaf;
        if erased {
            // Names that went with their last event may still be known here, and everything in the write-ahead log.
            self.names.clear();
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    names: &'a mut HashMap<String, i64>,
    sensors: &'a mut HashMap<SensorId, i64>,
    /// Those of this batch, written once at its end.
    last_numbers: BTreeMap<SensorId, LastNumbers>,
}

impl Rows<'_> {
    /// Removes the rows of what was erased, if the event says that something was.
    fn erase(&mut self, envelope: &Envelope) -> rusqlite::Result<bool> {
        if envelope.event.action.as_deref() != Some(action::ENVELOPES_ERASED) {
            return Ok(false);
        }
        let detail = envelope.event.sealwire.as_ref();
        let ranges = detail.and_then(|detail| detail.erased.as_deref()).unwrap_or_default();
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) else {
                continue;
            };
            for statement in [
                "DELETE FROM reading WHERE leaf BETWEEN ?1 AND ?2",
                "DELETE FROM event WHERE leaf BETWEEN ?1 AND ?2",
            ] {
                self.transaction.prepare_cached(statement)?.execute((first, last))?;
            }
        }
        self.transaction.execute(
            "DELETE FROM name WHERE NOT EXISTS (SELECT 1 FROM event WHERE action = key)
                AND NOT EXISTS (SELECT 1 FROM event WHERE source = key)
                AND NOT EXISTS (SELECT 1 FROM event WHERE status = key)",
            [],
        )?;
        self.names.clear();
        Ok(true)
    }

    fn envelope(&mut self, leaf: i64, envelope: &Envelope) -> rusqlite::Result<()> {
        let event = &envelope.event;
        let (action, source, status) = (
            self.name(event.action.as_deref())?,
            self.name(event.source.as_deref())?,
            self.name(event.status.as_deref())?,
        );
        self.transaction
            .prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((leaf, envelope.received_at.unix_micros(), action, source, status))?;
        let (Some(sensor), Some(action)) = (event.sensor(), event.action.as_deref()) else {
            return Ok(());
        };
        let last = self.last_numbers.entry(sensor).or_default();
        *last = last.after(event);
        match action {
            action::SENSOR_READING => self.reading(leaf, sensor, envelope, status),
            action::SENSOR_DISCOVERED | action::SENSOR_CHANGED => self.heartbeat(sensor, event),
            action::HEARTBEAT_RESUMED => self.state(sensor, "online"),
            action::HEARTBEAT_MISSED => self.state(sensor, "lost"),
            action::SENSOR_DISCONNECTED => self.state(sensor, "disconnected"),
            _ => self.derived(sensor, action),
        }
    }

    fn reading(
        &mut self,
        leaf: i64,
        sensor: SensorId,
        envelope: &Envelope,
        status: Option<i64>,
    ) -> rusqlite::Result<()> {
        // Another program may seal an event under our action: what is no reading of a known sensor is an event and nothing more.
        let (Some(key), Some(status)) = (self.sensor(sensor)?, status) else { return Ok(()) };
        let event = &envelope.event;
        let at = event
            .timestamp
            .as_deref()
            .and_then(|text| text.parse().ok())
            .unwrap_or(envelope.received_at);
        self.transaction
            .prepare_cached("INSERT INTO reading VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((
                key,
                Timestamp::unix_micros(at),
                leaf,
                status,
                event.new.as_deref().unwrap_or_default(),
            ))?;
        Ok(())
    }

    /// Moves the newest numbers on, as [`LastNumbers::after`] does.
    fn write_last_numbers(&self) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO last_numbers VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET
                poll = max(poll, ?2), seq = coalesce(?3, seq), numbered_until = coalesce(?4, numbered_until)",
        )?;
        let moved = self.last_numbers.iter().filter(|(_, last)| **last != LastNumbers::default());
        for (sensor, LastNumbers { poll, seq, numbered_until }) in moved {
            statement.execute((
                sensor.to_string(),
                poll.cast_signed(),
                seq.map(u64::cast_signed),
                numbered_until.map(Timestamp::unix_micros),
            ))?;
        }
        Ok(())
    }

    fn heartbeat(&self, sensor: SensorId, event: &Event) -> rusqlite::Result<()> {
        let heartbeat = event
            .sealwire
            .as_ref()
            .and_then(|detail| detail.heartbeat.as_deref())
            .unwrap_or_default();
        self.transaction
            .prepare_cached(
                "INSERT INTO sensor (id, heartbeat, state, out_of_range, lost) VALUES (?1, ?2, 'online', 0, 0)
                 ON CONFLICT (id) DO UPDATE SET heartbeat = ?2, state = 'online'",
            )?
            .execute((sensor.to_string(), heartbeat))?;
        Ok(())
    }

    fn state(&self, sensor: SensorId, state: &str) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE sensor SET state = ?2 WHERE id = ?1")?
            .execute((sensor.to_string(), state))?;
        Ok(())
    }

    fn derived(&self, sensor: SensorId, action: &str) -> rusqlite::Result<()> {
        let id = sensor.to_string();
        let standing = self
            .transaction
            .prepare_cached("SELECT out_of_range, lost FROM sensor WHERE id = ?1")?
            .query_row([&id], |row| Ok(Standing { out_of_range: row.get(0)?, lost: row.get(1)? }))
            .optional()?;
        let Some(Standing { out_of_range, lost }) = standing.map(|standing| standing.after(action))
        else {
            return Ok(());
        };
        self.transaction
            .prepare_cached("UPDATE sensor SET out_of_range = ?2, lost = ?3 WHERE id = ?1")?
            .execute((id, out_of_range, lost))?;
        Ok(())
    }

    fn name(&mut self, text: Option<&str>) -> rusqlite::Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        if let Some(key) = self.names.get(text) {
            return Ok(Some(*key));
        }
        self.transaction
            .prepare_cached("INSERT OR IGNORE INTO name (text) VALUES (?1)")?
            .execute([text])?;
        let key = self
            .transaction
            .prepare_cached("SELECT key FROM name WHERE text = ?1")?
            .query_row([text], |row| row.get(0))?;
        self.names.insert(text.to_owned(), key);
        Ok(Some(key))
    }

    fn sensor(&mut self, sensor: SensorId) -> rusqlite::Result<Option<i64>> {
        if let Some(key) = self.sensors.get(&sensor) {
            return Ok(Some(*key));
        }
        let key = self
            .transaction
            .prepare_cached("SELECT key FROM sensor WHERE id = ?1")?
            .query_row([sensor.to_string()], |row| row.get(0))
            .optional()?;
        if let Some(key) = key {
            self.sensors.insert(sensor, key);
        }
        Ok(key)
    }
}
