//! Readings of one sensor as a file for other programs, CSV or Parquet: each with its leaf, by which it can be proved, its status and its unit.
//!
//! Readings come from the index block by block and go out as they come: a file of any length needs little memory. What a file holds is described in
//! `docs/formats/readings.md`.

mod csv;
mod parquet_file;

use std::{
    io::{self, Write},
    ops::Bound,
    str::FromStr,
};

use index::{IndexError, Reader, Reading};
use model::{SensorId, Timestamp};
use parquet::errors::ParquetError;

/// Which readings: of one sensor, by their own times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection {
    /// Whose.
    pub sensor: SensorId,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Up to but without this moment.
    pub to: Option<Timestamp>,
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
    /// The readings cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
    /// The same, by way of the Parquet library.
    #[error("the file cannot be written")]
    Parquet(#[from] ParquetError),
}

/// Writes readings, oldest first, and says how many. `progress` is told so too, every now and then.
///
/// # Errors
/// The index cannot be read, or `output` not written.
pub fn write(
    reader: &Reader,
    selection: Selection,
    format: Format,
    output: impl Write + Send,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, ExportError> {
    match format {
        Format::Csv => {
            let mut file = csv::File::begin(output)?;
            let count = for_each_block(reader, selection, progress, |block| {
                Ok(file.write(selection.sensor, block)?)
            })?;
            file.end()?;
            Ok(count)
        }
        Format::Parquet => {
            let mut file = parquet_file::File::begin(output)?;
            let count = for_each_block(reader, selection, progress, |block| {
                Ok(file.write(selection.sensor, block)?)
            })?;
            file.end()?;
            Ok(count)
        }
    }
}

/// Tells the readings, some hundred at a time, and says how many there were.
fn for_each_block(
    reader: &Reader,
    Selection { sensor, from, to }: Selection,
    progress: &mut dyn FnMut(u64),
    mut visit: impl FnMut(&[Reading]) -> Result<(), ExportError>,
) -> Result<u64, ExportError> {
    let mut count = 0;
    let mut start = from.map_or(Bound::Unbounded, |from| Bound::Included((from, 0)));
    loop {
        let block = reader.readings_from(sensor, start)?;
        let end =
            to.map_or(block.len(), |to| block.partition_point(|reading| reading.timestamp < to));
        let in_span = block.get(..end).unwrap_or_default();
        let Some(last) = in_span.last() else { return Ok(count) };
        visit(in_span)?;
        count += in_span.len() as u64;
        progress(count);
        start = Bound::Excluded((last.timestamp, last.leaf));
    }
}
