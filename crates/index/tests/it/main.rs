//! The index from outside: what it answers follows from the envelopes alone.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

use std::fs;

use index::{Indexer, Reader, SensorState};
use model::{
    Envelope, Event, Heartbeat, NumberRange, Outcome, Salt, Timestamp, action,
    completeness::{LastNumbers, MissingReason},
    derive::{Derived, Standing},
    query::{LogsQuery, ReadingsQuery},
};
use tempfile::TempDir;

fn heartbeat(alias: &str, id: u8) -> Heartbeat {
    let text = format!(
        r#"{{"alias":"{alias}","id":"00000000-0000-0000-0000-0000000000{id:02}","poll_interval":1000,
            "poll_topic":"p/{id}","read_topic":"r/{id}","location":"Hall"}}"#
    );
    Heartbeat::parse(text.as_bytes()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

fn derived(heartbeat: &Heartbeat, action: &str) -> Event {
    let derived = Derived {
        from_leaf: 0,
        sensor: heartbeat.id,
        action: action.into(),
        source: heartbeat.source(),
        value: None,
        message: String::new(),
    };
    Event::derived(derived, "sha256:00", at(9))
}

/// Applies one event a second, from second 0 on.
fn apply(indexer: &mut Indexer, events: Vec<Event>) {
    let first = i64::try_from(indexer.next_leaf()).unwrap();
    let envelopes: Vec<Vec<u8>> = (first..)
        .zip(events)
        .map(|(second, event)| {
            Envelope { event, received_at: at(second), salt: Salt::from_random([0; 16]) }
                .canonical()
        })
        .collect();
    indexer.apply(envelopes.iter().map(|bytes| Some(bytes.as_slice()))).unwrap();
}

fn example() -> (TempDir, Indexer, Reader) {
    let folder = TempDir::new().unwrap();
    let mut indexer = Indexer::open(&folder.path().join("index.sqlite"), "key", 0).unwrap();
    let (a, b) = (heartbeat("A", 1), heartbeat("B", 2));
    apply(
        &mut indexer,
        vec![
            Event::sighting(action::SENSOR_DISCOVERED, &a, at(0)),
            Event::sighting(action::SENSOR_DISCOVERED, &b, at(1)),
            Event::reading(&a, 1, Outcome::of(b"1"), at(2)),
            Event::reading(&a, 2, Outcome::CommError, at(2)), // the same moment: both stay
            Event::reading(&a, 3, Outcome::of(b"3"), at(4)),
            Event::reading(&b, 1, Outcome::of(b"?"), at(5)),
            Event::sighting(action::HEARTBEAT_MISSED, &b, at(6)),
            derived(&b, action::SENSOR_LOST),
            derived(&a, action::OUT_OF_RANGE),
        ],
    );
    let reader = indexer.reader().unwrap();
    (folder, indexer, reader)
}

#[test]
fn sensors_stand_as_the_log_says() {
    let (_folder, _indexer, reader) = example();
    let sensors = reader.sensors(2).unwrap();
    let seen: Vec<_> = sensors
        .iter()
        .map(|sensor| {
            (sensor.heartbeat.alias.as_str(), sensor.state, sensor.standing, sensor.recent.len())
        })
        .collect();
    assert_eq!(
        seen,
        vec![
            ("A", SensorState::Online, Standing { out_of_range: true, lost: false }, 2),
            ("B", SensorState::Lost, Standing { out_of_range: false, lost: true }, 1),
        ]
    );
    assert_eq!(reader.standings().unwrap().len(), 2);
}

#[test]
fn numbers_go_on_from_the_newest_in_the_log() {
    let (folder, mut indexer, reader) = example();
    let (a, b, unknown) = (heartbeat("A", 1), heartbeat("B", 2), heartbeat("C", 3));
    let counted = Outcome::of(br#"{"value":1,"seq":431}"#);
    let missing = NumberRange::one(4).through(9);
    apply(
        &mut indexer,
        vec![
            Event::reading(&b, 2, counted, at(9)),
            Event::reading(&b, 3, Outcome::of(b"1"), at(10)), // does not count
            Event::readings_missing(&a, missing, MissingReason::BusAway, at(11)),
            Event::reading(&unknown, 7, Outcome::CommError, at(12)), // of a sensor that nobody discovered
        ],
    );
    let expected = [
        (a.id, LastNumbers { poll: 9, seq: None, numbered_until: Some(at(11)) }),
        (b.id, LastNumbers { poll: 3, seq: Some(431), numbered_until: Some(at(10)) }),
        (unknown.id, LastNumbers { poll: 7, seq: None, numbered_until: Some(at(12)) }),
    ];
    assert_eq!(reader.last_numbers().unwrap(), expected.into());
    // What numbers nothing does not take them back, and a start finds them.
    let lost = Event::sighting(action::HEARTBEAT_MISSED, &b, at(13));
    apply(&mut indexer, vec![lost, derived(&b, action::SENSOR_LOST)]);
    drop((indexer, reader));
    let indexer = Indexer::open(&folder.path().join("index.sqlite"), "key", 99).unwrap();
    assert_eq!(indexer.reader().unwrap().last_numbers().unwrap(), expected.into());
}

#[test]
fn a_series_is_cut_to_its_window_and_keeps_duplicate_times() {
    let (_folder, _indexer, reader) = example();
    let a = heartbeat("A", 1).id;
    let leaves = |from: Option<i64>, to: Option<i64>, limit| {
        let query = ReadingsQuery { sensor: a, from: from.map(at), to: to.map(at), limit };
        let readings = reader.readings(&query).unwrap().unwrap();
        readings.iter().map(|reading| reading.leaf).collect::<Vec<_>>()
    };
    assert_eq!(leaves(None, None, 10), vec![2, 3, 4]);
    assert_eq!(leaves(Some(2), Some(4), 10), vec![2, 3], "`from` is in, `to` is not");
    assert_eq!(leaves(None, None, 1), vec![3, 4], "one more than asked for, the newest");
    let unknown = ReadingsQuery { sensor: heartbeat("C", 3).id, from: None, to: None, limit: 1 };
    assert!(reader.readings(&unknown).unwrap().is_none());
}

#[test]
fn a_search_matches_all_that_is_named_and_pages() {
    let (_folder, _indexer, reader) = example();
    let search = |query: LogsQuery, end, offset| {
        let found = reader.search(&query, end, offset, 2).unwrap();
        (found.count, found.leaves)
    };
    let readings = LogsQuery { action: Some("SENSOR_READING".into()), ..LogsQuery::default() };
    assert_eq!(search(readings.clone(), 9, 0), (4, vec![5, 4]));
    assert_eq!(search(readings.clone(), 9, 2), (4, vec![3, 2]));
    assert_eq!(
        search(readings.clone(), 5, 0),
        (3, vec![4, 3]),
        "what came later does not shift the pages"
    );
    let failed = LogsQuery { status: Some("COMM_ERROR".into()), ..readings };
    assert_eq!(search(failed, 9, 0), (1, vec![3]));
    let rare = LogsQuery { not_action: Some("SENSOR_READING".into()), ..LogsQuery::default() };
    assert_eq!(search(rare, 9, 0), (5, vec![8, 7]));
    let of_b = LogsQuery { source: Some("ll.B".into()), ..LogsQuery::default() };
    assert_eq!(search(of_b, 9, 0).0, 4);
    let window = LogsQuery { from: Some(at(2)), to: Some(at(4)), ..LogsQuery::default() };
    assert_eq!(search(window, 9, 0), (2, vec![3, 2]));
    let nothing = LogsQuery { action: Some("' OR 1".into()), ..LogsQuery::default() };
    assert_eq!(search(nothing, 9, 0), (0, vec![]));
}

#[test]
fn a_file_of_another_log_or_no_file_at_all_is_made_anew() {
    let (folder, indexer, reader) = example();
    drop((indexer, reader));
    let path = folder.path().join("index.sqlite");
    assert_eq!(Indexer::open(&path, "key", 9).unwrap().next_leaf(), 9, "it goes on");
    assert_eq!(Indexer::open(&path, "key", 8).unwrap().next_leaf(), 0, "it is ahead of its log");
    assert_eq!(Indexer::open(&path, "another key", 9).unwrap().next_leaf(), 0);
    fs::write(&path, "this is not SQLite's").unwrap();
    assert_eq!(Indexer::open(&path, "key", 9).unwrap().next_leaf(), 0);
}

#[test]
fn what_was_erased_is_forgotten_to_the_last_byte() {
    let (folder, mut indexer, reader) = example();
    let a = heartbeat("A", 1);
    let secret = "of-one-person-only";
    let mut event = Event::reading(&a, 4, Outcome::of(br#""of-one-person-only""#), at(9));
    event.source = Some(format!("Hall.{secret}"));
    apply(&mut indexer, vec![event]);
    let leaf = indexer.next_leaf() - 1;
    let files_hold = |text: &str| {
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files.into_iter().any(|file| {
            let bytes = fs::read(file).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    assert!(files_hold(secret));
    let query = ReadingsQuery { sensor: a.id, from: None, to: None, limit: 500 };
    let before = reader.readings(&query).unwrap().unwrap().len();
    apply(
        &mut indexer,
        vec![Event::envelopes_erased("ada", "log", leaf.to_string(), 1, "asked for", at(10))],
    );
    assert!(!files_hold(secret));
    let left = reader.readings(&query).unwrap().unwrap();
    assert!(left.len() == before - 1 && left.iter().all(|reading| reading.leaf != leaf));
    let events = reader.search(&LogsQuery::default(), indexer.next_leaf(), 0, 500).unwrap();
    assert!(!events.leaves.contains(&leaf) && events.leaves.contains(&(leaf + 1)));
}
