//! Exports the readings of one sensor for other programs, as CSV or Parquet. Each row has the
//! reading's leaf, by which it can be proved, its status and its unit.
//!
//! Rows come from the log, never from an index. The export checks each envelope against the log's
//! entry of its leaf, and reads every leaf of the span. So no file outside the log can add, change
//! or hide a row. `docs/formats/readings.md` describes the files.

pub mod csv;
mod parquet_file;
mod reading;

use std::{
    io::{self, Write},
    str::FromStr,
};

use ledger::{LogReader, ReadError, StoredEnvelope, evidence::first_received_from};
use model::{
    Envelope, SealedReading, SensorId, Timestamp, action, envelope::InvalidEnvelope, event::SUCCESS,
};
use parquet::errors::ParquetError;

use crate::{csv::Formulas, reading::Reading};

/// Most envelopes in one read, so that memory stays bounded.
const READ_LEAVES: usize = 4_096;
/// Most bytes of envelopes in one read.
const READ_BYTES: usize = 4 << 20;

/// Actions of events that only an existing sensor has. Other events may name a sensor that does not
/// exist: an order can name any.
const OF_A_SENSOR: [&str; 4] = [
    action::SENSOR_DISCOVERED,
    action::SENSOR_CHANGED,
    action::SENSOR_READING,
    action::READINGS_MISSING,
];

/// Which readings to export: those of one sensor, selected by their own times. If there is a
/// `from`, the export skips what the log received before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection<'a> {
    /// Id of the sensor.
    pub sensor: SensorId,
    /// The channel whose values are exported, of a sensor with several. Readings with a value that
    /// is not of this channel are left out.
    pub channel: Option<&'a str>,
    /// First moment of the span, included.
    pub from: Option<Timestamp>,
    /// End of the span, excluded.
    pub to: Option<Timestamp>,
}

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Number of readings that were written.
    pub readings: u64,
    /// Number of erased leaves in the span that was read. Readings of the sensor may have been
    /// among them.
    pub erased: u64,
    /// Number of readings that have a value.
    pub values: u64,
    /// Whether the span that was read has any event of the sensor.
    pub is_known: bool,
}

/// Format of an exported file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Text with one line for each reading (RFC 4180).
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Name of the format, as commands and requests write it.
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

/// The name is not the name of a format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a format: use csv or parquet")]
pub struct UnknownFormat(String);

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An envelope of the sensor has a newer version or is invalid.
    #[error("the envelope of leaf {leaf} mentions the sensor, but cannot be read")]
    Envelope {
        /// Leaf of the envelope.
        leaf: u64,
        /// The parse error.
        source: InvalidEnvelope,
    },
    /// The output cannot be written.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
    /// The output cannot be written; the error comes from the Parquet library.
    #[error("the file cannot be written")]
    Parquet(#[from] ParquetError),
}

/// Writes readings in the order of the log. It calls `progress` after each read with the number of
/// leaves read so far.
///
/// # Errors
/// The log cannot be read, or `output` cannot be written.
pub fn write(
    log: &LogReader,
    selection: Selection<'_>,
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

/// Calls `visit` with the selected readings, some at a time.
fn for_each(
    log: &LogReader,
    Selection { sensor, channel, from, to }: Selection<'_>,
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
            // Canonical JSON writes the sensor in exactly one way, so other envelopes need no
            // parsing.
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
            let row = asked_for.and_then(|reading| match channel {
                Some(channel) => Reading::of_channel(leaf, &reading, &envelope.event, channel),
                None => Some(Reading::of(leaf, &reading, &envelope.event)),
            });
            written.values += u64::from(row.as_ref().is_some_and(|row| row.status == SUCCESS));
            readings.extend(row);
        }
        visit(&readings)?;
        written.readings += readings.len() as u64;
        readings.clear();
        progress(next_leaf - first);
    }
    Ok(written)
}

/// Whether the log has any event of a sensor.
///
/// # Errors
/// The log cannot be read.
pub fn is_known(
    log: &LogReader,
    sensor: SensorId,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, ExportError> {
    let to = Some(Timestamp::from_unix_micros(0));
    let nothing = Selection { sensor, channel: None, from: None, to };
    Ok(for_each(log, nothing, progress, |_| Ok(()))?.is_known)
}
