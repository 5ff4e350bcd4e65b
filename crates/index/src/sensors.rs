//! What the log says of each sensor: its last heartbeat, whether it is there, what was derived of it, its newest numbers.
//!
//! What moves a sensor are its sightings, which are few: they are kept, so that a sensor whose sightings were erased stands as if they had never been. The
//! numbers are not taken back: they must go on also where nothing else is known of a sensor any more.

use std::{collections::HashMap, ops::Range};

use model::{Event, SensorId, Timestamp, action, completeness::LastNumbers, derive::Standing};
use rusqlite::{Connection, OptionalExtension as _};

use crate::SensorState;

/// The sensors, as the writer has them.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    keys: HashMap<SensorId, i64>,
    /// Of those that the batch has moved.
    last_numbers: HashMap<i64, LastNumbers>,
}

/// A sensor's row, but for its numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    heartbeat: Option<String>,
    state: SensorState,
    standing: Standing,
}

impl Known {
    fn after(self, action: &str, heartbeat: Option<&str>) -> Self {
        match action {
            action::SENSOR_DISCOVERED | action::SENSOR_CHANGED => Self {
                heartbeat: heartbeat.map(str::to_owned).or(self.heartbeat),
                state: SensorState::Online,
                ..self
            },
            action::HEARTBEAT_RESUMED => Self { state: SensorState::Online, ..self },
            action::HEARTBEAT_MISSED => Self { state: SensorState::Lost, ..self },
            action::SENSOR_DISCONNECTED => Self { state: SensorState::Disconnected, ..self },
            _ => Self { standing: self.standing.after(action), ..self },
        }
    }
}

/// Actions that move a sensor.
const SIGHTINGS: [&str; 9] = [
    action::SENSOR_DISCOVERED,
    action::SENSOR_CHANGED,
    action::HEARTBEAT_RESUMED,
    action::HEARTBEAT_MISSED,
    action::SENSOR_DISCONNECTED,
    action::OUT_OF_RANGE,
    action::BACK_IN_RANGE,
    action::SENSOR_LOST,
    action::SENSOR_BACK,
];

impl Sensors {
    /// Sensors whose keys are kept at hand: more than a site can have.
    const KNOWN_MAX: usize = 50_000;

    /// Takes in an event that names a sensor. Answers the sensor's key, unless the event is only about it and says nothing of it, as a hold does.
    pub(crate) fn see(
        &mut self,
        connection: &Connection,
        leaf: u64,
        sensor: SensorId,
        event: &Event,
    ) -> rusqlite::Result<Option<i64>> {
        let action = event.action.as_deref();
        let sighting = action.filter(|action| SIGHTINGS.contains(action));
        let is_numbered = LastNumbers::default().after(event) != LastNumbers::default();
        if sighting.is_none() && !is_numbered && action != Some(action::SENSOR_READING) {
            return Ok(None);
        }
        let key = self.key(connection, sensor)?;
        let last = self.last_numbers.entry(key).or_default();
        *last = last.after(event);
        if let Some(action) = sighting {
            let heartbeat = event.sealwire.as_ref().and_then(|detail| detail.heartbeat.as_deref());
            connection
                .prepare_cached("INSERT INTO sighting VALUES (?1, ?2, ?3, ?4)")?
                .execute((key, leaf.cast_signed(), action, heartbeat))?;
            let known = Known::load(connection, key)?.after(action, heartbeat);
            known.store(connection, key)?;
        }
        Ok(Some(key))
    }

    fn key(&mut self, connection: &Connection, sensor: SensorId) -> rusqlite::Result<i64> {
        if let Some(key) = self.keys.get(&sensor) {
            return Ok(*key);
        }
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
        if self.keys.len() >= Self::KNOWN_MAX {
            self.keys.clear();
        }
        self.keys.insert(sensor, key);
        Ok(key)
    }

    /// Moves the newest numbers on, as [`LastNumbers::after`] does; before the transaction ends.
    pub(crate) fn write_last_numbers(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE sensor SET poll = max(poll, ?2), seq = coalesce(?3, seq), numbered_until = coalesce(?4, numbered_until)
             WHERE key = ?1",
        )?;
        for (key, LastNumbers { poll, seq, numbered_until }) in self.last_numbers.drain() {
            statement.execute((
                key,
                poll.cast_signed(),
                seq.map(u64::cast_signed),
                numbered_until.map(Timestamp::unix_micros),
            ))?;
        }
        Ok(())
    }
}

/// Takes the sightings of these leaves out.
pub(crate) fn erase(connection: &Connection, leaves: &Range<u64>) -> rusqlite::Result<()> {
    let mut erase = connection
        .prepare_cached("DELETE FROM sighting WHERE leaf >= ?1 AND leaf < ?2 RETURNING sensor")?;
    let mut moved = erase
        .query_map((leaves.start.cast_signed(), leaves.end.cast_signed()), |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    moved.sort_unstable();
    moved.dedup();
    let mut select = connection
        .prepare_cached("SELECT action, heartbeat FROM sighting WHERE sensor = ?1 ORDER BY leaf")?;
    for key in moved {
        let mut known = Known::default();
        let mut rows = select.query([key])?;
        while let Some(row) = rows.next()? {
            let heartbeat: Option<String> = row.get(1)?;
            known = known.after(row.get_ref(0)?.as_str()?, heartbeat.as_deref());
        }
        known.store(connection, key)?;
    }
    Ok(())
}

impl Known {
    fn load(connection: &Connection, key: i64) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "SELECT heartbeat, state, out_of_range, lost FROM sensor WHERE key = ?1",
            )?
            .query_row([key], |row| {
                Ok(Self {
                    heartbeat: row.get(0)?,
                    state: SensorState::of_name(row.get_ref(1)?.as_str()?),
                    standing: Standing { out_of_range: row.get(2)?, lost: row.get(3)? },
                })
            })
    }

    fn store(&self, connection: &Connection, key: i64) -> rusqlite::Result<()> {
        let Self { heartbeat, state, standing } = self;
        connection
            .prepare_cached(
                "UPDATE sensor SET heartbeat = ?2, state = ?3, out_of_range = ?4, lost = ?5 WHERE key = ?1",
            )?
            .execute((key, heartbeat, state.name(), standing.out_of_range, standing.lost))?;
        Ok(())
    }
}
