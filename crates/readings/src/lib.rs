//! Readings of one sensor as a file for other programs, CSV or Parquet: each with its leaf, by
//! which it can be proved, its status and its unit.
//!
//! Rows come from the log, never from an index: each envelope is held against the log's entry of
//! its leaf, and every leaf of the span is looked at, so that nothing that lies beside the log can
//! add a row, change one or keep one out. What a file holds is described in
//! `docs/formats/readings.md`.

pub mod csv;
mod parquet_file;
mod reading;

use std::{
    io::{self, Write},
    str::FromStr,
};

use ledger::{LogReader, ReadError, StoredEnvelope, evidence::first_received_from};
use model::{Envelope, SealedReading, SensorId, Timestamp, action, envelope::InvalidEnvelope};
use parquet::errors::ParquetError;

use crate::{csv::Formulas, reading::Reading};

/// Envelopes read at once: blocks of the log, some of them.
const READ_LEAVES: usize = 4_096;
/// Bytes of them.
const READ_BYTES: usize = 4 << 20;

/// Actions that a sensor which was ever there has: an order that names one may be about none.
const OF_A_SENSOR: [&str; 4] = [
    action::SENSOR_DISCOVERED,
    action::SENSOR_CHANGED,
    action::SENSOR_READING,
    action::READINGS_MISSING,
];

/// Which readings: of one sensor, by their own times. Where there is a `from`, what the log
/// received before it is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection {
    /// Whose.
    pub sensor: SensorId,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Up to but without this moment.
    pub to: Option<Timestamp>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Readings.
    pub readings: u64,
    /// Leaves that were looked at and whose envelopes were erased: readings of the sensor may have
    /// been among them.
    pub erased: u64,
    /// Whether anything was seen of the sensor at all.
    pub is_known: bool,
}

/// What kind of file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Text, a line for each reading (RFC 4180).
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// As it is named.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = [Self::Csv, Self::Parquet].into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat(name.chars().take(64).collect()))
    }
}

/// A name that is no format's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a format: use csv or parquet")]
pub struct UnknownFormat(String);

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An envelope of the sensor is of a newer version, or was never one.
    #[error("the envelope of leaf {leaf} speaks of the sensor, and cannot be read")]
    Envelope {
        /// Which leaf.
        leaf: u64,
        /// What is wrong with it.
        source: InvalidEnvelope,
    },
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
    /// The same, by way of the Parquet library.
    #[error("the file cannot be written")]
    Parquet(#[from] ParquetError),
}

/// Writes readings in the log's order. `progress` is told of how many leaves were looked at, every
/// now and then.
///
/// # Errors
/// The log cannot be read, or `output` not written.
pub fn write(
    log: &LogReader,
    selection: Selection,
    (format, formulas): (Format, Formulas),
    output: impl Write + Send,
    progress: &mut dyn FnMut(u64),
) -> Result<Written, ExportError> {
    match format {
        Format::Csv => {
            let mut file = csv::File::begin(output, formulas)?;
            let written = for_each(log, selection, progress, |readings| {
                Ok(file.write(selection.sensor, readings)?)
            })?;
            file.end()?;
            Ok(written)
        }
        Format::Parquet => {
            let mut file = parquet_file::File::begin(output)?;
            let written = for_each(log, selection, progress, |readings| {
                Ok(file.write(selection.sensor, readings)?)
            })?;
            file.end()?;
            Ok(written)
        }
    }
}

/// Tells the readings, some at a time.
fn for_each(
    log: &LogReader,
    Selection { sensor, from, to }: Selection,
    progress: &mut dyn FnMut(u64),
    mut visit: impl FnMut(&[Reading]) -> Result<(), ExportError>,
) -> Result<Written, ExportError> {
    let mut written = Written::default();
    let speaks_of = format!("\"sensor\":\"{sensor}\"");
    let is_in = |at: Timestamp| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to);
    let first = from.map_or(Ok(0), |from| first_received_from(log, from))?;
    let mut next_leaf = first;
    let mut readings = Vec::new();
    while next_leaf < log.size() {
        for StoredEnvelope { leaf, bytes } in log.envelopes(next_leaf, READ_LEAVES, READ_BYTES)? {
            next_leaf = leaf + 1;
            let Some(bytes) = bytes else {
                written.erased += 1;
                continue;
            };
            // Canonical JSON writes it in one way, so nothing else has to be parsed.
            if !str::from_utf8(&bytes).is_ok_and(|text| text.contains(&speaks_of)) {
                continue;
            }
            written.is_known |= OF_A_SENSOR.iter().any(|own| Envelope::has_action(&bytes, own));
            if !Envelope::has_action(&bytes, action::SENSOR_READING) {
                continue;
            }
            let envelope =
                Envelope::parse(&bytes).map_err(|source| ExportError::Envelope { leaf, source })?;
            let reading = SealedReading::of(&envelope.event, envelope.received_at);
            let asked_for = reading.filter(|reading| reading.sensor == sensor && is_in(reading.at));
            readings.extend(asked_for.map(|reading| Reading {
                leaf,
                timestamp: reading.at,
                status: reading.status.to_owned(),
                value: reading.value.to_owned(),
                unit: reading.unit.map(str::to_owned),
            }));
        }
        visit(&readings)?;
        written.readings += readings.len() as u64;
        readings.clear();
        progress(next_leaf - first);
    }
    Ok(written)
}

/// Whether the log says anything of a sensor.
///
/// # Errors
/// The log cannot be read.
pub fn is_known(
    log: &LogReader,
    sensor: SensorId,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, ExportError> {
    let nothing = Selection { sensor, from: None, to: Some(Timestamp::from_unix_micros(0)) };
    Ok(for_each(log, nothing, progress, |_| Ok(()))?.is_known)
}
