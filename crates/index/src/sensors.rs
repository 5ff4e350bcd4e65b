//! What the log says of each sensor: last heartbeat, orders in force, state and standing.
//!
//! A sighting is an event that changes a sensor. Sightings are few, so the index keeps all of them.
//! If a sensor's sightings are erased, its state is computed as if they had never been. Its numbers
//! are elsewhere (`newest`), and are never taken back, because they must continue even if nothing
//! else is known of the sensor.

use std::ops::Range;

use model::{Given, InForce, PushedSeries, SensorOrder, SensorState, action, derive::Standing};
use rusqlite::Connection;

use crate::batch::{IndexBatch, SensorMove};

/// The row of a sensor, without its numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    heartbeat: Option<String>,
    in_force: InForce,
    state: SensorState,
    standing: Standing,
}

impl Known {
    /// What is known after a sighting with this text.
    fn after(self, action: &str, text: Option<&str>) -> Self {
        match action {
            action::SENSOR_DISCOVERED | action::SENSOR_CHANGED => Self {
                heartbeat: text.map(str::to_owned).or(self.heartbeat),
                state: SensorState::Online,
                ..self
            },
            action::HEARTBEAT_RESUMED => Self { state: SensorState::Online, ..self },
            action::HEARTBEAT_MISSED => Self { state: SensorState::Lost, ..self },
            action::SENSOR_DISCONNECTED => Self { state: SensorState::Disconnected, ..self },
            action::SENSOR_FORGOTTEN => {
                Self { heartbeat: None, in_force: self.in_force.forgotten(), ..self }
            }
            action::SENSOR_DOUBLED => {
                let since = text.and_then(|at| at.parse().ok());
                Self { in_force: self.in_force.doubled_since(since), ..self }
            }
            order if SensorOrder::ACTIONS.contains(&order) => {
                let given = text.and_then(Given::from_canonical);
                let added = match given.as_ref().map(|given| &given.order) {
                    Some(SensorOrder::Add(added)) => added.heartbeat().ok(),
                    _ => None,
                };
                let heartbeat = added.map(|added| added.canonical()).or(self.heartbeat);
                let state = match order {
                    action::SENSOR_ADDED => SensorState::Expected,
                    action::SENSOR_RETIRED => SensorState::Retired,
                    // A series has no heartbeats for which the site would wait.
                    action::SENSOR_RECALLED if is_series(heartbeat.as_deref()) => {
                        SensorState::Online
                    }
                    action::SENSOR_RECALLED => SensorState::Lost,
                    _ => self.state,
                };
                let in_force = match given {
                    Some(given) => self.in_force.after(given),
                    None => self.in_force,
                };
                Self { heartbeat, in_force, state, ..self }
            }
            action::LEAVING_RANGE => {
                let mut text = text.unwrap_or_default().splitn(2, ' ');
                let since = text.next().and_then(|since| since.parse().ok());
                Self { standing: self.standing.after(action, text.next(), since), ..self }
            }
            // The text of a derived event is the channel that it is about.
            _ => Self { standing: self.standing.after(action, text, None), ..self },
        }
    }
}

fn is_series(described: Option<&str>) -> bool {
    described.and_then(PushedSeries::from_canonical).is_some()
}

/// Applies a batch's sightings. `keys` are those of the batch's sensors, in its order.
pub(crate) fn take_in(
    connection: &Connection,
    batch: &IndexBatch,
    keys: &[i64],
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO sighting VALUES (?1, ?2, ?3, ?4)")?;
    for SensorMove { sensor, leaf, action, text } in &batch.sightings {
        let Some(key) = keys.get(*sensor as usize).copied() else { continue };
        insert.execute((key, leaf.cast_signed(), action, text))?;
        Known::load(connection, key)?.after(action, text.as_deref()).store(connection, key)?;
    }
    Ok(())
}

/// Removes the sightings of these leaves.
pub(crate) fn erase(connection: &Connection, leaves: &Range<u64>) -> rusqlite::Result<()> {
    let mut erase = connection
        .prepare_cached("DELETE FROM sighting WHERE leaf >= ?1 AND leaf < ?2 RETURNING sensor")?;
    let mut moved = erase
        .query_map((leaves.start.cast_signed(), leaves.end.cast_signed()), |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    moved.sort_unstable();
    moved.dedup();
    for key in moved {
        Known::sighted(connection, key)?.store(connection, key)?;
    }
    Ok(())
}

impl Known {
    /// The state that follows from a sensor's sightings.
    fn sighted(connection: &Connection, key: i64) -> rusqlite::Result<Self> {
        let mut select = connection
            .prepare_cached("SELECT action, text FROM sighting WHERE sensor = ?1 ORDER BY leaf")?;
        let mut known = Self::default();
        let mut rows = select.query([key])?;
        while let Some(row) = rows.next()? {
            let text: Option<String> = row.get(1)?;
            known = known.after(row.get_ref(0)?.as_str()?, text.as_deref());
        }
        Ok(known)
    }

    fn load(connection: &Connection, key: i64) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "SELECT heartbeat, state, standing, in_force FROM sensor WHERE key = ?1",
            )?
            .query_row([key], |row| {
                Ok(Self {
                    heartbeat: row.get(0)?,
                    state: SensorState::of_name(row.get_ref(1)?.as_str()?),
                    standing: standing(row.get_ref(2)?.as_str_or_null()?),
                    in_force: in_force(row.get_ref(3)?.as_str_or_null()?),
                })
            })
    }

    fn store(&self, connection: &Connection, key: i64) -> rusqlite::Result<()> {
        let Self { heartbeat, in_force, state, standing } = self;
        let in_force = (!in_force.is_nothing()).then(|| in_force.canonical());
        let standing = (*standing != Standing::default())
            .then(|| serde_json::to_string(standing).expect("a standing has only text keys"));
        connection
            .prepare_cached(
                "UPDATE sensor SET heartbeat = ?2, state = ?3, standing = ?4, in_force = ?5 WHERE key = ?1",
            )?
            .execute((key, heartbeat, state.name(), standing, in_force))?;
        Ok(())
    }
}

/// Reads the column `in_force`.
pub(crate) fn in_force(text: Option<&str>) -> InForce {
    text.map(InForce::from_canonical).unwrap_or_default()
}

/// Reads the column `standing`.
pub(crate) fn standing(text: Option<&str>) -> Standing {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Calls `visit` with each sighting.
pub(crate) fn each_sighting(
    connection: &Connection,
    mut visit: impl FnMut(i64, u64, &str, Option<&str>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT sensor, leaf, action, text FROM sighting")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let leaf = row.get(1).map(i64::cast_unsigned)?;
        let text: Option<String> = row.get(3)?;
        visit(row.get(0)?, leaf, row.get_ref(2)?.as_str()?, text.as_deref())?;
    }
    Ok(())
}

/// Whether the row of a sensor agrees with its sightings.
pub(crate) fn stands_as_sighted(connection: &Connection, key: i64) -> rusqlite::Result<bool> {
    Ok(Known::load(connection, key)? == Known::sighted(connection, key)?)
}
