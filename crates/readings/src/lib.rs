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
    Calibrations, Envelope, Given, InForce, SealedReading, SensorId, Timestamp, action,
    envelope::InvalidEnvelope, event::SUCCESS,
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
    /// Whether the log has any event of the sensor.
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

/// Writes readings in the order of the log, which it reads twice: a calibration may stand anywhere
/// in the log, also behind the readings that it corrects. It calls `progress` after each read with
/// the number of leaves read so far.
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
    let Said { is_known, calibrations } = said_of(log, selection, progress)?;
    let mut after = |leaves| progress(log.size() + leaves);
    let selected = Selected { log, selection, calibrations };
    let written = match format {
        Format::Csv => {
            let mut file = csv::File::begin(output, formulas)?;
            let written = selected
                .for_each(&mut after, |readings| Ok(file.write(selection.sensor, readings)?))?;
            file.end()?;
            written
        }
        Format::Parquet => {
            let mut file = parquet_file::File::begin(output)?;
            let written = selected
                .for_each(&mut after, |readings| Ok(file.write(selection.sensor, readings)?))?;
            file.end()?;
            written
        }
    };
    Ok(Written { is_known, ..written })
}

/// What the whole log says of a sensor.
#[derive(Debug, Default)]
struct Said {
    /// Whether it has any event of the sensor.
    is_known: bool,
    calibrations: Calibrations,
}

/// Reads what the whole log says of the selected sensor or channel.
fn said_of(
    log: &LogReader,
    Selection { sensor, channel, .. }: Selection<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Said, ExportError> {
    let mut said = Said::default();
    let mut in_force = InForce::default();
    each_about(log, sensor, 0, progress, |read| {
        let About::Envelope { leaf, bytes } = read else { return Ok(()) };
        said.is_known |= OF_A_SENSOR.iter().any(|own| Envelope::has_action(bytes, own));
        if Envelope::has_action(bytes, action::SENSOR_CALIBRATED) {
            let Envelope { event, .. } = parsed(leaf, bytes)?;
            let given = Given::of(&event).filter(|_| event.sensor() == Some(sensor));
            in_force = given.into_iter().fold(std::mem::take(&mut in_force), InForce::after);
        }
        Ok(())
    })?;
    said.calibrations = in_force.calibrations(channel);
    Ok(said)
}

/// The readings that are exported.
struct Selected<'a> {
    log: &'a LogReader,
    selection: Selection<'a>,
    calibrations: Calibrations,
}

impl Selected<'_> {
    /// Calls `visit` with the selected readings, some at a time.
    fn for_each(
        &self,
        progress: &mut dyn FnMut(u64),
        mut visit: impl FnMut(&[Reading]) -> Result<(), ExportError>,
    ) -> Result<Written, ExportError> {
        let Self { log, selection: Selection { sensor, from, .. }, .. } = *self;
        let mut written = Written::default();
        let first = from.map_or(Ok(0), |from| first_received_from(log, from))?;
        let mut readings = Vec::new();
        each_about(log, sensor, first, progress, |read| {
            match read {
                About::Erased => written.erased += 1,
                About::Envelope { leaf, bytes } => readings.extend(self.row(leaf, bytes)?),
                About::EndOfRead => {
                    let values = readings.iter().filter(|row: &&Reading| row.status == SUCCESS);
                    written.values += values.count() as u64;
                    written.readings += readings.len() as u64;
                    visit(&readings)?;
                    readings.clear();
                }
            }
            Ok(())
        })?;
        Ok(written)
    }

    /// The row of an envelope that mentions the sensor; `None` if it is not a selected reading.
    fn row(&self, leaf: u64, bytes: &[u8]) -> Result<Option<Reading>, ExportError> {
        let Selection { sensor, channel, from, to } = self.selection;
        if !Envelope::has_action(bytes, action::SENSOR_READING) {
            return Ok(None);
        }
        let envelope = parsed(leaf, bytes)?;
        let is_in =
            |at: Timestamp| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to);
        let reading = SealedReading::of(&envelope.event, envelope.received_at);
        let asked_for = reading.filter(|reading| reading.sensor == sensor && is_in(reading.at));
        let row = asked_for.and_then(|reading| match channel {
            Some(channel) => Reading::of_channel(leaf, &reading, &envelope.event, channel),
            None => Some(Reading::of(leaf, &reading, &envelope.event)),
        });
        Ok(row.map(|row| row.corrected(&self.calibrations)))
    }
}

/// What a walk through the log meets.
enum About<'a> {
    /// An envelope that mentions the sensor.
    Envelope { leaf: u64, bytes: &'a [u8] },
    /// An erased envelope, which may have been of any sensor.
    Erased,
    /// All leaves of one read have been visited.
    EndOfRead,
}

/// Reads every leaf from `first` on, and calls `visit` with what may be about a sensor.
fn each_about(
    log: &LogReader,
    sensor: SensorId,
    first: u64,
    progress: &mut dyn FnMut(u64),
    mut visit: impl FnMut(About<'_>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    // Canonical JSON writes the sensor in exactly one way, so other envelopes need no parsing.
    let speaks_of = format!("\"sensor\":\"{sensor}\"");
    let mut next_leaf = first;
    while next_leaf < log.size() {
        for StoredEnvelope { leaf, bytes } in log.envelopes(next_leaf, READ_LEAVES, READ_BYTES)? {
            next_leaf = leaf + 1;
            let Some(bytes) = bytes else {
                visit(About::Erased)?;
                continue;
            };
            if str::from_utf8(&bytes).is_ok_and(|text| text.contains(&speaks_of)) {
                visit(About::Envelope { leaf, bytes: &bytes })?;
            }
        }
        visit(About::EndOfRead)?;
        progress(next_leaf - first);
    }
    Ok(())
}

fn parsed(leaf: u64, bytes: &[u8]) -> Result<Envelope, ExportError> {
    Envelope::parse(bytes).map_err(|source| ExportError::Envelope { leaf, source })
}
