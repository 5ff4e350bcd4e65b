//! Tests the index from outside: its answers follow from the envelopes alone.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

mod against_a_scan;
mod compared;

use std::{collections::BTreeMap, fs};

use index::{
    Bucket, Described, Entry, Field, FoundEntry, IndexBatch, Indexer, Query, Reader, ResultOrder,
    Search, Series, Trouble,
};
use model::{
    Envelope, Event, Given, Heartbeat, LogId, NumberRange, Outcome, PushedSeries, PushedValue,
    Salt, SensorState, Timestamp, action,
    completeness::LastNumbers,
    derive::{Derived, Standing},
    event::{self, Detail, FieldValue},
    gap::MissingReason,
    query::ReadingsQuery,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
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
        channel: None,
        since: None,
        source: heartbeat.source(),
        value: None,
        message: String::new(),
    };
    Event::derived(derived, "sha256:00", at(9))
}

/// Applies one event per second, from second 0 on.
fn apply(indexer: &mut Indexer, events: Vec<Event>) {
    let first = i64::try_from(indexer.next_leaf()).unwrap();
    let envelopes = (first..).zip(events).map(|(second, event)| {
        Some(Envelope { event, received_at: at(second), salt: Salt::from_random([0; 16]) })
    });
    let mut batch = IndexBatch::new(indexer.next_leaf());
    batch.extend(envelopes);
    indexer.apply(&batch, entry()).unwrap();
}

/// The log that is indexed.
const LOG: LogId = LogId::from_sha256([1; LogId::LEN]);

/// The log's entry of every leaf in these tests.
fn entry() -> Entry {
    [7; 32]
}

#[test]
fn a_series_that_a_device_reports_by_itself_is_listed_plotted_and_numbered() {
    let (_folder, mut indexer, reader) = example();
    let series = PushedSeries {
        alias: None,
        location: String::new(),
        id: model::SensorId::of_series([7; 16]),
        interval_ms: Some(60_000),
        name: "tasmota/kitchen".into(),
        quantity: "temperature".into(),
        rule: "tasmota".into(),
        unit: None,
    };
    let reading =
        PushedValue { value: "20.60".into(), interval: Some(1), ..PushedValue::default() };
    apply(
        &mut indexer,
        vec![
            Event::series_discovered(&series, "tele/kitchen/SENSOR", at(9)),
            Event::pushed(&series, reading, at(10)),
            Event::intervals_missing(
                &series,
                Ok((NumberRange::new(2, 4).unwrap(), MissingReason::NotReported)),
                at(11),
            ),
        ],
    );
    let described: Vec<Described> =
        reader.sensors(0).unwrap().into_iter().map(|sensor| sensor.described).collect();
    assert!(described.len() == 3 && described.contains(&Described::Pushed(series.clone())));
    let listed = reader.listed_sensors().unwrap();
    assert!(listed.iter().any(|sensor| sensor.alias == "tasmota/kitchen.temperature"));
    assert_eq!(reader.last_numbers().unwrap().get(&series.id).unwrap().poll, 4);
    let query = ReadingsQuery {
        sensor: series.id,
        channel: None,
        from: None,
        to: None,
        limit: 9,
        points: None,
    };
    let readings = reader.readings(&query).unwrap().unwrap();
    assert_eq!(readings.first().unwrap().value, "20.60");
    for (json, state) in [
        (r#"{"order":"rename","alias":"Oven"}"#, SensorState::Online),
        (r#"{"order":"move","location":"Hall"}"#, SensorState::Online),
        (
            r#"{"order":"calibrate","gain":"2","offset":"1","from":"1970-01-01T00:00:10Z"}"#,
            SensorState::Online,
        ),
        (r#"{"order":"retire"}"#, SensorState::Retired),
        (r#"{"order":"recall"}"#, SensorState::Online),
    ] {
        let order = serde_json::from_str(json).unwrap();
        let (by, reason) = (String::from("ada"), String::from("a test"));
        let given = Given { order, by, at: at(12), reason };
        apply(&mut indexer, vec![Event::series_ordered(&series, &given)]);
        assert_eq!(reader.sensors_of(&[series.id], 0).unwrap()[0].state, state, "{json}");
    }
    let described = reader.sensors_of(&[series.id], 0).unwrap().remove(0).described;
    assert_eq!((&*described.alias(), described.location()), ("Oven.temperature", "Hall"));
    let readings = reader.readings(&query).unwrap().unwrap();
    assert_eq!(readings.first().unwrap().calibrated, Some(42.2));
}

fn example() -> (TempDir, Indexer, Reader) {
    let folder = TempDir::new().unwrap();
    let mut indexer =
        Indexer::open(&folder.path().join("index.sqlite"), LOG, |_| Ok(None)).unwrap();
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

fn numbers(poll: u64, seq: Option<u64>, until: Timestamp) -> LastNumbers {
    LastNumbers { poll, seq, numbered_until: Some(until), answered: true, ..LastNumbers::default() }
}

#[test]
fn sensors_stand_as_the_log_says() {
    let (_folder, mut indexer, reader) = example();
    let sensors = reader.sensors(2).unwrap();
    let seen: Vec<_> = sensors
        .iter()
        .map(|sensor| {
            (sensor.described.alias(), sensor.state, sensor.standing.clone(), sensor.recent.len())
        })
        .collect();
    assert_eq!(
        seen,
        vec![
            (
                "A".to_owned(),
                SensorState::Online,
                Standing::default().after(action::OUT_OF_RANGE, None, None),
                2
            ),
            (
                "B".to_owned(),
                SensorState::Lost,
                Standing::default().after(action::SENSOR_LOST, None, None),
                1
            ),
        ]
    );
    assert_eq!(reader.standings().unwrap().len(), 2);
    let listed = reader.listed_sensors().unwrap();
    let ids: Vec<_> = listed.iter().rev().map(|sensor| sensor.id).collect();
    let of = reader.sensors_of(&ids, 2).unwrap();
    for (listed, of) in listed.iter().rev().zip(&of) {
        assert_eq!(
            (listed.id, listed.alias.clone(), listed.state, listed.standing.clone()),
            (of.described.id(), of.described.alias(), of.state, of.standing.clone())
        );
        assert_eq!(listed.failed, of.recent.last().unwrap().status != event::SUCCESS);
    }
    assert_eq!((listed.len(), of.len(), of[1].recent.len()), (2, 2, 2));

    // One value cannot be judged, and the next can.
    let (a, b) = (heartbeat("A", 1), heartbeat("B", 2));
    for (action, not_judged) in [(action::RANGE_NOT_JUDGED, true), (action::BACK_IN_RANGE, false)] {
        apply(&mut indexer, vec![derived(&a, action)]);
        assert_eq!(reader.sensors(1).unwrap()[0].standing.is_not_judged(), not_judged, "{action}");
        // An event like the first one is not among them.
        let standings = reader.standings().unwrap();
        assert_eq!(
            standings.get(&a.id).is_some_and(Standing::is_not_judged),
            not_judged,
            "{action}"
        );
    }
    // Of a forgotten sensor, the index keeps only its numbers, until it sends a heartbeat again.
    let known = || reader.sensors(1).unwrap().len();
    apply(&mut indexer, vec![Event::sighting(action::SENSOR_FORGOTTEN, &b, at(11))]);
    assert_eq!(known(), 1);
    assert!(reader.last_numbers().unwrap().contains_key(&b.id));
    apply(&mut indexer, vec![Event::sighting(action::SENSOR_DISCOVERED, &b, at(12))]);
    assert_eq!(known(), 2);
}

#[test]
fn each_channel_stands_as_the_log_says() {
    let folder = TempDir::new().unwrap();
    let mut indexer =
        Indexer::open(&folder.path().join("index.sqlite"), LOG, |_| Ok(None)).unwrap();
    let a = heartbeat("A", 1);
    let of = |action: &str, channel: Option<&str>| {
        let mut event = derived(&a, action);
        event.sealwire.as_mut().unwrap().channel = channel.map(str::to_owned);
        event
    };
    let events = vec![
        Event::sighting(action::SENSOR_DISCOVERED, &a, at(0)),
        of(action::OUT_OF_RANGE, Some("t")),
        of(action::RANGE_NOT_JUDGED, Some("h")),
        of(action::BACK_IN_RANGE, Some("t")),
    ];
    let standings = |indexer: &Indexer| indexer.reader().unwrap().standings().unwrap();
    let out = Standing::default().after(action::OUT_OF_RANGE, Some("t"), None);
    let unknown = Standing::default().after(action::RANGE_NOT_JUDGED, Some("h"), None);
    let mut expected = [
        None,
        Some(out.clone()),
        Some(out.after(action::RANGE_NOT_JUDGED, Some("h"), None)),
        Some(unknown),
    ]
    .into_iter();
    for event in events {
        apply(&mut indexer, vec![event]);
        assert_eq!(standings(&indexer).remove(&a.id), expected.next().unwrap());
    }
    // A range that is being left says since when.
    let leaving = |channel: Option<&str>| {
        let mut event = of(action::LEAVING_RANGE, channel);
        event.sealwire.as_mut().unwrap().since = Some(at(3));
        event
    };
    let expected = Standing::default()
        .after(action::RANGE_NOT_JUDGED, Some("h"), None)
        .after(action::LEAVING_RANGE, Some("a b"), Some(at(3)))
        .after(action::LEAVING_RANGE, None, Some(at(3)));
    apply(&mut indexer, vec![leaving(Some("a b")), leaving(None)]);
    assert_eq!(standings(&indexer).remove(&a.id), Some(expected));
    let back = vec![of(action::BACK_IN_RANGE, Some("a b")), of(action::BACK_IN_RANGE, None)];
    apply(&mut indexer, back);
    // What was outside is told no more once its event is erased.
    let erased = Event::envelopes_erased("ada", "log", "2".to_owned(), 1, "asked for", at(9));
    apply(&mut indexer, vec![erased]);
    assert_eq!(standings(&indexer), BTreeMap::new());
}

#[test]
fn orders_are_in_force_as_the_log_has_them() {
    let (_folder, mut indexer, reader) = example();
    let a = heartbeat("A", 1);
    let order = |json: &str| {
        let order = serde_json::from_str(json).unwrap();
        let (by, reason) = (String::from("ada"), String::from("a test"));
        Event::sensor_ordered(&a, &Given { order, by, at: at(11), reason })
    };
    let of_a = || reader.sensors(1).unwrap().into_iter().find(|it| it.described.id() == a.id);
    apply(
        &mut indexer,
        vec![
            order(r#"{"order":"rename","alias":"Boiler"}"#),
            order(r#"{"order":"retire"}"#),
            Event::sensor_doubled(&a, "their heartbeats alternate", at(12)),
        ],
    );
    let found = of_a().unwrap();
    assert_eq!((found.described.alias().as_str(), found.state), ("Boiler", SensorState::Retired));
    assert!(found.in_force.is_retired() && found.in_force.doubled == Some(at(12)));
    assert_eq!(reader.in_force().unwrap(), [(a.id, found.in_force)].into());
    apply(&mut indexer, vec![order(r#"{"order":"recall"}"#)]);
    apply(&mut indexer, vec![order(r#"{"order":"settle","mac":null}"#)]);
    let found = of_a().unwrap();
    assert_eq!((found.state, found.in_force.doubled), (SensorState::Lost, None));
    // A sensor that is forgotten keeps its name.
    apply(&mut indexer, vec![order(r#"{"order":"retire"}"#)]);
    apply(&mut indexer, vec![Event::sighting(action::SENSOR_FORGOTTEN, &a, at(13))]);
    assert!(of_a().is_none() && !reader.in_force().unwrap()[&a.id].is_retired());
    apply(&mut indexer, vec![Event::sighting(action::SENSOR_DISCOVERED, &a, at(14))]);
    let found = of_a().unwrap();
    assert_eq!((found.described.alias().as_str(), found.state), ("Boiler", SensorState::Online));
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
        (a.id, numbers(9, None, at(11))),
        (b.id, numbers(3, Some(431), at(10))),
        (unknown.id, LastNumbers { answered: false, ..numbers(7, None, at(12)) }),
    ];
    assert_eq!(reader.last_numbers().unwrap(), expected.into());
    // An event without numbers does not reset them, and a start finds them.
    let lost = Event::sighting(action::HEARTBEAT_MISSED, &b, at(13));
    apply(&mut indexer, vec![lost, derived(&b, action::SENSOR_LOST)]);
    drop((indexer, reader));
    let indexer =
        Indexer::open(&folder.path().join("index.sqlite"), LOG, |_| Ok(Some(entry()))).unwrap();
    assert_eq!(indexer.reader().unwrap().last_numbers().unwrap(), expected.into());
}

#[test]
fn a_series_is_cut_to_its_window_and_keeps_duplicate_times() {
    let (_folder, mut indexer, reader) = example();
    let a = heartbeat("A", 1).id;
    let leaves = |from: Option<i64>, to: Option<i64>, limit| {
        let query = ReadingsQuery {
            sensor: a,
            channel: None,
            from: from.map(at),
            to: to.map(at),
            limit,
            points: None,
        };
        let readings = reader.readings(&query).unwrap().unwrap();
        readings.iter().map(|reading| reading.leaf).collect::<Vec<_>>()
    };
    assert_eq!(leaves(None, None, 10), vec![2, 3, 4]);
    assert_eq!(leaves(Some(2), Some(4), 10), vec![2, 3], "`from` is in, `to` is not");
    assert_eq!(leaves(None, None, 1), vec![3, 4], "one more than asked for, the newest");
    let c = heartbeat("C", 3).id;
    let about = Event::readings_exported("ada", "log", c, (None, None), "curiosity", at(9));
    apply(&mut indexer, vec![about]);
    let unknown =
        ReadingsQuery { sensor: c, channel: None, from: None, to: None, limit: 1, points: None };
    assert!(reader.readings(&unknown).unwrap().is_none());
}

#[test]
fn a_search_matches_all_that_is_named_and_pages() {
    let (_folder, _indexer, reader) = example();
    let search = |search: Search, offset| {
        let page = reader.search(&search, offset, 2, &mut |_| panic!("needs no event")).unwrap();
        assert!(!page.count_is_lower_bound);
        (page.count, page.leaves)
    };
    let only = |field, value: &str| BTreeMap::from([(field, vec![value.to_owned()])]);
    let query = |text: &str| Query::parse(text, |_| false).unwrap();
    let readings =
        Search { restriction: only(Field::Action, "SENSOR_READING"), ..Search::default() };
    assert_eq!(search(readings.clone(), 0), (4, vec![5, 4]));
    assert_eq!(search(readings.clone(), 2), (4, vec![3, 2]));
    assert_eq!(
        search(Search { end: 5, ..readings.clone() }, 0),
        (3, vec![4, 3]),
        "what came later does not shift the pages"
    );
    assert_eq!(
        search(Search { order: ResultOrder::OldestFirst, ..readings.clone() }, 1).1,
        vec![3, 4]
    );
    let failed = Search { query: query("status:COMM"), ..readings };
    assert_eq!(search(failed, 0), (1, vec![3]));
    let rare = Search { exclusion: only(Field::Action, "SENSOR_READING"), ..Search::default() };
    assert_eq!(search(rare, 0), (5, vec![8, 7]));
    assert_eq!(search(Search { query: query("source:ll.B"), ..Search::default() }, 0).0, 4);
    let window = Search { window: (Some(at(2)), Some(at(4))), ..Search::default() };
    assert_eq!(search(window, 0), (2, vec![3, 2]));
    let nothing = Search { query: query("\"' OR 1\" action:x"), ..Search::default() };
    assert_eq!(search(nothing, 0), (0, vec![]));
}

#[test]
fn a_question_is_answered_while_a_search_is_held_up_and_each_is_of_one_moment() {
    let (_folder, mut indexer, reader) = example();
    let event = || Event { message: "two words".to_owned(), ..Event::default() };
    apply(&mut indexer, vec![event(), event()]);
    let query = Query::parse("\"two words\"", |_| false).unwrap();
    let mut answered = Vec::new();
    // The search needs events, and while it waits for them the log grows.
    let page = reader.search(&Search { query, ..Search::default() }, 0, 9, &mut |_| {
        apply(&mut indexer, vec![event()]);
        answered.push(reader.next_leaf().unwrap());
        Ok(Some(event()))
    });
    assert_eq!(page.unwrap().leaves, vec![10, 9]);
    assert_eq!(answered, vec![12, 13]);
    let order = Event::envelopes_erased("ada", "log", "9".into(), 1, "asked for", at(10));
    apply(&mut indexer, vec![order]);
    assert!(indexer.forget().unwrap(), "no connection holds on to what was");
}

#[test]
fn a_file_of_another_log_or_no_file_at_all_is_made_anew() {
    let (folder, indexer, reader) = example();
    drop((indexer, reader));
    let path = folder.path().join("index.sqlite");
    let next_leaf = |log: LogId, entry_of: fn(u64) -> FoundEntry| {
        Indexer::open(&path, log, entry_of).unwrap().next_leaf()
    };
    let same = |leaf| Ok((leaf == 8).then(entry));
    assert_eq!(next_leaf(LOG, same), 9, "it goes on");
    assert_eq!(next_leaf(LOG, |_| Ok(None)), 0, "it is ahead of its log");
    let anew = || apply(&mut Indexer::open(&path, LOG, same).unwrap(), vec![Event::default()]);
    anew();
    assert_eq!(next_leaf(LOG, |_| Ok(Some([8; 32]))), 0, "its log has another history");
    anew();
    assert_eq!(next_leaf(LogId::from_sha256([2; LogId::LEN]), |_| Ok(Some(entry()))), 0);
    anew();
    fs::write(&path, "this is not SQLite's").unwrap();
    assert_eq!(next_leaf(LOG, same), 0);
}

#[test]
fn what_was_erased_is_forgotten_to_the_last_byte() {
    let (folder, mut indexer, reader) = example();
    let a = heartbeat("A", 1);
    let secret = "of-one-person-only";
    // Among other rows, in random order: pages are split and merged, and rows move.
    let secrets = (0..2_000_u64).map(|number| {
        let word = format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_secret = number.is_multiple_of(3);
        let word = if is_secret { format!("{word}{secret}") } else { word };
        let value = Outcome::of(format!("\"{word}\"").as_bytes());
        let mut event = Event::reading(&a, 4 + number, value, at(number.cast_signed() % 50));
        event.source = Some(format!("Hall.{word}"));
        (is_secret, event)
    });
    let changed = Event::sighting(action::SENSOR_CHANGED, &heartbeat(secret, 1), at(9));
    let (is_secret, events): (Vec<bool>, Vec<Event>) = secrets.chain([(true, changed)]).unzip();
    let first = indexer.next_leaf();
    apply(&mut indexer, events);
    let files_hold = |text: &str| {
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files.into_iter().any(|file| {
            let bytes = fs::read(file).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    let secret_words =
        Search { query: Query::parse(secret, |_| false).unwrap(), ..Search::default() };
    let found = |search| reader.search(search, 0, 500, &mut |_| panic!()).unwrap().count;
    assert!(files_hold(secret) && found(&secret_words) == 668);
    let query = ReadingsQuery {
        sensor: a.id,
        channel: None,
        from: None,
        to: None,
        limit: 5_000,
        points: None,
    };
    assert_eq!(reader.readings(&query).unwrap().unwrap().len(), 2_003);
    let alias = || reader.sensors(1).unwrap().first().unwrap().described.alias();
    assert_eq!(alias(), secret);

    let leaves: Vec<String> = (first..)
        .zip(is_secret)
        .filter(|(_, is_secret)| *is_secret)
        .map(|(leaf, _)| leaf.to_string())
        .collect();
    let order = Event::envelopes_erased("ada", "log", leaves.join(","), 668, "asked for", at(10));
    apply(&mut indexer, vec![order]);
    assert!(indexer.has_to_forget() && indexer.forget().unwrap() && !indexer.has_to_forget());
    assert!(!files_hold(secret));
    assert_eq!(found(&secret_words), 0);
    assert_eq!(found(&Search::default()), 9 + 2_001 - 668 + 1);
    assert_eq!(reader.readings(&query).unwrap().unwrap().len(), 2_003 - 667);
    assert_eq!(alias(), "A", "as if the heartbeat had never been");
}

#[test]
fn a_reader_that_holds_what_was_erased_is_waited_for() {
    let (folder, mut indexer, _reader) = example();
    let holder = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
    holder.execute_batch("BEGIN; SELECT count(*) FROM term").unwrap();
    apply(
        &mut indexer,
        vec![Event::envelopes_erased("ada", "log", "2".into(), 1, "asked for", at(10))],
    );
    assert!(!indexer.forget().unwrap(), "it tells that it has to be tried again");
    drop(indexer);
    let path = folder.path().join("index.sqlite");
    let mut indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
    assert!(indexer.has_to_forget(), "a restart has not forgotten that it has to forget");
    holder.execute_batch("ROLLBACK").unwrap();
    assert!(indexer.forget().unwrap() && !indexer.has_to_forget());
}

/// A text that has a meaning in some places, or none.
fn said() -> BoxedStrategy<Option<String>> {
    const FEW: [&str; 17] = [
        "SUCCESS",
        "COMM_ERROR",
        "",
        "N/A",
        "NaN",
        "inf",
        "-1e400",
        "1.7976931348623157e308",
        "-1.7976931348623157e308",
        "5e-324",
        "0..50",
        "1-18446744073709551615",
        "9007199254740991",
        "1970-01-01T00:00:00Z",
        "9999-12-29T23:59:59.999999Z",
        "sensor\u{0}\u{202e}",
        "12-40,57",
    ];
    option::of(prop_oneof![
        6 => select(&FEW[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => any::<f64>().prop_map(|number| number.to_string()),
    ])
    .boxed()
}

fn texts<const N: usize>() -> BoxedStrategy<[Option<String>; N]> {
    vec(said(), N).prop_map(|texts| texts.try_into().unwrap()).boxed()
}

fn number() -> impl Strategy<Value = Option<u64>> {
    option::of(prop_oneof![any::<u64>(), Just(u64::MAX), 0..9_u64])
}

fn moment() -> impl Strategy<Value = Option<Timestamp>> {
    option::of(any::<i64>().prop_map(Timestamp::from_unix_micros))
}

prop_compose! {
    /// Our own fields with any content, for two sensors only, so that their events interact.
    fn detail()(
        texts in texts::<8>(),
        numbers in vec(number(), 5),
        moments in vec(moment(), 3),
        sensor in option::weighted(0.9, 1..3_u8),
        beat: bool,
    ) -> Detail {
        let [erased, error, missing, range, raw, retention, rotation, unit] = texts;
        let [from_leaf, hold, poll, retention_to, seq] = numbers.try_into().unwrap();
        let [hold_from, hold_to, sensor_time] = moments.try_into().unwrap();
        let heartbeat = sensor.filter(|_| beat).map(|id| heartbeat("A", id).canonical());
        let sensor = sensor.map(heartbeat_id);
        Detail {
            erased, error, missing, range, raw, retention, rotation, unit, from_leaf, hold, poll,
            retention_to, seq, hold_from, hold_to, sensor_time, sensor, heartbeat,
            ..Detail::default()
        }
    }
}

fn heartbeat_id(id: u8) -> model::SensorId {
    heartbeat("A", id).id
}

prop_compose! {
    /// Any envelope that can be sealed, and some that cannot.
    fn envelope()(
        texts in texts::<7>(),
        action in prop_oneof![
            6 => Just(Some(action::SENSOR_READING)),
            4 => option::of(select(&[
                action::SENSOR_DISCOVERED, action::SENSOR_CHANGED, action::HEARTBEAT_MISSED,
                action::SENSOR_LOST, action::OUT_OF_RANGE, action::READINGS_MISSING,
                action::ENVELOPES_ERASED,
            ][..])),
        ],
        message in said(),
        custom in vec((any::<String>(), prop_oneof![
            any::<bool>().prop_map(FieldValue::Bool),
            any::<i64>().prop_map(FieldValue::Integer),
            any::<String>().prop_map(FieldValue::Text),
        ]), 0..3),
        sealwire in option::weighted(0.9, detail().boxed()),
        received_at in any::<i64>(),
    ) -> Envelope {
        let [actor, new, old, source, status, target, timestamp] = texts;
        let event = Event {
            action: action.map(str::to_owned), actor, new, old, source, status, target, timestamp,
            message: message.unwrap_or_default(),
            custom: custom.into_iter().collect(),
            sealwire,
            ..Event::default()
        };
        let received_at = Timestamp::from_unix_micros(received_at);
        Envelope { event, received_at, salt: Salt::from_random([0; 16]) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_was_sealed_can_be_applied_and_asked_for(
        envelopes in vec(option::weighted(0.95, envelope().boxed()), 1..120),
        batch_len in 1..50_usize,
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("index.sqlite");
        let mut indexer = Indexer::open(&path, LOG, |_| Ok(None)).unwrap();
        for part in envelopes.chunks(batch_len) {
            let mut batch = IndexBatch::new(indexer.next_leaf());
            batch.extend(part.iter().cloned());
            indexer.apply(&batch, entry()).unwrap();
        }
        let reader = indexer.reader().unwrap();
        prop_assert_eq!(reader.sensors(30).unwrap().len(), reader.listed_sensors().unwrap().len());
        reader.standings().unwrap();
        reader.last_numbers().unwrap();
        for id in 1..3 {
            for points in [2, 500] {
                let series = reader.series(heartbeat_id(id), (None, None), points).unwrap();
                let Some(Series::Buckets { buckets, .. }) = series else { continue };
                for bucket in buckets {
                    let told = [bucket.min, bucket.mean, bucket.max];
                    prop_assert!(told.iter().flatten().all(|number| number.is_finite()));
                    prop_assert!(told.is_sorted() && (bucket.mean.is_some() == (bucket.numbers > 0)));
                }
            }
        }
        let page = reader.search(&Search::default(), 0, 500, &mut |_| Ok(None)).unwrap();
        prop_assert!(page.leaves.len() <= envelopes.len());
    }
}

/// Every reading of one quarter of a day.
fn bucket(reader: &Reader) -> Bucket {
    let series = reader.series(heartbeat_id(1), (None, None), 1);
    let Some(Series::Buckets { buckets, .. }) = series.unwrap() else { panic!("few points") };
    let [bucket] = &*buckets else { panic!("{buckets:?}") };
    bucket.clone()
}

#[test]
fn the_largest_numbers_of_both_signs_have_a_mean() {
    let (_folder, mut indexer, reader) = example();
    let a = heartbeat("A", 1);
    let reading = |number: &str| Event::reading(&a, 4, Outcome::of(number.as_bytes()), at(5));
    let (most, least) = ("1.7976931348623157e308", "-1.7976931348623157e308");
    // Within a batch, and over two batches: in a block, and in a rollup.
    apply(&mut indexer, vec![reading(most), reading(most), reading(least), reading(least)]);
    apply(&mut indexer, vec![reading(least), reading(least), reading(most), reading(most)]);
    let bucket = bucket(&reader);
    assert_eq!((bucket.min, bucket.max), (Some(f64::MIN), Some(f64::MAX)));
    // The two earlier ones are 1 and 3.
    assert!(bucket.mean.is_some_and(|mean| mean.abs() < 1.0), "{:?}", bucket.mean);
}

#[test]
fn nothing_is_deleted_because_the_log_cannot_be_read_now() {
    let (folder, indexer, reader) = example();
    drop((indexer, reader));
    let path = folder.path().join("index.sqlite");
    let refused = Indexer::open(&path, LOG, |_| Err("too many open files".into())).unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Passing);
    let indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
    assert_eq!(indexer.next_leaf(), 9, "it goes on");
}

#[test]
fn a_damaged_index_begins_anew_and_readers_go_over_to_it() {
    let (folder, indexer, reader) = example();
    assert_eq!(reader.next_leaf().unwrap(), 9);
    let path = folder.path().join("index.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("UPDATE leaves SET leaves = x'ff'").unwrap();
    drop(other);
    drop(indexer);
    // The part that a start needs is damaged.
    let mut indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
    assert_eq!((indexer.next_leaf(), reader.next_leaf().unwrap()), (0, 0));
    indexer.begin_anew().unwrap();
    apply(&mut indexer, vec![Event::default()]);
    assert_eq!(reader.next_leaf().unwrap(), 1);
}

#[test]
fn an_index_that_was_cut_anywhere_is_begun_anew() {
    let (folder, indexer, _reader) = example();
    indexer.close();
    let whole = fs::read(folder.path().join("index.sqlite")).unwrap();
    for len in (0..whole.len()).step_by(509) {
        let cut = TempDir::new().unwrap();
        let path = cut.path().join("index.sqlite");
        fs::write(&path, whole.get(..len).unwrap()).unwrap();
        let mut indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
        let read = indexer.reader().unwrap().sensors(0);
        if let Err(error) = read {
            assert_eq!(error.trouble(), Trouble::Damage, "cut to {len} bytes: {error}");
            indexer.begin_anew().unwrap();
        }
    }
}

#[test]
fn a_write_ahead_log_that_a_kill_left_without_its_file_is_of_no_other_file() {
    let (folder, _indexer, _reader) = example();
    let left = TempDir::new().unwrap();
    let [from, to] = [&folder, &left].map(|folder| folder.path().join("index.sqlite-wal"));
    assert!(fs::copy(from, to).unwrap() > 0);
    let path = left.path().join("index.sqlite");
    let mut indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
    assert_eq!(indexer.next_leaf(), 0);
    apply(&mut indexer, vec![Event::default()]);
    indexer.close();
    let examined = index::examine(&path, false).unwrap().unwrap();
    let expected = index::Examined::Current { log: LOG, next_leaf: 1, damage: None };
    assert_eq!(examined, expected);
}

#[test]
fn what_was_passed_over_is_counted_and_named_until_it_is_erased() {
    let (folder, mut indexer, reader) = example();
    let mut batch = IndexBatch::new(9);
    batch.pass_over("no envelope");
    batch.pass_over(&"x".repeat(5_000));
    indexer.apply(&batch, entry()).unwrap();
    assert_eq!(indexer.passed_over(), 2);
    let told = reader.passed_over(1).unwrap();
    assert_eq!((told.count, &*told.newest), (2, &[(10, "x".repeat(300))][..]));
    let order = Event::envelopes_erased("ada", "log", "10".into(), 1, "asked for", at(10));
    apply(&mut indexer, vec![order]);
    assert!(indexer.has_to_forget());
    drop(indexer);
    let path = folder.path().join("index.sqlite");
    let indexer = Indexer::open(&path, LOG, |_| Ok(Some(entry()))).unwrap();
    assert_eq!(indexer.passed_over(), 1);
    assert_eq!(reader.passed_over(9).unwrap().newest, [(9, "no envelope".to_owned())]);
}
