//! Exported files match the log. Each is read back with an independent reader of its format.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

use std::{fs, io::Write as _, sync::Arc};

use ledger::{Batch, Erasure, Ledger, LogReader, disk::RealDisk};
use model::{
    Event, Given, Heartbeat, Outcome, SensorId, SensorOrder, Timestamp, event::FieldValue,
};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use readings::{Format, Selection, Written, csv::Formulas};
use tempfile::TempDir;
use tlog::{KeyName, Signer};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

fn unknown() -> SensorId {
    "00000000-0000-0000-0000-000000000001".parse().unwrap()
}

fn heartbeat() -> Heartbeat {
    let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
        "location":"Hall","unit":"°C"}"#;
    Heartbeat::parse(text.as_bytes()).unwrap()
}

/// A log with this many readings, one per second.
async fn site(readings: i64) -> (TempDir, LogReader) {
    let outcomes = (0..readings).map(|second| match second % 4 {
        0 => Outcome::of(b"23.50"),
        1 => Outcome::of(br#""wet, \"very\"""#),
        2 => Outcome::CommError,
        _ => Outcome::of(br#"{"value":7,"unit":"m"}"#),
    });
    site_of(outcomes).await
}

async fn site_of(outcomes: impl Iterator<Item = Outcome>) -> (TempDir, LogReader) {
    let events = (0_i64..).zip(outcomes).map(|(second, outcome)| {
        Event::reading(&heartbeat(), second.cast_unsigned() + 1, outcome, at(second))
    });
    log_of(events.collect(), None).await
}

/// A log of these events after its genesis entry, from leaf 1 on, some of them erased.
async fn log_of(events: Vec<Event>, erased: Option<&str>) -> (TempDir, LogReader) {
    let folder = TempDir::new().unwrap();
    let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
    let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
    for batch in events.chunks(500) {
        ledger.append(Batch::of(batch.to_vec())).await.unwrap();
    }
    if let Some(leaves) = erased {
        let (actor, reason) = (String::from("tester"), String::from("a test"));
        let erasure = Erasure { leaves: leaves.parse().unwrap(), actor, reason };
        ledger.erase(erasure, at(0)).await.unwrap();
    }
    ledger.publish_checkpoint().await.unwrap();
    drop(ledger);
    writer.close().await.unwrap();
    let log = LogReader::open(Arc::new(RealDisk), folder.path(), None).unwrap();
    (folder, log)
}

fn export(
    log: &LogReader,
    format: Format,
    (from, to): (Option<i64>, Option<i64>),
) -> (u64, Vec<u8>) {
    let selection =
        Selection { sensor: heartbeat().id, channel: None, from: from.map(at), to: to.map(at) };
    let mut bytes = Vec::new();
    let how = (format, Formulas::Defused);
    let written = readings::write(log, selection, how, &mut bytes, &mut |_| {}).unwrap();
    (written.readings, bytes)
}

fn read_back(bytes: &[u8]) -> SerializedFileReader<fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SerializedFileReader::new(file).unwrap()
}

#[tokio::test]
async fn csv_has_a_line_for_each_reading_of_the_span() {
    let (_folder, log) = site(10).await;
    let (count, bytes) = export(&log, Format::Csv, (Some(4), Some(8)));
    assert_eq!(count, 4);
    let id = heartbeat().id;
    let expected = format!(
        "sensor,leaf,timestamp,status,value,calibrated,unit,sensor_time,flags\n\
         {id},5,1970-01-01T00:00:04.000000Z,SUCCESS,23.50,,°C,,\n\
         {id},6,1970-01-01T00:00:05.000000Z,SUCCESS,\"wet, \"\"very\"\"\",,°C,,\n\
         {id},7,1970-01-01T00:00:06.000000Z,COMM_ERROR,N/A,,,,\n\
         {id},8,1970-01-01T00:00:07.000000Z,SUCCESS,7,,m,,\n"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(export(&log, Format::Csv, (Some(10), None)).0, 0);
}

#[tokio::test]
async fn a_channel_has_a_file_of_its_own() {
    let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
        "channels":[{"name":"t","unit":"°C","scale":-2},{"name":"wave","scale":1}]}"#;
    let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
    let answers: [Outcome; 6] = [
        Outcome::of(br#"{"values":{"h":41,"t":2350}}"#),
        Outcome::CommError,
        Outcome::of(br#"{"values":{"h":42}}"#), // without the channel
        Outcome::of(b"7"),                      // a single value
        Outcome::of(br#"{"values":{"t":"=1"}}"#),
        Outcome::of(br#"{"values":{"wave":[1,2.5],"t":null}}"#),
    ];
    let events = (0_i64..).zip(answers).map(|(second, outcome)| {
        Event::reading(&heartbeat, second.cast_unsigned() + 1, outcome, at(second))
    });
    let (_folder, log) = log_of(events.collect(), None).await;
    let id = heartbeat.id;
    let file = |channel| {
        let selection = Selection { sensor: id, channel: Some(channel), from: None, to: None };
        let mut bytes = Vec::new();
        let how = (Format::Csv, Formulas::Defused);
        let written = readings::write(&log, selection, how, &mut bytes, &mut |_| {}).unwrap();
        (written.readings, written.values, String::from_utf8(bytes).unwrap())
    };
    let expected = format!(
        "sensor,leaf,timestamp,status,value,calibrated,unit,sensor_time,flags\n\
         {id},1,1970-01-01T00:00:00.000000Z,SUCCESS,23.50,,°C,,\n\
         {id},2,1970-01-01T00:00:01.000000Z,COMM_ERROR,N/A,,,,\n\
         {id},5,1970-01-01T00:00:04.000000Z,SUCCESS,'=1,,°C,,\n"
    );
    assert_eq!(file("t"), (3, 2, expected));
    let (readings, values, csv) = file("wave");
    assert_eq!((readings, values), (2, 1));
    assert!(csv.ends_with("SUCCESS,\"[10,2.5e1]\",,,,\n"), "{csv}");
    let (readings, values, _) = file("none");
    assert_eq!((readings, values), (1, 0));
}

/// An order that corrects what the sensor writes from a second on.
fn calibrated(gain: &str, channel: Option<&str>, second: i64) -> Given {
    let order = SensorOrder::Calibrate {
        calibration: format!("{gain} -1").parse().unwrap(),
        channel: channel.map(|name| name.parse().unwrap()),
        from: at(second),
    };
    Given { order, by: String::from("ada"), at: at(9), reason: String::from("a test") }
}

#[tokio::test]
async fn a_calibration_corrects_from_its_date_on_wherever_its_order_stands_in_the_log() {
    let reading = |second: i64| {
        let answer = [&b"1.5"[..], br#""wet""#, br#"{"values":{"t":7}}"#];
        let outcome = Outcome::of(answer[usize::try_from(second % 3).unwrap()]);
        Event::reading(&heartbeat(), second.cast_unsigned() + 1, outcome, at(second))
    };
    let orders = [("2", None, 3), ("3", None, 6), ("5", Some("t"), 0)];
    let orders = orders.map(|(gain, channel, second)| {
        Event::sensor_ordered(&heartbeat(), &calibrated(gain, channel, second))
    });
    let other = Heartbeat { id: unknown(), ..heartbeat() };
    let others = Event::sensor_ordered(&other, &calibrated("9", None, 0));
    let events: Vec<Event> = (0..9).map(reading).chain(orders).chain([others]).collect();
    let (_folder, log) = log_of(events, None).await;
    let cells = |bytes: Vec<u8>| -> Vec<String> {
        let lines = String::from_utf8(bytes).unwrap();
        let cell = |line: &str| line.rsplit(',').nth(3).unwrap().to_owned();
        lines.lines().skip(1).map(cell).collect()
    };
    let expected = ["", "", "", "2", "", "", "3.5", "", ""];
    assert_eq!(cells(export(&log, Format::Csv, (None, None)).1), expected);
    assert_eq!(cells(export(&log, Format::Csv, (Some(6), None)).1), expected[6..]);
    let (_, parquet) = export(&log, Format::Parquet, (Some(3), Some(4)));
    let row = read_back(&parquet).get_row_iter(None).unwrap().next().unwrap().unwrap();
    let numbers = row.get_column_iter().skip(5).take(2);
    let numbers: Vec<_> = numbers.map(|(name, number)| (name.as_str(), number.clone())).collect();
    assert_eq!(numbers, [("number", Field::Double(1.5)), ("calibrated", Field::Double(2.0))]);

    let mut bytes = Vec::new();
    let selection =
        Selection { sensor: heartbeat().id, channel: Some("t"), from: None, to: Some(at(3)) };
    let how = (Format::Csv, Formulas::Defused);
    readings::write(&log, selection, how, &mut bytes, &mut |_| {}).unwrap();
    assert_eq!(cells(bytes), ["34"], "an undeclared channel too");
}

#[tokio::test]
async fn a_wrong_clock_is_told_and_moves_no_row() {
    /// 2026-11-29, in seconds.
    const NOON: i64 = 1_795_953_600;
    let events = (0_i64..).zip([
        r#"{"value":1,"time":"2036-02-07T06:28:16Z"}"#,
        r#"{"value":2,"time":"=1+1"}"#,
        r#"{"value":3,"time":"1970-01-01T00:00:02Z"}"#,
    ]);
    let events = events.map(|(second, answer)| {
        let number = second.cast_unsigned() + 1;
        Event::reading(&heartbeat(), number, Outcome::of(answer.as_bytes()), at(NOON + second))
    });
    let (_folder, log) = log_of(events.collect(), None).await;
    let (_, csv) = export(&log, Format::Csv, (None, None));
    let csv = String::from_utf8(csv).unwrap();
    let id = heartbeat().id;
    let expected = format!(
        "sensor,leaf,timestamp,status,value,calibrated,unit,sensor_time,flags\n\
         {id},1,2026-11-29T12:00:00.000000Z,SUCCESS,1,,°C,2036-02-07T06:28:16.000000Z,ntp_era\n\
         {id},2,2026-11-29T12:00:01.000000Z,SUCCESS,2,,°C,'=1+1,not_a_time\n\
         {id},3,2026-11-29T12:00:02.000000Z,SUCCESS,3,,°C,1970-01-01T00:00:02.000000Z,too_early\n"
    );
    assert_eq!(csv, expected);
    let (_, parquet) = export(&log, Format::Parquet, (None, None));
    let file = read_back(&parquet);
    let flags = file.get_row_iter(None).unwrap().map(|row| {
        let last = row.unwrap().get_column_iter().last().unwrap().1.clone();
        last.to_string()
    });
    assert_eq!(flags.collect::<Vec<_>>(), ["\"ntp_era\"", "\"not_a_time\"", "\"too_early\""]);
}

#[tokio::test]
async fn parquet_is_read_back_by_its_own_reader() {
    let (_folder, log) = site(70_000).await;
    let (count, bytes) = export(&log, Format::Parquet, (None, None));
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
            ("leaf", Field::Long(second + 1)),
            ("timestamp", Field::TimestampMicros(second * 1_000_000)),
            ("status", text(status)),
            ("value", text(value)),
            ("number", number),
            ("calibrated", Field::Null),
            ("unit", unit),
            ("sensor_time", Field::Null),
            ("flags", Field::Null),
        ];
        assert_eq!(row, expected.map(|(name, field)| (name.to_owned(), field)));
    }
}

#[tokio::test]
async fn long_values_end_a_group_of_rows_early() {
    let value = format!("\"{}\"", "x".repeat(16_000));
    let outcomes = (0..1_200).map(|_| Outcome::of(value.as_bytes()));
    let (_folder, log) = site_of(outcomes).await;
    let (count, bytes) = export(&log, Format::Parquet, (None, None));
    assert_eq!(count, 1_200);
    let file = read_back(&bytes);
    assert_eq!(
        (file.metadata().num_row_groups(), file.metadata().file_metadata().num_rows()),
        (2, 1_200)
    );
}

#[tokio::test]
async fn a_sensor_without_readings_gives_a_file_without_rows() {
    let (_folder, log) = site(0).await;
    let (count, bytes) = export(&log, Format::Parquet, (None, None));
    assert_eq!(count, 0);
    let file = read_back(&bytes);
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
}

#[tokio::test]
async fn a_file_has_what_was_sealed_of_the_sensor_and_nothing_else() {
    let reading = |poll: u64, value: &str, second| {
        Event::reading(&heartbeat(), poll, Outcome::of(value.as_bytes()), at(second))
    };
    let id = heartbeat().id;
    let of_a_program = Event {
        action: Some("SENSOR_READING".into()),
        message: format!("says that it is of \"sensor\":\"{id}\""),
        status: Some("SUCCESS".into()),
        new: Some("99".into()),
        custom: [("sensor".to_owned(), FieldValue::Text(id.to_string()))].into(),
        ..Event::default()
    };
    // The site's clock was set back; the log's order stays.
    let events = vec![
        reading(1, "1", 100),
        of_a_program,
        reading(2, "\"=1+1\"", 7),
        reading(3, "3", 101),
        reading(4, "-4", 102),
        // An order about a sensor that never existed.
        Event::readings_exported("ada", "test", unknown(), (None, None), "curiosity", at(103)),
    ];
    let (_folder, log) = log_of(events, Some("4")).await;
    let mut bytes = Vec::new();
    let selection = Selection { sensor: id, channel: None, from: None, to: None };
    let how = (Format::Csv, Formulas::Defused);
    let written = readings::write(&log, selection, how, &mut bytes, &mut |_| {}).unwrap();
    assert_eq!(written, Written { readings: 3, values: 3, erased: 1, is_known: true });
    let text = String::from_utf8(bytes).unwrap();
    let rows: Vec<(&str, &str)> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|cells| (cells[1], cells[4]))
        .collect();
    assert_eq!(rows, [("1", "1"), ("3", "'=1+1"), ("5", "-4")]);
    let of_none = Selection { sensor: unknown(), ..selection };
    let written = readings::write(&log, of_none, how, Vec::new(), &mut |_| {}).unwrap();
    assert_eq!(written, Written { readings: 0, values: 0, erased: 1, is_known: false });
    let later = Selection { from: Some(at(1 << 40)), ..selection };
    let written = readings::write(&log, later, how, Vec::new(), &mut |_| {}).unwrap();
    assert_eq!((written.readings, written.is_known), (0, true), "the whole log tells");
}

#[tokio::test]
async fn a_row_that_was_not_sealed_is_not_written() {
    let (folder, _log) = site(300).await;
    let entries = folder.path().join("tree/entries");
    let mut bytes = fs::read(&entries).unwrap();
    bytes[32 * 9] ^= 1;
    fs::write(&entries, bytes).unwrap();
    let log = LogReader::open(Arc::new(RealDisk), folder.path(), None).unwrap();
    let selection = Selection { sensor: heartbeat().id, channel: None, from: None, to: None };
    let how = (Format::Csv, Formulas::Kept);
    let refused = readings::write(&log, selection, how, Vec::new(), &mut |_| {}).unwrap_err();
    assert!(refused.to_string().contains("leaf 9 does not match its entry"), "{refused}");
}
