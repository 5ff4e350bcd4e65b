//! The costs of an index of a long log: how fast it is built, how long queries take, how much
//! memory it needs.
//!
//! `cargo bench -p index -- [EVENTS] [SENSORS]`, by default ten million readings of 1,000 sensors
//! over a year. Envelopes are made as they are needed, in batches, and only applying them is timed.
//! The index is kept in a temporary folder (TMPDIR says where) of up to a gigabyte.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and answers on standard output"
)]

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use index::{Field, IndexBatch, Indexer, Page, Query, Reader, Search};
use model::{Envelope, Event, Heartbeat, LogId, Outcome, Salt, Timestamp, action, derive::Derived};

const LOG: LogId = LogId::from_sha256([1; LogId::LEN]);
const YEAR_MICROS: u64 = 365 * 86_400 * 1_000_000;
/// One event in this many is a derived event instead of a reading.
const DERIVED_EVERY: u64 = 200;
/// Questions of each kind.
const QUESTIONS: usize = 200;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let events: u64 = numbers.next().unwrap_or(10_000_000);
    let sensors: u64 = numbers.next().unwrap_or(1_000);
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("index.sqlite");
    let mut indexer = Indexer::open(&path, LOG, |_| Ok(None)).unwrap();
    let log = Log { events, heartbeats: (0..sensors).map(heartbeat).collect() };
    log.index(&mut indexer);
    let bytes: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    println!("file_mb: {}", bytes >> 20);
    let reader = indexer.reader().unwrap();
    log.search(&reader);
    log.plot(&reader);
    println!("rss_mb: {} (highest)", peak_rss_mb());
}

struct Log {
    events: u64,
    heartbeats: Vec<Heartbeat>,
}

impl Log {
    fn index(&self, indexer: &mut Indexer) {
        let (mut took, mut parsing, mut applying) = Default::default();
        let mut bytes = 0;
        while indexer.next_leaf() < self.events {
            let first = indexer.next_leaf();
            let mut batch = IndexBatch::new(first);
            let end = self.events.min(first + batch.room() as u64);
            let envelopes: Vec<Vec<u8>> = (first..end).map(|leaf| self.envelope(leaf)).collect();
            bytes += envelopes.iter().map(Vec::len).sum::<usize>() as u64;
            let (begun, ran) = (Instant::now(), processor_time());
            batch.extend(envelopes.iter().map(|bytes| Envelope::parse(bytes).ok()));
            parsing += processor_time() - ran;
            let ran = processor_time();
            indexer.apply(&batch, [0; 32]).unwrap();
            applying += processor_time() - ran;
            took += begun.elapsed();
        }
        println!("envelope_bytes: {}", bytes / self.events);
        let rate = |took: Duration| (self.events as f64 / took.as_secs_f64()).round();
        println!("rebuild_events_per_s: {}, parsing and applying in turn", rate(took));
        println!("  of processor time: {} parsing, {} applying", rate(parsing), rate(applying));
        println!("rss_mb: {} (highest while indexing)", peak_rss_mb());
    }

    fn heartbeat(&self, number: u64) -> &Heartbeat {
        let place = number % self.heartbeats.len() as u64;
        self.heartbeats.get(usize::try_from(place).unwrap()).unwrap()
    }

    fn envelope(&self, leaf: u64) -> Vec<u8> {
        let at = at(leaf * (YEAR_MICROS / self.events));
        let sensors = self.heartbeats.len() as u64;
        let heartbeat = self.heartbeat(leaf);
        let event = if leaf < sensors {
            Event::sighting(action::SENSOR_DISCOVERED, heartbeat, at)
        } else if leaf.is_multiple_of(DERIVED_EVERY) {
            let derived = Derived {
                from_leaf: leaf - 1,
                sensor: heartbeat.id,
                action: action::OUT_OF_RANGE.into(),
                channel: None,
                since: None,
                source: heartbeat.source(),
                value: Some(value(leaf)),
                message: format!("{}: {} is outside 0..50", heartbeat.source(), value(leaf)),
            };
            Event::derived(derived, "sha256:00", at)
        } else if leaf.is_multiple_of(97) {
            Event::reading(heartbeat, leaf, Outcome::CommError, at)
        } else {
            Event::reading(heartbeat, leaf / sensors, Outcome::of(value(leaf).as_bytes()), at)
        };
        let salt = Salt::from_random(u128::from(mixed(leaf)).to_le_bytes());
        Envelope { event, received_at: at, salt }.canonical()
    }

    fn search(&self, reader: &Reader) {
        let restricted = |number: u64| {
            let heartbeat = self.heartbeat(number);
            let restriction = match number % 4 {
                0 => (Field::Source, heartbeat.source()),
                1 => (Field::Action, action::OUT_OF_RANGE.to_owned()),
                2 => (Field::Status, "COMM_ERROR".to_owned()),
                _ => (Field::Sensor, heartbeat.id.to_string()),
            };
            let restriction = BTreeMap::from([(restriction.0, vec![restriction.1])]);
            let from = mixed(number) % YEAR_MICROS;
            let window = number.is_multiple_of(3).then(|| at(from));
            Search { restriction, window: (None, window), ..Search::default() }
        };
        self.measure(reader, "search", restricted);
        let text = |number: u64| {
            let heartbeat = self.heartbeat(number);
            let query = match number % 7 {
                0 => value(number),
                1 => heartbeat.alias.clone(),
                2 => format!("\"{}\"", heartbeat.location),
                3 => format!("{} outside", heartbeat.alias),
                4 => format!("{} message:{}", &heartbeat.alias[2..], &value(number)[..2]),
                5 => format!("\"Hall {} x 2\"", number % 20),
                _ => "nowhere to be found".to_owned(),
            };
            Search { query: Query::parse(&query, |_| false).unwrap(), ..Search::default() }
        };
        self.measure(reader, "text", text);
    }

    fn measure(&self, reader: &Reader, what: &str, search: impl Fn(u64) -> Search) {
        let mut times = Vec::new();
        let mut slowest = (Duration::ZERO, None);
        for number in 0..QUESTIONS as u64 {
            let search = search(mixed(number) >> 8);
            let (begun, ran) = (Instant::now(), processor_time());
            let mut read_event =
                |leaf| Ok(Some(Envelope::parse(&self.envelope(leaf)).unwrap().event));
            let page: Page = reader.search(&search, 0, 50, &mut read_event).unwrap();
            times.push((begun.elapsed(), processor_time() - ran));
            let took = processor_time() - ran;
            if took > slowest.0 {
                slowest = (took, Some((search, page.count)));
            }
        }
        report(what, times);
        if let Some((search, count)) = slowest.1 {
            println!("  slowest: {:?} {:?}, {count} found", search.restriction, search.query.words);
        }
    }

    fn plot(&self, reader: &Reader) {
        let year = (Some(at(0)), Some(at(YEAR_MICROS)));
        let month = (Some(at(YEAR_MICROS / 2)), Some(at(YEAR_MICROS / 2 + YEAR_MICROS / 12)));
        for (what, span) in [("plot of a year", year), ("plot of a month", month)] {
            let mut times = Vec::new();
            for heartbeat in self.heartbeats.iter().cycle().take(QUESTIONS) {
                let (begun, ran) = (Instant::now(), processor_time());
                reader.series(heartbeat.id, span, 1_000).unwrap().unwrap();
                times.push((begun.elapsed(), processor_time() - ran));
            }
            report(what, times);
        }
        let begun = Instant::now();
        let sensors = reader.sensors(30).unwrap().len();
        println!("all {sensors} sensors: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    }
}

/// Times by the clock and of the processor. They differ if the machine does other things.
fn report(what: &str, times: Vec<(Duration, Duration)>) {
    let (clock, processor): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    for (whose, mut times) in [("", clock), (" of processor time", processor)] {
        times.sort_unstable();
        let ms = |percent: usize| {
            times.get((times.len() - 1) * percent / 100).unwrap().as_secs_f64() * 1e3
        };
        println!(
            "{what}{whose}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            ms(50),
            ms(99),
            ms(100)
        );
    }
}

fn heartbeat(number: u64) -> Heartbeat {
    let text = format!(
        r#"{{"alias":"Sensor{number}","id":"00000000-0000-0000-0000-{number:012}","poll_interval":1000,
            "poll_topic":"p/{number}","read_topic":"r/{number}","location":"Hall {}","unit":"°C","range":[0,50]}}"#,
        number % 20
    );
    Heartbeat::parse(text.as_bytes()).unwrap()
}

fn at(after_start: u64) -> Timestamp {
    Timestamp::from_unix_micros(1_767_225_600_000_000 + i64::try_from(after_start).unwrap())
}

/// A value with two digits behind the point, as most sensors send.
fn value(leaf: u64) -> String {
    let number = mixed(leaf) % 6_000;
    format!("{}.{:02}", number / 100, number % 100)
}

/// SplitMix64: numbers without a pattern, the same in every run.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Processor time of this thread. Only Linux provides it.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Only Linux provides it; elsewhere it is 0.
fn peak_rss_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}
