//! For any log, the index gives the same answers as reading the whole log: with batches of any
//! size, with erasures, and after a rebuild.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use index::{
    Bucket, ChannelReading, Comparison, Difference, Entry, Field, IndexBatch, Indexer, Query,
    Reader, ResultOrder, Search, Series, SeriesReading, channel_series,
};
use model::{
    Channel, Envelope, Event, Given, Heartbeat, InForce, Outcome, Salt, SensorId, SensorOrder,
    Timestamp, action, event::FieldValue, query::ReadingsQuery, reading::measured_of,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;

use crate::{derived, heartbeat};

const ENTRY: Entry = [7; 32];
/// The leaves before this one were erased long ago, so the test begins near the end of the index's
/// first chunk of 65,536 leaves.
const FIRST: u64 = 65_536 - 150;

/// An event of a log, before anything is erased.
#[derive(Clone, Debug)]
enum Happening {
    /// A reading of a sensor, at a time of its own.
    SeriesReading { sensor: u8, at: i64, value: String },
    /// A poll without an answer.
    NoAnswer { sensor: u8, at: i64 },
    /// An order that corrects a sensor's single value or a channel from a time on.
    Calibration { sensor: u8, channel: Option<String>, line: String, from: i64 },
    /// A change of a sensor's state.
    Sighting { sensor: u8, alias: String, action: &'static str },
    /// An event of another program.
    Other {
        message: String,
        actor: Option<String>,
        target: Option<String>,
        custom: Option<(String, FieldValue)>,
    },
    /// An order to erase leaves, as fractions of the log so far.
    Erasure { from: f64, len: u64 },
}

fn text() -> impl Strategy<Value = String> {
    // Few letters, so that texts contain each other, with spaces of several kinds and a letter of
    // two bytes.
    "[abé\u{a0} ]{0,6}|a b|login  failed|[a-c]{30}"
}

/// The whole text of a field. There are few, so that restrictions match events. Some are too long
/// to be indexed whole, and some are words of these.
fn value() -> impl Strategy<Value = String> {
    const FEW: [&str; 12] =
        ["", " ", "a", "A", "b", "a b", "a  b", "a B", "true", "7", "SUCCESS", "0.5"];
    let mut long = ["", " ", "  "].map(|end| "a b ".repeat(64) + end).to_vec();
    long.extend(["é".repeat(129), " ".repeat(257)]);
    prop_oneof![
        6 => select(&FEW[..]).prop_map(str::to_owned),
        6 => select(long),
        1 => text(),
    ]
}

fn custom() -> impl Strategy<Value = (String, FieldValue)> {
    let value = prop_oneof![
        1 => any::<bool>().prop_map(FieldValue::Bool),
        1 => (5..9_i64).prop_map(FieldValue::Integer),
        3 => value().prop_map(FieldValue::Text),
    ];
    ("[xy]", value)
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![2 => select(&Field::STANDARD[..]), 1 => "[xyz]".prop_map(Field::Custom)]
}

/// Whole values for a field.
fn only() -> impl Strategy<Value = (Field, Vec<String>)> {
    let doubtful = || prop_oneof![Just(Field::Message), "[xy]".prop_map(Field::Custom)];
    prop_oneof![
        1 => (field(), vec(value(), 0..4)),
        3 => (doubtful(), vec(value(), 0..4)),
        1 => (doubtful(), vec(value(), 20..60)),
        1 => (
            select(&[Field::Action, Field::Status, Field::Sensor][..]),
            select(&["SUCCESS", "SENSOR_READING", "00000000-0000-0000-0000-000000000001"][..]),
        )
            .prop_map(|(field, value)| (field, vec![value.to_owned()])),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let sensor = 0..3_u8;
    let at = || prop_oneof![0..40_i64, 0..2_000_000_i64];
    let value = || {
        prop_oneof![
            (-20..20_i32).prop_map(|tenths| format!("{}.5", tenths)),
            text().prop_map(|text| format!("\"{text}\"")),
            (channel(), channel())
                .prop_map(|(t, u)| format!(r#"{{"values":{{"t":{t},"u":{u},"last":1}}}}"#)),
        ]
    };
    let seen = select(
        &[
            action::SENSOR_DISCOVERED,
            action::SENSOR_CHANGED,
            action::HEARTBEAT_MISSED,
            action::SENSOR_DISCONNECTED,
            action::OUT_OF_RANGE,
            action::SENSOR_LOST,
            action::SENSOR_BACK,
        ][..],
    );
    prop_oneof![
        6 => (sensor.clone(), at(), value()).prop_map(|(sensor, at, value)| Happening::SeriesReading { sensor, at, value }),
        1 => (sensor.clone(), at()).prop_map(|(sensor, at)| Happening::NoAnswer { sensor, at }),
        1 => (sensor.clone(), option::of("[tux]"), "(2|-0\\.5|1e300) (0|-3\\.5)", at())
            .prop_map(|(sensor, channel, line, from)| Happening::Calibration { sensor, channel, line, from }),
        2 => (sensor, "[AB]", seen).prop_map(|(sensor, alias, action)| Happening::Sighting { sensor, alias, action }),
        5 => (prop_oneof![text(), value()], option::of(text()), option::of(value()), option::weighted(0.8, custom()))
            .prop_map(|(message, actor, target, custom)| Happening::Other { message, actor, target, custom }),
        1 => (0.0..1.0, 1..30_u64).prop_map(|(from, len)| Happening::Erasure { from, len }),
    ]
}

/// A sensor that declares two of the channels that its answers have.
fn with_channels(sensor: u8) -> Heartbeat {
    let channel = |name: &str, unit: &str| Channel {
        name: name.to_owned(),
        unit: Some(unit.to_owned()),
        scale: -1,
        ..Channel::default()
    };
    let channels = vec![channel("t", "K"), channel("u", "bar")];
    Heartbeat { channels, ..heartbeat("A", sensor) }
}

/// What a channel measures: of each type, or nothing.
fn channel() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (-20..20_i32).prop_map(|tenths| format!("{tenths}.25")),
        1 => select(&["true", "[1,2.5]", r#""open""#, "1e400", "null"][..]).prop_map(str::to_owned),
    ]
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

/// A log: what was sealed, and what is left after erasures.
struct Log {
    sealed: Vec<Envelope>,
    erased: BTreeSet<u64>,
}

impl Log {
    fn of(happenings: Vec<Happening>) -> Self {
        let mut log = Self { sealed: Vec::new(), erased: BTreeSet::new() };
        for happening in happenings {
            let leaf = log.next_leaf();
            let event = match happening {
                Happening::SeriesReading { sensor, at, value } => {
                    let outcome = Outcome::of(value.as_bytes());
                    let mut event =
                        Event::reading(&with_channels(sensor), leaf, outcome, second(at));
                    if at % 3 == 0 {
                        event.flag("clock_back");
                    }
                    event
                }
                Happening::NoAnswer { sensor, at } => {
                    Event::reading(&heartbeat("A", sensor), leaf, Outcome::CommError, second(at))
                }
                Happening::Calibration { sensor, channel, line, from } => {
                    let order = SensorOrder::Calibrate {
                        calibration: line.parse().unwrap(),
                        channel: channel.map(|name| name.parse().unwrap()),
                        from: second(from),
                    };
                    let (by, reason) = ("ada".to_owned(), "a test".to_owned());
                    let given = Given { order, by, at: second(9), reason };
                    Event::sensor_ordered(&with_channels(sensor), &given)
                }
                Happening::Sighting { sensor, alias, action } => {
                    let heartbeat: Heartbeat = heartbeat(&alias, sensor);
                    match action {
                        action::OUT_OF_RANGE | action::SENSOR_LOST | action::SENSOR_BACK => {
                            derived(&heartbeat, action)
                        }
                        _ => Event::sighting(action, &heartbeat, second(9)),
                    }
                }
                Happening::Other { message, actor, target, custom } => {
                    let custom = custom.into_iter().collect();
                    Event { message, actor, target, custom, ..Event::default() }
                }
                Happening::Erasure { from, len } => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        clippy::cast_precision_loss,
                        reason = "a part of a few hundred"
                    )]
                    let first = FIRST + (log.sealed.len() as f64 * from) as u64;
                    let last = (leaf - 1).min(first + len);
                    // An order is never erased itself.
                    let is_order = |leaf: &u64| {
                        let event = &log.envelope(*leaf).event;
                        event.action.as_deref() == Some(action::ENVELOPES_ERASED)
                    };
                    let leaves: Vec<u64> = (first..=last).filter(|leaf| !is_order(leaf)).collect();
                    let text = leaves.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
                    log.erased.extend(&leaves);
                    Event::envelopes_erased("ada", "log", text, 1, "asked for", second(9))
                }
            };
            // Several leaves have the same time.
            let received_at = second(i64::try_from((leaf - FIRST) / 3).unwrap());
            log.sealed.push(Envelope { event, received_at, salt: Salt::from_random([0; 16]) });
        }
        log
    }

    /// The index of the log: either of its state before the erasures, applied batch by batch, or of
    /// its present state, in one batch.
    fn index(&self, folder: &TempDir, batches: Option<&[usize]>) -> Reader {
        let mut indexer =
            Indexer::open(&folder.path().join("index.sqlite"), crate::LOG, |_| Ok(None)).unwrap();
        let mut apply = |envelopes: &mut dyn Iterator<Item = Option<Envelope>>| {
            let mut batch = IndexBatch::new(indexer.next_leaf());
            batch.extend(envelopes);
            indexer.apply(&batch, ENTRY).unwrap();
        };
        apply(&mut (0..FIRST).map(|_| None));
        let mut sizes = batches.unwrap_or(&[usize::MAX]).iter().cycle();
        let mut rest = (FIRST..).zip(&self.sealed).peekable();
        while rest.peek().is_some() {
            apply(&mut rest.by_ref().take(*sizes.next().unwrap()).map(|(leaf, envelope)| {
                (batches.is_some() || !self.erased.contains(&leaf)).then(|| envelope.clone())
            }));
        }
        let reader = indexer.reader().unwrap();
        if batches.is_some() {
            // It also continues from the file alone.
            drop(indexer);
            let mut indexer =
                Indexer::open(&folder.path().join("index.sqlite"), crate::LOG, |_| Ok(Some(ENTRY)))
                    .unwrap();
            assert_eq!(indexer.next_leaf(), self.next_leaf());
            assert!(indexer.forget().unwrap());
        }
        reader
    }

    /// The differences between an index of the log and the present log.
    fn differences(&self, folder: &TempDir) -> Vec<Difference> {
        let path = folder.path().join("index.sqlite");
        let mut comparison = Comparison::begin(&path, true).unwrap().unwrap();
        let now = (FIRST..).zip(&self.sealed);
        let now =
            now.map(|(leaf, envelope)| (!self.erased.contains(&leaf)).then(|| envelope.clone()));
        let mut batch = IndexBatch::new(0);
        batch.extend((0..FIRST).map(|_| None).chain(now));
        comparison.take_in(&batch);
        comparison.finish(|_| false).unwrap()
    }

    fn next_leaf(&self) -> u64 {
        FIRST + self.sealed.len() as u64
    }

    fn envelope(&self, leaf: u64) -> &Envelope {
        self.sealed.get(usize::try_from(leaf - FIRST).unwrap()).unwrap()
    }

    fn left(&self) -> impl DoubleEndedIterator<Item = (u64, &Envelope)> {
        let leaves = self
            .sealed
            .iter()
            .enumerate()
            .map(|(place, envelope)| (FIRST + place as u64, envelope));
        leaves.filter(|(leaf, _)| !self.erased.contains(leaf))
    }

    fn found(&self, search: &Search) -> Vec<u64> {
        let is_found = |(leaf, envelope): &(u64, &Envelope)| {
            let at = envelope.received_at;
            *leaf < search.end
                && search.window.0.is_none_or(|from| from <= at)
                && search.window.1.is_none_or(|to| at < to)
                && search.matches(&envelope.event)
        };
        let found = self.left().filter(is_found).map(|(leaf, _)| leaf);
        match search.order {
            ResultOrder::OldestFirst => found.collect(),
            ResultOrder::NewestFirst => found.rev().collect(),
        }
    }

    fn readings(&self, sensor: SensorId) -> Vec<SeriesReading> {
        let of_sensor = self.left().filter(|(_, envelope)| {
            envelope.event.sensor() == Some(sensor)
                && envelope.event.action.as_deref() == Some(action::SENSOR_READING)
        });
        let mut readings: Vec<SeriesReading> = of_sensor
            .map(|(leaf, Envelope { event, .. })| SeriesReading {
                leaf,
                timestamp: event.timestamp.as_deref().unwrap().parse().unwrap(),
                status: event.status.clone().unwrap(),
                value: event.new.clone().unwrap(),
                calibrated: None,
                flags: event.sealwire.as_ref().unwrap().flags.clone(),
                unit: event.sealwire.as_ref().unwrap().unit.clone(),
                channels: BTreeMap::new(),
            })
            .collect();
        readings.sort_by_key(|reading| (reading.timestamp, reading.leaf));
        self.correct(sensor, None, &mut readings);
        readings
    }

    /// Corrects readings by the orders that are left in the log, wherever they are in it.
    fn correct(&self, sensor: SensorId, channel: Option<&str>, readings: &mut [SeriesReading]) {
        let orders = self.left().filter_map(|(_, Envelope { event, .. })| {
            Given::of(event).filter(|_| event.sensor() == Some(sensor))
        });
        let calibrations = orders.fold(InForce::default(), InForce::after).calibrations(channel);
        for reading in readings {
            let SeriesReading { timestamp, status, value, .. } = &*reading;
            reading.calibrated = calibrations.correct(*timestamp, status, value);
        }
    }

    /// The same of one channel.
    fn readings_of(&self, sensor: SensorId, channel: &str) -> Vec<SeriesReading> {
        let of_channel = |reading: SeriesReading| {
            let measured = measured_of(&self.envelope(reading.leaf).event)?;
            let measured = measured.into_iter().find(|one| one.channel.name == channel)?;
            Some(SeriesReading { value: measured.text(), unit: measured.channel.unit, ..reading })
        };
        let mut readings: Vec<_> =
            self.readings(sensor).into_iter().filter_map(of_channel).collect();
        self.correct(sensor, Some(channel), &mut readings);
        readings
    }
}

fn word() -> impl Strategy<Value = String> {
    let few = select(&["SUCCESS", "Hall.A", ".5"][..]).prop_map(str::to_owned);
    prop_oneof![1 => text(), 3 => few, 1 => "[0-9t]"]
}

prop_compose! {
    fn search()(
        words in prop_oneof![Just(Vec::new()), vec((option::of(field()), word()), 0..3)],
        restriction in option::weighted(0.3, only()),
        exclusion in option::of(only()),
        window in (option::of(0..60_i64), option::of(0..60_i64)),
        oldest_first: bool,
        end in prop_oneof![Just(u64::MAX), FIRST..FIRST + 200],
        results_max in prop_oneof![Just(10_000_u32), 1..30_u32],
    ) -> Search {
        Search {
            query: Query { words: words.into_iter().map(|(field, text)| index::Word { field, text }).collect() },
            restriction: restriction.into_iter().collect(),
            exclusion: exclusion.into_iter().collect(),
            window: (window.0.map(second), window.1.map(second)),
            order: if oldest_first { ResultOrder::OldestFirst } else { ResultOrder::NewestFirst },
            end,
            results_max,
        }
    }
}

fn check_search(log: &Log, reader: &Reader, search: &Search, (offset, limit): (u64, u32)) {
    let mut read_event = |leaf: u64| Ok(Some(log.envelope(leaf).event.clone()));
    let page = reader.search(search, offset, limit, &mut read_event).unwrap();
    let mut found = log.found(search);
    let max = search.results_max as usize;
    assert_eq!(page.count_is_lower_bound, found.len() > max, "{search:?}");
    found.truncate(max);
    assert_eq!(page.count, found.len() as u64, "{search:?}");
    let leaves: Vec<u64> =
        found.into_iter().skip(usize::try_from(offset).unwrap()).take(limit as usize).collect();
    assert_eq!(page.leaves, leaves, "{search:?}");
}

fn check_series(
    log: &Log,
    reader: &Reader,
    sensor: SensorId,
    span: (Option<i64>, Option<i64>),
    points_max: u32,
) {
    let mut all = log.readings(sensor);
    check_one(reader, (sensor, None), all.clone(), (span, &[]), points_max);
    for name in CHANNELS {
        for SeriesReading { leaf, value, calibrated, unit, .. } in log.readings_of(sensor, name) {
            let reading = all.iter_mut().find(|reading| reading.leaf == leaf).unwrap();
            let of_channel = ChannelReading { value, calibrated, unit };
            reading.channels.insert(name.to_owned(), of_channel);
        }
    }
    let limit = points_max;
    let newest = ReadingsQuery { sensor, channel: None, from: None, to: None, limit, points: None };
    let expected = all.iter().skip(all.len().saturating_sub(limit as usize + 1));
    if let Some(answered) = reader.readings(&newest).unwrap() {
        assert!(answered.iter().eq(expected));
    }
    for channel in CHANNELS {
        let failures: Vec<_> =
            all.iter().filter(|reading| reading.status != "SUCCESS").cloned().collect();
        let of_channel = log.readings_of(sensor, channel);
        check_one(reader, (sensor, Some(channel)), of_channel, (span, &failures), points_max);
    }
    if let [status] = &*reader.sensors_of(&[sensor], 1).unwrap() {
        let newest = |name: &&str| Some(((*name).to_owned(), log.readings_of(sensor, name).pop()?));
        assert_eq!(status.channels, CHANNELS.iter().filter_map(newest).collect::<Vec<_>>());
    }
}

/// The declared channels, by name. An undeclared one has no series.
const CHANNELS: [&str; 2] = ["t", "u"];

/// Checks the series of a sensor or of a channel. `failures` are the polls without a value that
/// come with the readings of a channel.
fn check_one(
    reader: &Reader,
    (of_sensor, channel): (SensorId, Option<&str>),
    all: Vec<SeriesReading>,
    (span, failures): ((Option<i64>, Option<i64>), &[SeriesReading]),
    points_max: u32,
) {
    let sensor = channel.map_or(of_sensor, |channel| channel_series(of_sensor, channel));
    let (from, to) = (span.0.map(second), span.1.map(second));
    let is_in = |reading: &&SeriesReading| {
        from.is_none_or(|from| from <= reading.timestamp)
            && to.is_none_or(|to| reading.timestamp < to)
    };
    let readings: Vec<SeriesReading> = all.iter().filter(is_in).cloned().collect();
    let query = ReadingsQuery {
        sensor: of_sensor,
        channel: channel.map(str::to_owned),
        from,
        to,
        limit: 500,
        points: None,
    };
    let Some(answered) = reader.readings(&query).unwrap() else {
        assert!(readings.is_empty());
        return;
    };
    let mut with_failures = readings.clone();
    with_failures.extend(failures.iter().filter(is_in).cloned());
    with_failures.sort_by_key(|reading| (reading.timestamp, reading.leaf));
    let without_channels = |reading| SeriesReading { channels: BTreeMap::new(), ..reading };
    let answered: Vec<_> = answered.into_iter().map(without_channels).collect();
    assert_eq!(answered, with_failures);
    match reader.series(sensor, (from, to), points_max).unwrap().unwrap() {
        Series::Readings { readings: answered } => {
            assert!(readings.len() <= points_max as usize);
            assert_eq!(answered, readings);
        }
        Series::Buckets { width_ms, buckets } => {
            assert!(buckets.len() <= points_max as usize && readings.len() > points_max as usize);
            let mut expected: BTreeMap<i64, Vec<&SeriesReading>> = BTreeMap::new();
            for reading in &readings {
                let number = reading.timestamp.unix_millis().div_euclid(width_ms.cast_signed());
                expected.entry(number * width_ms.cast_signed()).or_default().push(reading);
            }
            assert_eq!(buckets.len(), expected.len());
            for (bucket, (start, readings)) in buckets.iter().zip(expected) {
                check_bucket(bucket, start, &readings);
            }
        }
    }
    let mut walked = Vec::new();
    loop {
        let after = |reading: &SeriesReading| Bound::Excluded((reading.timestamp, reading.leaf));
        let start = walked.last().map_or(Bound::Unbounded, after);
        let step = reader.readings_from(sensor, start).unwrap();
        if step.is_empty() {
            break;
        }
        walked.extend(step);
    }
    assert_eq!(walked, all);
}

fn check_bucket(bucket: &Bucket, start: i64, readings: &[&SeriesReading]) {
    let numbers: Vec<f64> = readings
        .iter()
        .filter(|reading| reading.status == "SUCCESS")
        .filter_map(|reading| reading.calibrated.or_else(|| reading.value.parse().ok()))
        .filter(|number: &f64| number.is_finite())
        .collect();
    assert_eq!(bucket.start.unix_millis(), start);
    assert_eq!((bucket.readings, bucket.numbers), (readings.len() as u64, numbers.len() as u64));
    assert_eq!(bucket.min, numbers.iter().copied().reduce(f64::min));
    assert_eq!(bucket.max, numbers.iter().copied().reduce(f64::max));
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let mean: f64 = numbers.iter().map(|number| number / numbers.len() as f64).sum();
    let largest = numbers.iter().fold(1.0, |largest: f64, number| largest.max(number.abs()));
    assert!(bucket.mean.is_none_or(|answered| (answered / largest - mean / largest).abs() < 1e-9));
    let leaves = || readings.iter().map(|reading| reading.leaf);
    assert_eq!((Some(bucket.first_leaf), Some(bucket.last_leaf)), (leaves().min(), leaves().max()));
}

type Asked = (Vec<(Search, (u64, u32))>, Vec<(u8, (Option<i64>, Option<i64>), u32)>);

fn asked() -> impl Strategy<Value = Asked> {
    let moment = || option::of(prop_oneof![0..50_i64, 0..2_000_000_i64]);
    (
        vec((search(), (0..20_u64, 0..20_u32)), 20),
        vec((0..3_u8, (moment(), moment()), 2..40_u32), 6),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_index_answers_what_a_scan_would(
        happenings in vec(happening(), 0..400),
        batches in vec(1..120_usize, 1..5),
        (searches, series) in asked(),
    ) {
        let log = Log::of(happenings);
        let (grown, anew) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let readers = [log.index(&grown, Some(&batches)), log.index(&anew, None)];
        for reader in &readers {
            for (search, page) in &searches {
                check_search(&log, reader, search, *page);
            }
            for (sensor, span, points_max) in &series {
                check_series(&log, reader, heartbeat("A", *sensor).id, *span, *points_max);
            }
        }
        for folder in [&grown, &anew] {
            prop_assert_eq!(log.differences(folder), []);
        }
        let [grown, anew] = readers.map(|reader| {
            let sensors = reader.sensors(3).unwrap().into_iter().map(|sensor| {
                (sensor.described.id(), (format!("{:?}", sensor.described), sensor.state, sensor.standing, sensor.recent))
            });
            (sensors.collect::<BTreeMap<_, _>>(), reader.standings().unwrap())
        });
        prop_assert_eq!(grown, anew, "erased or never read: it is the same");
    }
}
