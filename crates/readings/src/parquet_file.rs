//! Writes Parquet column by column, one group of rows at a time.

use std::{io::Write, sync::Arc};

use model::SensorId;
use parquet::{
    basic::Encoding,
    data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};

use crate::reading::Reading;

/// Most rows of a group: enough to store once what the values of a column share.
const GROUP_ROWS: usize = 65_536;
/// Size of a group's values in bytes at which it is written early: sensors that answer with text
/// can have long values.
const GROUP_BYTES: usize = 8 << 20;

const SCHEMA: &str = "
    message readings {
        required binary sensor (STRING);
        required int64 leaf;
        required int64 timestamp (TIMESTAMP(MICROS, true));
        required binary status (STRING);
        required binary value (STRING);
        optional double number;
        optional double calibrated;
        optional binary unit (STRING);
        optional binary sensor_time (STRING);
        optional binary flags (STRING);
    }";

pub(crate) struct File<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    sensor: Option<SensorId>,
    waiting: Vec<Reading>,
    waiting_bytes: usize,
}

impl<W: Write + Send> File<W> {
    pub(crate) fn begin(output: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        // Delta encoding takes few bits for values that rise in small steps. All other columns
        // repeat values, which a dictionary stores once.
        let in_steps = |properties: WriterPropertiesBuilder, column: &str| {
            let column = ColumnPath::from(column);
            properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
        };
        let properties = in_steps(in_steps(WriterProperties::builder(), "leaf"), "timestamp");
        let writer = SerializedFileWriter::new(output, schema, Arc::new(properties.build()))?;
        Ok(Self { writer, sensor: None, waiting: Vec::new(), waiting_bytes: 0 })
    }

    pub(crate) fn write(
        &mut self,
        sensor: SensorId,
        readings: &[Reading],
    ) -> Result<(), ParquetError> {
        self.sensor = Some(sensor);
        self.waiting.extend_from_slice(readings);
        self.waiting_bytes += readings.iter().map(|reading| reading.value.len()).sum::<usize>();
        let is_full = self.waiting.len() >= GROUP_ROWS || self.waiting_bytes >= GROUP_BYTES;
        if is_full { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let Some(sensor) = self.sensor.map(|sensor| sensor.to_string()) else { return Ok(()) };
        let rows = &self.waiting;
        let mut group = self.writer.next_row_group()?;
        let text = |text: &str| ByteArray::from(text);
        column::<ByteArrayType>(&mut group, rows.iter().map(|_| text(&sensor)))?;
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.leaf.cast_signed()))?;
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.timestamp.unix_micros()))?;
        column::<ByteArrayType>(&mut group, rows.iter().map(|row| text(&row.status)))?;
        column::<ByteArrayType>(&mut group, rows.iter().map(|row| text(&row.value)))?;
        column_with_nulls::<DoubleType>(&mut group, rows.iter().map(Reading::number))?;
        column_with_nulls::<DoubleType>(&mut group, rows.iter().map(|row| row.calibrated))?;
        let texts: [fn(&Reading) -> Option<&str>; 3] = [
            |row| row.unit.as_deref(),
            |row| row.sensor_time.as_deref(),
            |row| row.flags.as_deref(),
        ];
        for of_row in texts {
            column_with_nulls::<ByteArrayType>(
                &mut group,
                rows.iter().map(|row| of_row(row).map(text)),
            )?;
        }
        group.close()?;
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    pub(crate) fn end(mut self) -> Result<(), ParquetError> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        self.writer.close()?;
        Ok(())
    }
}

/// Writes the next column of a group, in which every row has a value.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: impl Iterator<Item = T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<T::T> = values.collect();
    write_column::<T>(group, &values, None)
}

/// Writes the next column of a group, in which rows may have no value.
fn column_with_nulls<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = values.collect();
    let is_there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    write_column::<T>(group, &values, Some(&is_there))
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    is_there: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".into()));
    };
    column.typed::<T>().write_batch(values, is_there, None)?;
    column.close()
}
