//! Questions to the index.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{
    Heartbeat, SensorId, Timestamp,
    completeness::LastNumbers,
    derive::Standing,
    query::{LogsQuery, ReadingsQuery},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, types::Value};
use serde::Serialize;

use crate::IndexError;

/// Answers questions, one at a time. Each blocks for as long as SQLite takes.
#[derive(Debug)]
pub struct Reader {
    connection: Mutex<Connection>,
}

/// Whether a sensor is there, as the poller saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorState {
    /// It beats.
    Online,
    /// Its heartbeats stopped.
    Lost,
    /// It said that it goes.
    Disconnected,
}

/// What the log says of one sensor.
#[derive(Clone, Debug)]
pub struct SensorStatus {
    /// Its last heartbeat that changed anything.
    pub heartbeat: Heartbeat,
    /// Whether it is there.
    pub state: SensorState,
    /// What was derived of it.
    pub standing: Standing,
    /// Its newest readings, oldest first.
    pub recent: Vec<Reading>,
}

/// One reading as it is shown.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reading {
    /// Where it lies in the log.
    pub leaf: u64,
    /// When it was taken.
    pub timestamp: Timestamp,
    /// How the poll ended.
    pub status: String,
    /// The value, `N/A` where there is none.
    pub value: String,
}

/// What a search found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// How many events match.
    pub count: u64,
    /// The leaves of one page of them, newest first.
    pub leaves: Vec<u64>,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(IndexError::while_("opening"))?;
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .map_err(IndexError::while_("opening"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first leaf that was not applied.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn next_leaf(&self) -> Result<u64, IndexError> {
        let next_leaf: rusqlite::Result<i64> =
            self.connection().query_row("SELECT next_leaf FROM log", [], |row| row.get(0));
        next_leaf.map(i64::cast_unsigned).map_err(IndexError::while_("asking for its cursor"))
    }

    /// Number of sensors.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sensor_count(&self) -> Result<u32, IndexError> {
        let count: rusqlite::Result<u32> =
            self.connection().query_row("SELECT count(*) FROM sensor", [], |row| row.get(0));
        count.map_err(IndexError::while_("counting sensors"))
    }

    /// All sensors, each with its `recent_max` newest readings, whose values are cut off after 256 characters.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sensors(&self, recent_max: u32) -> Result<Vec<SensorStatus>, IndexError> {
        self.read_sensors(recent_max).map_err(IndexError::while_("asking for sensors"))
    }

    fn read_sensors(&self, recent_max: u32) -> rusqlite::Result<Vec<SensorStatus>> {
        let connection = self.connection();
        let mut sensors = connection
            .prepare_cached("SELECT key, heartbeat, state, out_of_range, lost FROM sensor")?;
        let mut recent = connection.prepare_cached(
            "SELECT leaf, at, text, substr(value, 1, 256) FROM reading JOIN name ON name.key = status WHERE sensor = ?1
             ORDER BY at DESC, leaf DESC LIMIT ?2",
        )?;
        let mut found = Vec::new();
        let mut rows = sensors.query([])?;
        while let Some(row) = rows.next()? {
            let heartbeat: String = row.get(1)?;
            // Only what the poller understood was ever sealed.
            let Ok(heartbeat) = Heartbeat::from_canonical(&heartbeat) else { continue };
            let key: i64 = row.get(0)?;
            let mut readings = recent
                .query_map((key, recent_max), reading)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            readings.reverse();
            found.push(SensorStatus {
                heartbeat,
                state: match row.get::<_, String>(2)?.as_str() {
                    "lost" => SensorState::Lost,
                    "disconnected" => SensorState::Disconnected,
                    _ => SensorState::Online,
                },
                standing: Standing { out_of_range: row.get(3)?, lost: row.get(4)? },
                recent: readings,
            });
        }
        Ok(found)
    }

    /// The sensors that do not stand as usual.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn standings(&self) -> Result<BTreeMap<SensorId, Standing>, IndexError> {
        let failed = IndexError::while_("asking for standings");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, out_of_range, lost FROM sensor WHERE out_of_range OR lost")
            .map_err(&failed)?;
        let standings = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    Standing { out_of_range: row.get(1)?, lost: row.get(2)? },
                ))
            })
            .map_err(&failed)?
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        Ok(standings
            .into_iter()
            .filter_map(|(id, standing)| Some((id.parse().ok()?, standing)))
            .collect())
    }

    /// The newest numbers of every sensor that has one in the log, also of those that [`sensors`](Self::sensors) does not know.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn last_numbers(&self) -> Result<BTreeMap<SensorId, LastNumbers>, IndexError> {
        let failed = IndexError::while_("asking for the newest numbers");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, poll, seq, numbered_until FROM last_numbers")
            .map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                let seq: Option<i64> = row.get(2)?;
                let poll = row.get(1).map(i64::cast_unsigned)?;
                let numbered_until: Option<i64> = row.get(3)?;
                let last = LastNumbers {
                    poll,
                    seq: seq.map(i64::cast_unsigned),
                    numbered_until: numbered_until.map(Timestamp::from_unix_micros),
                };
                Ok((row.get::<_, String>(0)?, last))
            })
            .map_err(&failed)?
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        Ok(rows.into_iter().filter_map(|(id, last)| Some((id.parse().ok()?, last))).collect())
    }

    /// Readings of one sensor, oldest first: the newest `limit + 1` of the window, so that the caller sees whether there are more. `None` for an unknown
    /// sensor.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn readings(&self, query: &ReadingsQuery) -> Result<Option<Vec<Reading>>, IndexError> {
        self.read_readings(query).map_err(IndexError::while_("asking for readings"))
    }

    fn read_readings(&self, query: &ReadingsQuery) -> rusqlite::Result<Option<Vec<Reading>>> {
        let connection = self.connection();
        let sensor: Option<i64> = connection
            .prepare_cached("SELECT key FROM sensor WHERE id = ?1")?
            .query_row([query.sensor.to_string()], |row| row.get(0))
            .optional()?;
        let Some(sensor) = sensor else { return Ok(None) };
        let from = query.from.map_or(i64::MIN, Timestamp::unix_micros);
        let to = query.to.map_or(i64::MAX, Timestamp::unix_micros);
        let mut statement = connection.prepare_cached(
            "SELECT leaf, at, text, value FROM reading JOIN name ON name.key = status
             WHERE sensor = ?1 AND at >= ?2 AND at < ?3 ORDER BY at DESC, leaf DESC LIMIT ?4",
        )?;
        let mut readings = statement
            .query_map((sensor, from, to, query.limit.saturating_add(1)), reading)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        readings.reverse();
        Ok(Some(readings))
    }

    /// Events below leaf `end` that match, newest first: `limit` of them after passing over `offset`.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn search(
        &self,
        query: &LogsQuery,
        end: u64,
        offset: u64,
        limit: u32,
    ) -> Result<Found, IndexError> {
        self.run_search(query, end, offset, limit).map_err(IndexError::while_("searching"))
    }

    fn run_search(
        &self,
        query: &LogsQuery,
        end: u64,
        offset: u64,
        limit: u32,
    ) -> rusqlite::Result<Found> {
        let mut conditions = vec!["leaf < ?"];
        let mut values = vec![Value::Integer(end.cast_signed())];
        let mut also = |condition, value| {
            conditions.push(condition);
            values.push(value);
        };
        if let Some(action) = &query.action {
            also("action = (SELECT key FROM name WHERE text = ?)", Value::Text(action.clone()));
        }
        if let Some(action) = &query.not_action {
            also(
                "action IS NOT (SELECT key FROM name WHERE text = ?)",
                Value::Text(action.clone()),
            );
        }
        if let Some(status) = &query.status {
            also("status = (SELECT key FROM name WHERE text = ?)", Value::Text(status.clone()));
        }
        if let Some(source) = &query.source {
            also(
                "source IN (SELECT key FROM name WHERE instr(text, ?) > 0)",
                Value::Text(source.clone()),
            );
        }
        if let Some(from) = query.from {
            also("received_at >= ?", Value::Integer(from.unix_micros()));
        }
        if let Some(to) = query.to {
            also("received_at < ?", Value::Integer(to.unix_micros()));
        }
        let conditions = conditions.join(" AND ");
        let connection = self.connection();
        let count: i64 = connection
            .prepare_cached(&format!("SELECT count(*) FROM event WHERE {conditions}"))?
            .query_row(rusqlite::params_from_iter(&values), |row| row.get(0))?;
        values.push(Value::Integer(i64::from(limit)));
        values.push(Value::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
        let mut page = connection.prepare_cached(&format!(
            "SELECT leaf FROM event WHERE {conditions} ORDER BY leaf DESC LIMIT ? OFFSET ?"
        ))?;
        let leaves = page
            .query_map(rusqlite::params_from_iter(&values), |row| {
                row.get(0).map(i64::cast_unsigned)
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Found { count: count.cast_unsigned(), leaves })
    }
}

fn reading(row: &Row<'_>) -> rusqlite::Result<Reading> {
    Ok(Reading {
        leaf: row.get(0).map(i64::cast_unsigned)?,
        timestamp: Timestamp::from_unix_micros(row.get(1)?),
        status: row.get(2)?,
        value: row.get(3)?,
    })
}
