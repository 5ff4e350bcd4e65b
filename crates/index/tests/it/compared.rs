//! A comparison with the log finds any change of an index.

use std::path::Path;

use index::{Comparison, IndexBatch, Indexer};
use model::{Envelope, Event, Outcome, Salt, action};
use tempfile::TempDir;

use crate::{at, derived, entry, heartbeat};

/// The leaves before this one were erased. The following ones cross the end of a chunk, with which
/// a run ends.
const FIRST: u64 = 65_536 - 6;

fn sealed() -> Vec<Envelope> {
    let (a, b) = (heartbeat("A", 1), heartbeat("B", 2));
    let mut events = vec![
        Event::sighting(action::SENSOR_DISCOVERED, &a, at(0)),
        Event::sighting(action::SENSOR_DISCOVERED, &b, at(1)),
        Event::reading(&a, 1, Outcome::of(b"1.5"), at(2)),
        Event::reading(&a, 2, Outcome::of(br#""open""#), at(3)),
        Event::sighting(action::HEARTBEAT_MISSED, &b, at(4)),
        derived(&a, action::OUT_OF_RANGE),
    ];
    // Beyond the chunk.
    events.extend([
        Event::reading(&a, 3, Outcome::of(b"-7"), at(5)),
        Event::reading(&b, 1, Outcome::CommError, at(6)),
        Event { message: "two words".into(), actor: Some("ada".into()), ..Event::default() },
        // More words than are written without their grams.
        Event {
            message: (0..5_000).map(|number| format!("w{number} ")).collect(),
            ..Event::default()
        },
    ]);
    // Enough for a block of each sensor.
    for number in 0..40 {
        let value = number.to_string();
        let taken = |sensor, poll| {
            Event::reading(sensor, poll, Outcome::of(value.as_bytes()), at(10 + number))
        };
        events
            .extend([taken(&a, 4 + number.cast_unsigned()), taken(&b, 2 + number.cast_unsigned())]);
    }
    let envelopes = (0..).zip(events).map(|(second, event)| Envelope {
        event,
        received_at: at(second),
        salt: Salt::from_random([0; 16]),
    });
    envelopes.collect()
}

fn apply(path: &Path, envelopes: Vec<Option<Envelope>>) {
    let mut indexer = Indexer::open(path, crate::LOG, |_| Ok(Some(entry()))).unwrap();
    let mut batch = IndexBatch::new(indexer.next_leaf());
    batch.extend(envelopes);
    indexer.apply(&batch, entry()).unwrap();
}

fn index() -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.sqlite");
    apply(&path, (0..FIRST).map(|_| None).collect());
    // The readings of the second batch are too few for blocks.
    let mut sealed: Vec<_> = sealed().into_iter().map(Some).collect();
    let newest = sealed.split_off(sealed.len() - 6);
    apply(&path, sealed);
    apply(&path, newest);
    (folder, path)
}

/// The differences between the index and a log that has these envelopes after the erased ones.
fn differences(path: &Path, envelopes: Vec<Option<Envelope>>) -> Vec<String> {
    let mut comparison = Comparison::begin(path, true).unwrap().unwrap();
    let mut all = (0..FIRST).map(|_| None).chain(envelopes).peekable();
    let mut next_leaf = 0;
    while all.peek().is_some() {
        let mut batch = IndexBatch::new(next_leaf);
        let room = batch.room();
        batch.extend(all.by_ref().take(room));
        next_leaf = batch.next_leaf();
        comparison.take_in(&batch);
    }
    let found = comparison.finish(|_| false).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_can_be_changed_in_an_index_without_being_told() {
    let there = || sealed().into_iter().map(Some).collect::<Vec<_>>();
    let (_folder, path) = index();
    assert_eq!(differences(&path, there()), Vec::<String>::new());
    for (change, words) in [
        ("DELETE FROM posting", "search terms"),
        (
            "UPDATE posting SET key = key + 1 WHERE key = (SELECT min(key) FROM posting)",
            "search terms",
        ),
        ("UPDATE run SET chunk = -1", "search terms"),
        ("DELETE FROM tail", "search terms"),
        ("UPDATE term SET text = 'eva' WHERE text = 'ada'", "search terms"),
        ("DELETE FROM gram WHERE gram = (SELECT max(gram) FROM gram)", "search grams"),
        (
            "UPDATE block SET bytes = CAST(replace(CAST(bytes AS TEXT), 'open', 'shut') AS BLOB) WHERE sensor = 1",
            "readings of leaves",
        ),
        ("DELETE FROM block WHERE sensor = 2", "readings of leaves"),
        ("UPDATE block SET high = 99 WHERE sensor = 1", "sums of readings"),
        ("UPDATE block SET sum = sum * 2 WHERE sensor = 1", "sums of readings"),
        ("UPDATE rollup SET numbers = numbers + 1 WHERE sensor = 1", "sums of readings"),
        ("UPDATE rollup SET sum = -sum WHERE sensor = 1", "sums of readings"),
        ("DELETE FROM rollup WHERE sensor = 2", "sums of readings"),
        ("DELETE FROM newest WHERE sensor = 2", "readings of leaves"),
        ("UPDATE newest SET bytes = x'', readings = 0 WHERE sensor = 1", "readings of leaves"),
        ("UPDATE newest SET readings = 0 WHERE sensor = 1", "sums of readings"),
        ("UPDATE newest SET sum = sum * 2 WHERE sensor = 1", "sums of readings"),
        ("UPDATE leaves SET first_at = first_at + 1", "times of receipt"),
        ("DELETE FROM sighting WHERE sensor = 1", "changes of sensors' states"),
        (
            "UPDATE sighting SET action = 'SENSOR_BACK' WHERE action = 'OUT_OF_RANGE'",
            "changes of sensors' states",
        ),
        ("UPDATE sensor SET state = 'online'", "existence or state"),
        ("UPDATE sensor SET standing = NULL", "existence or state"),
        ("UPDATE sensor SET heartbeat = NULL WHERE key = 2", "existence or state"),
        ("UPDATE newest SET poll = 0", "newest numbers"),
    ] {
        let (_folder, path) = index();
        let changed = rusqlite::Connection::open(&path).unwrap();
        assert!(changed.execute(change, []).unwrap() > 0, "{change}");
        drop(changed);
        let found = differences(&path, there());
        assert!(found.iter().any(|found| found.contains(words)), "{change}: {found:?}");
    }
}

#[test]
fn what_was_erased_or_passed_over_is_no_difference_and_what_is_still_there_is() {
    let order = || Envelope {
        event: Event::envelopes_erased(
            "ada",
            "log",
            format!("{}", FIRST + 3),
            1,
            "asked for",
            at(9),
        ),
        received_at: at(9),
        salt: Salt::from_random([0; 16]),
    };
    let erased = |ordered: bool| {
        let mut left: Vec<Option<Envelope>> = sealed().into_iter().map(Some).collect();
        left[3] = None;
        left.extend(ordered.then(|| Some(order())));
        left
    };
    let (_folder, path) = index();
    // The envelope is missing from the log, and no order erased it.
    let found = differences(&path, erased(false));
    assert!(found.iter().any(|found| found.contains("readings of leaves")), "{found:?}");
    apply(&path, vec![Some(order())]);
    assert_eq!(differences(&path, erased(true)), Vec::<String>::new());

    let (_folder, path) = index();
    let mut indexer = Indexer::open(&path, crate::LOG, |_| Ok(Some(entry()))).unwrap();
    let mut batch = IndexBatch::new(indexer.next_leaf());
    batch.pass_over("refused");
    indexer.apply(&batch, entry()).unwrap();
    let mut all: Vec<Option<Envelope>> = sealed().into_iter().map(Some).collect();
    all.push(Some(Envelope { event: Event::default(), ..order() }));
    assert_eq!(differences(&path, all), Vec::<String>::new());
}
