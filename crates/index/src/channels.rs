//! The series of the channels of a sensor that measures several things.
//!
//! A channel's series is stored as that of a sensor of its own, whose id follows from the sensor's
//! and the channel's name. So blocks, sums and plots need not know of channels. What the log says
//! of polls without a value is in the sensor's own series alone.

use std::collections::HashMap;

use model::{InForce, SensorId};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::{
    calibrated,
    leaves::InSeries,
    readings::{self, ChannelReading, SeriesReading},
};

/// Id under which the readings of a sensor's channel are stored.
#[must_use]
pub fn channel_series(sensor: SensorId, channel: &str) -> SensorId {
    let hash = Sha256::new()
        .chain_update(b"sealwire channel\n")
        .chain_update(sensor.to_string())
        .chain_update(b"\n")
        .chain_update(channel)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(hash.get(..16).unwrap_or(&[0; 16]));
    SensorId::from_bytes(id)
}

/// Records which series channels have: for each, the key of its sensor, its name, and the key of
/// its series.
pub(crate) fn take_in<'a>(
    connection: &Connection,
    channels: impl Iterator<Item = (i64, &'a str, i64)>,
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO channel VALUES (?1, ?2, ?3)")?;
    for channel in channels {
        insert.execute(channel)?;
    }
    Ok(())
}

/// The places that erased readings have in the series of channels.
pub(crate) fn places(
    connection: &Connection,
    readings: &[(InSeries, u64)],
) -> rusqlite::Result<Vec<(InSeries, u64)>> {
    let mut select = connection.prepare_cached("SELECT series FROM channel WHERE sensor = ?1")?;
    let mut places = Vec::new();
    for of_sensor in readings.chunk_by(|(a, _), (b, _)| a.sensor == b.sensor) {
        let Some((InSeries { sensor, .. }, _)) = of_sensor.first() else { continue };
        let series = select.query_map([sensor], |row| row.get(0))?;
        for series in series.collect::<rusqlite::Result<Vec<i64>>>()? {
            let in_series = |(reading, leaf): &(InSeries, u64)| {
                (InSeries { sensor: series, at: reading.at }, *leaf)
            };
            places.extend(of_sensor.iter().map(in_series));
        }
    }
    Ok(places)
}

/// Removes the channels without a reading: their names stood in what was erased.
pub(crate) fn forget_empty(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT series FROM channel
         WHERE NOT EXISTS (SELECT 1 FROM every_block WHERE every_block.sensor = series)",
    )?;
    let empty = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for series in empty {
        for forget in [
            "DELETE FROM channel WHERE series = ?1",
            "DELETE FROM newest WHERE sensor = ?1",
            "DELETE FROM sensor WHERE key = ?1",
        ] {
            connection.prepare_cached(forget)?.execute([series])?;
        }
    }
    Ok(())
}

/// The channels of a sensor by name, each with its newest reading.
pub(crate) fn of_sensor(
    connection: &Connection,
    sensor: i64,
    in_force: &InForce,
) -> rusqlite::Result<Vec<(String, SeriesReading)>> {
    let mut select = connection
        .prepare_cached("SELECT name, series FROM channel WHERE sensor = ?1 ORDER BY name")?;
    let channels = select.query_map([sensor], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found = Vec::new();
    for (name, series) in channels.collect::<rusqlite::Result<Vec<(String, i64)>>>()? {
        let mut newest = readings::newest(connection, series, (i64::MIN, i64::MAX), 1)?;
        calibrated::correct(&mut newest, &in_force.calibrations(Some(&name)));
        found.extend(newest.into_iter().next().map(|newest| (name, newest)));
    }
    Ok(found)
}

/// Adds to consecutive readings of a sensor what each of its channels measured.
pub(crate) fn attach(
    connection: &Connection,
    sensor: i64,
    readings: &mut [SeriesReading],
) -> rusqlite::Result<()> {
    let ends = readings.first().zip(readings.last());
    let Some((first, last)) =
        ends.map(|(first, last)| (first.timestamp.unix_micros(), last.timestamp.unix_micros()))
    else {
        return Ok(());
    };
    let span = (first, last.saturating_add(1));
    // A channel has no more readings in this span than its sensor.
    let most = u32::try_from(readings.len()).unwrap_or(u32::MAX);
    let places: HashMap<u64, usize> = readings.iter().map(|it| it.leaf).zip(0..).collect();
    let mut select =
        connection.prepare_cached("SELECT name, series FROM channel WHERE sensor = ?1")?;
    let channels = select.query_map([sensor], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (name, series) in channels.collect::<rusqlite::Result<Vec<(String, i64)>>>()? {
        let mut of_channel = readings::newest(connection, series, span, most)?;
        calibrated::correct(&mut of_channel, &calibrated::of_series(connection, series)?);
        for SeriesReading { leaf, value, calibrated, unit, .. } in of_channel {
            let place = places.get(&leaf).and_then(|place| readings.get_mut(*place));
            let Some(reading) = place else { continue };
            reading.channels.insert(name.clone(), ChannelReading { value, calibrated, unit });
        }
    }
    Ok(())
}

/// Puts the polls without a value, which are in the series of the sensor `sensor`, among the newest
/// readings of one of its channels: a plot breaks there.
pub(crate) fn with_failures(
    connection: &Connection,
    sensor: i64,
    mut of_channel: Vec<SeriesReading>,
    (from, to): (i64, i64),
    limit: u32,
) -> rusqlite::Result<Vec<SeriesReading>> {
    let is_full = of_channel.len() >= limit as usize;
    let from = of_channel
        .first()
        .filter(|_| is_full)
        .map_or(from, |first| first.timestamp.unix_micros().max(from));
    of_channel.extend(readings::newest_failures(connection, sensor, (from, to), limit)?);
    of_channel.sort_by_key(|reading| (reading.timestamp, reading.leaf));
    let beyond = of_channel.len().saturating_sub(limit as usize);
    of_channel.drain(..beyond);
    Ok(of_channel)
}
