//! Answers questions from the index.

use std::{collections::BTreeMap, ops::Bound, path::Path};

use model::{
    Heartbeat, InForce, PushedSeries, SensorId, SensorState, Timestamp, completeness::LastNumbers,
    derive::Standing, event, query::ReadingsQuery,
};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    calibrated,
    channels::{self, channel_series},
    connections::Connections,
    dictionary,
    effort::Effort,
    error::IndexError,
    newest::{LAST_NUMBERS, read_last_numbers},
    plot::{self, Series},
    query::{Page, Search},
    readings::{SeriesReading, block_from, newest},
    result_id::{self, InvalidResultId},
    search::{self, ReadEvent, SearchError},
    sensors,
};

/// Answers a few questions at the same time. Each call blocks until SQLite is done; a call beyond
/// the limit waits until another one ends.
#[derive(Debug)]
pub struct Reader {
    connections: Connections,
}

/// What describes a sensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Described {
    /// The last heartbeat of a polled sensor that changed anything.
    Polled(Box<Heartbeat>),
    /// A series that a device reports by itself.
    Pushed(PushedSeries),
}

impl Described {
    fn from_canonical(text: &str) -> Option<Self> {
        if let Ok(heartbeat) = Heartbeat::from_canonical(text) {
            return Some(Self::Polled(Box::new(heartbeat)));
        }
        PushedSeries::from_canonical(text).map(Self::Pushed)
    }

    /// Id of the sensor.
    #[must_use]
    pub fn id(&self) -> SensorId {
        match self {
            Self::Polled(heartbeat) => heartbeat.id,
            Self::Pushed(series) => series.id,
        }
    }

    /// Name of the sensor for people. A series has its quantity in it, because a device has a
    /// series of each.
    #[must_use]
    pub fn alias(&self) -> String {
        match self {
            Self::Polled(heartbeat) => heartbeat.alias.clone(),
            Self::Pushed(series) => series.alias(),
        }
    }

    /// Where the sensor is installed; empty if it is not known.
    #[must_use]
    pub fn location(&self) -> &str {
        match self {
            Self::Polled(heartbeat) => &heartbeat.location,
            Self::Pushed(series) => &series.location,
        }
    }

    /// What the sensor measures.
    #[must_use]
    pub fn quantity(&self) -> Option<&str> {
        match self {
            Self::Polled(heartbeat) => heartbeat.quantity.as_deref(),
            Self::Pushed(series) => Some(&series.quantity),
        }
    }
}

/// What the index knows of one sensor.
#[derive(Clone, Debug)]
pub struct SensorStatus {
    /// What describes the sensor. Its name and location are those that were ordered.
    pub described: Described,
    /// What is in force of the orders about it.
    pub in_force: InForce,
    /// Whether the site can reach the sensor.
    pub state: SensorState,
    /// State that components derived.
    pub standing: Standing,
    /// The newest readings, oldest first.
    pub recent: Vec<SeriesReading>,
    /// The channels that have a reading, by name, each with its newest one.
    pub channels: Vec<(String, SeriesReading)>,
}

/// One sensor in a list of all: what the list is filtered and ordered by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedSensor {
    /// Id of the sensor.
    pub id: SensorId,
    /// Name of the sensor for people.
    pub alias: String,
    /// Where the sensor is installed.
    pub location: String,
    /// What it measures.
    pub quantity: Option<String>,
    /// What is in force of the orders about it.
    pub in_force: InForce,
    /// Whether the site can reach the sensor.
    pub state: SensorState,
    /// State that components derived.
    pub standing: Standing,
    /// Whether the newest poll ended without a value.
    pub failed: bool,
}

/// Leaves that could not be indexed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PassedOver {
    /// Number of such leaves.
    pub count: u64,
    /// Some of the newest, newest first, each with the reason.
    pub newest: Vec<(u64, String)>,
}

impl Reader {
    /// Opens an existing index, whether or not an indexer uses it.
    ///
    /// # Errors
    /// The file does not exist or cannot be used.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let connections = Connections::open(path).map_err(IndexError::while_("opening"))?;
        Ok(Self { connections })
    }

    /// Runs a question in one transaction, so that all its statements see the same prefix of the
    /// log.
    fn ask<T>(
        &self,
        what: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let mut lent = self.connections.lend();
        let ask = || question(&*lent.opened()?.transaction()?);
        ask().map_err(IndexError::while_(what))
    }

    /// The first leaf that is not applied.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn next_leaf(&self) -> Result<u64, IndexError> {
        self.ask("asking for its cursor", |connection| {
            connection
                .query_row("SELECT next_leaf FROM log", [], |row| row.get(0))
                .map(i64::cast_unsigned)
        })
    }

    /// The leaves that could not be indexed, with the newest `newest_max` of them.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn passed_over(&self, newest_max: u32) -> Result<PassedOver, IndexError> {
        self.ask("asking for what was passed over", |connection| {
            passed_over(connection, newest_max)
        })
    }

    /// All sensors that the log describes, each with its `recent_max` newest readings. Values
    /// are cut off after 256 characters.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sensors(&self, recent_max: u32) -> Result<Vec<SensorStatus>, IndexError> {
        self.ask("asking for sensors", |connection| read_sensors(connection, recent_max))
    }

    /// All sensors that the log describes, without their readings.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn listed_sensors(&self) -> Result<Vec<ListedSensor>, IndexError> {
        self.ask("asking for sensors", list_sensors)
    }

    /// These sensors in this order, each with its `recent_max` newest readings. Sensors that the
    /// log does not describe are left out. Values of `recent` are cut off after 256 characters.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn sensors_of(
        &self,
        ids: &[SensorId],
        recent_max: u32,
    ) -> Result<Vec<SensorStatus>, IndexError> {
        self.ask("asking for sensors", |connection| {
            let mut select = connection.prepare_cached(&format!("{STATUS} AND id = ?1"))?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let mut rows = select.query([id.to_string()])?;
                let Some(row) = rows.next()? else { continue };
                let Some(mut status) = read_status(connection, row, recent_max)? else { continue };
                status.channels = channels::of_sensor(connection, row.get(0)?, &status.in_force)?;
                found.push(status);
            }
            Ok(found)
        })
    }

    /// The standings of all sensors whose standing differs from the default.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn standings(&self) -> Result<BTreeMap<SensorId, Standing>, IndexError> {
        self.ask("asking for standings", |connection| {
            let mut select = connection
                .prepare_cached("SELECT id, standing FROM sensor WHERE standing IS NOT NULL")?;
            let standings = select.query_map([], |row| {
                let standing = sensors::standing(row.get_ref(1)?.as_str_or_null()?);
                Ok((row.get::<_, String>(0)?, standing))
            })?;
            let standings = standings.collect::<rusqlite::Result<Vec<_>>>()?;
            let parsed = standings
                .into_iter()
                .filter_map(|(id, standing)| Some((id.parse().ok()?, standing)));
            Ok(parsed.collect())
        })
    }

    /// What is in force of the orders about each sensor, described or not.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn in_force(&self) -> Result<BTreeMap<SensorId, InForce>, IndexError> {
        self.ask("asking for orders", |connection| {
            let mut select = connection
                .prepare_cached("SELECT id, in_force FROM sensor WHERE in_force IS NOT NULL")?;
            let rows = select.query_map([], |row| {
                let in_force = sensors::in_force(row.get_ref(1)?.as_str_or_null()?);
                Ok((row.get::<_, String>(0)?, in_force))
            })?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let parsed = rows.into_iter().filter_map(|(id, it)| Some((id.parse().ok()?, it)));
            Ok(parsed.collect())
        })
    }

    /// The newest numbers of every sensor with numbers in the log, including sensors that
    /// [`sensors`](Self::sensors) does not list.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn last_numbers(&self) -> Result<BTreeMap<SensorId, LastNumbers>, IndexError> {
        self.ask("asking for the newest numbers", |connection| {
            let sql = format!("SELECT id, {LAST_NUMBERS} FROM sensor JOIN newest ON sensor = key");
            let mut select = connection.prepare_cached(&sql)?;
            let rows = select
                .query_map([], |row| Ok((row.get::<_, String>(0)?, read_last_numbers(row, 1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let moved = rows.into_iter().filter(|(_, last)| *last != LastNumbers::default());
            Ok(moved.filter_map(|(id, last)| Some((id.parse().ok()?, last))).collect())
        })
    }

    /// Readings of one sensor or one of its channels, oldest first. These are the newest
    /// `limit + 1` of the window, so that the caller sees whether there are more. `None` for an
    /// unknown sensor or channel. Polls that ended without a value are readings of each channel.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn readings(
        &self,
        query: &ReadingsQuery,
    ) -> Result<Option<Vec<SeriesReading>>, IndexError> {
        self.ask("asking for readings", |connection| {
            let Some(sensor) = key_of(connection, query.sensor)? else { return Ok(None) };
            let from = query.from.map_or(i64::MIN, Timestamp::unix_micros);
            let to = query.to.map_or(i64::MAX, Timestamp::unix_micros);
            let limit = query.limit.saturating_add(1);
            let Some(channel) = &query.channel else {
                let mut found = corrected(connection, sensor, (from, to), limit)?;
                channels::attach(connection, sensor, &mut found)?;
                return Ok(Some(found));
            };
            let series = channel_series(query.sensor, channel);
            let Some(series) = key_of(connection, series)? else { return Ok(None) };
            let found = corrected(connection, series, (from, to), limit)?;
            channels::with_failures(connection, sensor, found, (from, to), limit).map(Some)
        })
    }

    /// The series of one sensor between two times (the second excluded), as at most `points_max`
    /// readings or buckets. `points_max` must be at least 2. `None` for an unknown sensor. The
    /// series of a channel is that of the sensor [`channel_series`].
    ///
    /// # Errors
    /// SQLite fails.
    pub fn series(
        &self,
        sensor: SensorId,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        points_max: u32,
    ) -> Result<Option<Series>, IndexError> {
        self.ask("asking for a series", |connection| {
            let Some(key) = key_of(connection, sensor)? else { return Ok(None) };
            let span = (from.map(Timestamp::unix_micros), to.map(Timestamp::unix_micros));
            plot::plot(connection, key, span, points_max).map(Some)
        })
    }

    /// Some readings of a sensor from a time and leaf on, in order: at least one if there is any.
    /// The caller repeats this to read all of them.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn readings_from(
        &self,
        sensor: SensorId,
        start: Bound<(Timestamp, u64)>,
    ) -> Result<Vec<SeriesReading>, IndexError> {
        self.ask("asking for readings", |connection| {
            let Some(key) = key_of(connection, sensor)? else { return Ok(Vec::new()) };
            let start = start.map(|(at, leaf)| (at.unix_micros(), leaf.cast_signed()));
            let mut readings = block_from(connection, key, start)?;
            calibrated::correct(&mut readings, &calibrated::of_series(connection, key)?);
            Ok(readings)
        })
    }

    /// One page of search results: `limit` events after the first `offset`. If the index alone
    /// cannot decide, `read_event` reads the event of a leaf; its calls come in the order of the
    /// search.
    ///
    /// # Errors
    /// The index or the log cannot be read, or the search is too broad to fill the page.
    pub fn search(
        &self,
        search: &Search,
        offset: u64,
        limit: u32,
        read_event: ReadEvent<'_>,
    ) -> Result<Page, SearchError> {
        let mut lent = self.connections.lend();
        let transaction = lent.opened()?.transaction()?;
        search::search(&transaction, &Effort::of_a_search(), search, offset, limit, read_event)
    }

    /// Whether any event has a custom field of this name, as [`Query::parse`](crate::Query::parse)
    /// needs to know.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn has_field(&self, name: &str) -> Result<bool, IndexError> {
        self.ask("asking for a field", |connection| dictionary::has_field(connection, name))
    }

    /// An id with which a client can ask for later pages of this search, for two days.
    ///
    /// # Errors
    /// SQLite fails.
    pub fn result_id(&self, search: &Search, now: Timestamp) -> Result<String, IndexError> {
        let key = self.ask("asking for its key", result_id::key)?;
        Ok(result_id::seal(&key, search, now))
    }

    /// The search that an id stands for.
    ///
    /// # Errors
    /// SQLite fails. The inner error means that this index did not issue the id, or that the id has
    /// expired.
    pub fn search_of(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Result<Search, InvalidResultId>, IndexError> {
        let key = self.ask("asking for its key", result_id::key)?;
        Ok(result_id::open(&key, id, now))
    }
}

pub(crate) fn passed_over(
    connection: &Connection,
    newest_max: u32,
) -> rusqlite::Result<PassedOver> {
    let count = connection
        .query_row("SELECT count(*) FROM passed_over", [], |row| row.get(0))
        .map(i64::cast_unsigned)?;
    let mut select = connection
        .prepare_cached("SELECT leaf, reason FROM passed_over ORDER BY leaf DESC LIMIT ?1")?;
    let newest = select
        .query_map([newest_max], |row| Ok((row.get(0).map(i64::cast_unsigned)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(PassedOver { count, newest })
}

/// The newest readings of a series, corrected.
fn corrected(
    connection: &Connection,
    series: i64,
    span: (i64, i64),
    limit: u32,
) -> rusqlite::Result<Vec<SeriesReading>> {
    let mut readings = newest(connection, series, span, limit)?;
    calibrated::correct(&mut readings, &calibrated::of_series(connection, series)?);
    Ok(readings)
}

fn key_of(connection: &Connection, sensor: SensorId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT key FROM sensor WHERE id = ?1")?
        .query_row([sensor.to_string()], |row| row.get(0))
        .optional()
}

/// Selects what [`read_status`] reads.
const STATUS: &str =
    "SELECT key, heartbeat, state, standing, in_force FROM sensor WHERE heartbeat IS NOT NULL";

fn read_sensors(connection: &Connection, recent_max: u32) -> rusqlite::Result<Vec<SensorStatus>> {
    let mut select = connection.prepare_cached(STATUS)?;
    let mut found = Vec::new();
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        found.extend(read_status(connection, row, recent_max)?);
    }
    Ok(found)
}

fn list_sensors(connection: &Connection) -> rusqlite::Result<Vec<ListedSensor>> {
    let mut select = connection.prepare_cached(STATUS)?;
    let mut found = Vec::new();
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let Some(SensorStatus { described, in_force, state, standing, recent, channels: _ }) =
            read_status(connection, row, 1)?
        else {
            continue;
        };
        found.push(ListedSensor {
            id: described.id(),
            alias: described.alias(),
            location: described.location().to_owned(),
            quantity: described.quantity().map(str::to_owned),
            in_force,
            state,
            standing,
            failed: recent.last().is_some_and(|last| last.status != event::SUCCESS),
        });
    }
    Ok(found)
}

/// Reads a row of [`STATUS`]; `None` if its description is not valid. The site seals only valid
/// ones.
fn read_status(
    connection: &Connection,
    row: &Row<'_>,
    recent_max: u32,
) -> rusqlite::Result<Option<SensorStatus>> {
    /// Longest value of a recent reading, in characters.
    const VALUE_CHARS_MAX: usize = 256;
    let described = row.get_ref(1)?.as_str()?;
    let Some(mut described) = Described::from_canonical(described) else { return Ok(None) };
    let in_force = sensors::in_force(row.get_ref(4)?.as_str_or_null()?);
    match &mut described {
        Described::Polled(heartbeat) => in_force.describe(heartbeat),
        Described::Pushed(series) => in_force.describe_series(series),
    }
    // A start asks for all sensors and no reading: it has no time to look at each.
    let mut recent = match recent_max {
        0 => Vec::new(),
        _ => newest(connection, row.get(0)?, (i64::MIN, i64::MAX), recent_max)?,
    };
    calibrated::correct(&mut recent, &in_force.calibrations(None));
    for reading in &mut recent {
        if let Some((end, _)) = reading.value.char_indices().nth(VALUE_CHARS_MAX) {
            reading.value.truncate(end);
        }
    }
    Ok(Some(SensorStatus {
        described,
        in_force,
        state: SensorState::of_name(row.get_ref(2)?.as_str()?),
        standing: sensors::standing(row.get_ref(3)?.as_str_or_null()?),
        recent,
        channels: Vec::new(),
    }))
}
