//! What was exported is what the log has: read back by the format's own reader.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

use std::{fs, io::Write as _};

use index::{Batch, Indexer, Reader};
use model::{Envelope, Event, Heartbeat, Outcome, Salt, Timestamp};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use readings::{Format, Selection};
use tempfile::TempDir;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

fn heartbeat() -> Heartbeat {
    let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
        "location":"Hall","unit":"°C"}"#;
    Heartbeat::parse(text.as_bytes()).unwrap()
}

/// So many readings, one a second.
fn site(readings: i64) -> (TempDir, Reader) {
    site_of((0..readings).map(|second| match second % 4 {
        0 => Outcome::of(b"23.50"),
        1 => Outcome::of(br#""wet, \"very\"""#),
        2 => Outcome::CommError,
        _ => Outcome::of(br#"{"value":7,"unit":"m"}"#),
    }))
}

fn site_of(outcomes: impl Iterator<Item = Outcome>) -> (TempDir, Reader) {
    let folder = TempDir::new().unwrap();
    let mut indexer = Indexer::open(&folder.path().join("index.sqlite"), "key", |_| None).unwrap();
    let envelopes = (0_i64..).zip(outcomes).map(|(second, outcome)| {
        let event = Event::reading(&heartbeat(), second.cast_unsigned() + 1, outcome, at(second));
        Some(Envelope { event, received_at: at(second), salt: Salt::from_random([0; 16]) })
    });
    let mut batch = Batch::new(0);
    batch.extend(envelopes);
    indexer.apply(&batch, [0; 32]).unwrap();
    let reader = indexer.reader().unwrap();
    (folder, reader)
}

fn export(
    reader: &Reader,
    format: Format,
    (from, to): (Option<i64>, Option<i64>),
) -> (u64, Vec<u8>) {
    let selection = Selection { sensor: heartbeat().id, from: from.map(at), to: to.map(at) };
    let mut bytes = Vec::new();
    let mut told = 0;
    let count =
        readings::write(reader, selection, format, &mut bytes, &mut |count| told = count).unwrap();
    assert_eq!(told, count);
    (count, bytes)
}

fn read_back(bytes: &[u8]) -> SerializedFileReader<fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SerializedFileReader::new(file).unwrap()
}

#[test]
fn csv_has_a_line_for_each_reading_of_the_span() {
    let (_folder, reader) = site(10);
    let (count, bytes) = export(&reader, Format::Csv, (Some(4), Some(8)));
    assert_eq!(count, 4);
    let id = heartbeat().id;
    let expected = format!(
        "sensor,leaf,timestamp,status,value,unit\n\
         {id},4,1970-01-01T00:00:04.000000Z,SUCCESS,23.50,°C\n\
         {id},5,1970-01-01T00:00:05.000000Z,SUCCESS,\"wet, \"\"very\"\"\",°C\n\
         {id},6,1970-01-01T00:00:06.000000Z,COMM_ERROR,N/A,\n\
         {id},7,1970-01-01T00:00:07.000000Z,SUCCESS,7,m\n"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(export(&reader, Format::Csv, (Some(10), None)).0, 0);
}

#[test]
fn parquet_is_read_back_by_its_own_reader() {
    let (_folder, reader) = site(70_000);
    let (count, bytes) = export(&reader, Format::Parquet, (None, None));
    assert_eq!(count, 70_000);
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    let file = read_back(&bytes);
    assert_eq!(file.metadata().num_row_groups(), 2);
    let rows: Vec<Vec<(String, Field)>> = file
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            row.unwrap()
                .get_column_iter()
                .map(|(name, field)| (name.clone(), field.clone()))
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), 70_000);
    for (second, row) in (0..).zip(rows) {
        let text = |text: &str| Field::Str(text.into());
        let (status, value, number, unit) = match second % 4 {
            0 => ("SUCCESS", "23.50", Field::Double(23.5), text("°C")),
            1 => ("SUCCESS", "wet, \"very\"", Field::Null, text("°C")),
            2 => ("COMM_ERROR", "N/A", Field::Null, Field::Null),
            _ => ("SUCCESS", "7", Field::Double(7.0), text("m")),
        };
        let expected = [
            ("sensor", text(&heartbeat().id.to_string())),
            ("leaf", Field::Long(second)),
            ("timestamp", Field::TimestampMicros(second * 1_000_000)),
            ("status", text(status)),
            ("value", text(value)),
            ("number", number),
            ("unit", unit),
        ];
        assert_eq!(row, expected.map(|(name, field)| (name.to_owned(), field)));
    }
}

#[test]
fn long_values_end_a_group_of_rows_early() {
    let value = format!("\"{}\"", "x".repeat(16_000));
    let (_folder, reader) = site_of((0..1_200).map(|_| Outcome::of(value.as_bytes())));
    let (count, bytes) = export(&reader, Format::Parquet, (None, None));
    assert_eq!(count, 1_200);
    let file = read_back(&bytes);
    assert_eq!(
        (file.metadata().num_row_groups(), file.metadata().file_metadata().num_rows()),
        (3, 1_200)
    );
}

#[test]
fn a_sensor_without_readings_gives_a_file_without_rows() {
    let (_folder, reader) = site(0);
    let (count, bytes) = export(&reader, Format::Parquet, (None, None));
    assert_eq!(count, 0);
    let file = read_back(&bytes);
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
}
