//! A batch of consecutive envelopes, prepared without the index file and therefore on another core.
//!
//! A batch stores each text that envelopes share once. So tens of thousands of envelopes take a
//! tenth of their size, and the writer looks each text up in the file once.

use std::ops::{Range, RangeInclusive};

use indexmap::{IndexMap, IndexSet};
use model::{
    Channel, Envelope, Event, Given, Measured, SealedReading, SensorId, SensorOrder, Timestamp,
    action, completeness::LastNumbers, event::SUCCESS, reading::measured_of,
};

use crate::{block_reading::BlockReading, channels, chunk, field, term::Term};

/// Actions that change what the index knows of a sensor, beside those of orders.
const MOVES: [&str; 13] = [
    action::SENSOR_DISCOVERED,
    action::SENSOR_CHANGED,
    action::HEARTBEAT_RESUMED,
    action::HEARTBEAT_MISSED,
    action::SENSOR_DISCONNECTED,
    action::SENSOR_FORGOTTEN,
    action::SENSOR_DOUBLED,
    action::OUT_OF_RANGE,
    action::BACK_IN_RANGE,
    action::RANGE_NOT_JUDGED,
    action::LEAVING_RANGE,
    action::SENSOR_LOST,
    action::SENSOR_BACK,
];

/// Consecutive envelopes, prepared for [`Indexer::apply`](crate::Indexer::apply).
#[derive(Debug)]
pub struct IndexBatch {
    first_leaf: u64,
    pub(crate) leaves: Vec<Leaf>,
    /// Every distinct term of the batch.
    pub(crate) terms: IndexSet<Term>,
    /// The terms of each leaf in turn, as indices into `terms`.
    terms_of_leaves: Vec<u32>,
    pub(crate) sensors: IndexMap<SensorId, OfSensor>,
    /// For each series of a channel, its index in `sensors`: that of its sensor, and its name.
    pub(crate) channels: IndexMap<u32, (u32, String)>,
    pub(crate) sightings: Vec<SensorMove>,
    pub(crate) erased: Vec<RangeInclusive<u64>>,
    /// Leaves that cannot be indexed, each with the reason.
    pub(crate) passed_over: Vec<(u64, String)>,
    /// Distinct texts of readings: statuses, flags, units and values.
    texts: IndexSet<Box<str>>,
    /// Total bytes of terms, texts, sightings and erased ranges.
    bytes: usize,
}

/// The part of a leaf that a batch keeps.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// `None` if the envelope was erased.
    pub(crate) received_at: Option<Timestamp>,
    /// Range of the leaf's terms in `terms_of_leaves`.
    terms: Range<usize>,
    /// For a reading: index of its sensor in `sensors`, and the time it was taken, in microseconds
    /// since 1970.
    pub(crate) reading: Option<(u32, i64)>,
}

/// The part of a batch that concerns one sensor.
#[derive(Debug, Default)]
pub(crate) struct OfSensor {
    pub(crate) last_numbers: LastNumbers,
    readings: Vec<ReadingOfBatch>,
}

/// An event that changes what the index knows of a sensor.
#[derive(Debug)]
pub(crate) struct SensorMove {
    /// Index of the sensor in `sensors`.
    pub(crate) sensor: u32,
    pub(crate) leaf: u64,
    pub(crate) action: String,
    /// What the action changes the sensor by: a heartbeat, an order, the time of the event, or the
    /// channel that it is about.
    pub(crate) text: Option<String>,
}

/// A reading. Its texts are indices into `texts`.
#[derive(Debug)]
struct ReadingOfBatch {
    at: i64,
    leaf: u64,
    status: u32,
    flags: Option<u32>,
    unit: Option<u32>,
    value: u32,
}

impl IndexBatch {
    /// Bytes of distinct texts at which a batch is full: twice as many as a chunk of readings has.
    const BYTES_MAX: usize = 8 << 20;
    /// Terms of all leaves at which a batch is full: three times as many as a chunk of readings
    /// has, 8 MB.
    const TERMS_MAX: usize = 2 << 20;

    /// Longest reason for passing a leaf over that is kept, in characters.
    const REASON_CHARS_MAX: usize = 300;

    /// An empty batch that begins with this leaf.
    #[must_use]
    pub fn new(first_leaf: u64) -> Self {
        Self {
            first_leaf,
            leaves: Vec::new(),
            terms: IndexSet::default(),
            terms_of_leaves: Vec::new(),
            sensors: IndexMap::default(),
            channels: IndexMap::default(),
            sightings: Vec::new(),
            erased: Vec::new(),
            passed_over: Vec::new(),
            texts: IndexSet::default(),
            bytes: 0,
        }
    }

    /// The first leaf of the batch.
    #[must_use]
    pub const fn first_leaf(&self) -> u64 {
        self.first_leaf
    }

    /// The leaf after the last one of the batch.
    #[must_use]
    pub fn next_leaf(&self) -> u64 {
        self.first_leaf + self.leaves.len() as u64
    }

    /// Whether the batch has no leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// When the site received each leaf that has an envelope, in the log's order.
    pub fn received_at(&self) -> impl Iterator<Item = Timestamp> {
        self.leaves.iter().filter_map(|leaf| leaf.received_at)
    }

    /// Number of further leaves that the batch should take. Zero if it is large, or if it ends at
    /// the end of a chunk.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.bytes >= Self::BYTES_MAX || self.terms_of_leaves.len() >= Self::TERMS_MAX {
            return 0;
        }
        let end = chunk::first_leaf(chunk::of(self.first_leaf) + 1);
        usize::try_from(end.saturating_sub(self.next_leaf())).unwrap_or(0)
    }

    /// Adds a leaf that cannot be indexed. The index keeps only its number and the reason.
    pub fn pass_over(&mut self, reason: &str) {
        let leaf = self.next_leaf();
        let reason: String = reason.chars().take(Self::REASON_CHARS_MAX).collect();
        self.bytes += reason.len();
        self.passed_over.push((leaf, reason));
        self.push(None);
    }

    fn push(&mut self, envelope: Option<Envelope>) {
        let leaf = self.next_leaf();
        let received_at = envelope.as_ref().map(|envelope| envelope.received_at);
        let terms_begin = self.terms_of_leaves.len();
        let reading = envelope.and_then(|envelope| self.take_in(leaf, envelope));
        let terms = terms_begin..self.terms_of_leaves.len();
        self.leaves.push(Leaf { received_at, terms, reading });
    }

    fn take_in(&mut self, leaf: u64, envelope: Envelope) -> Option<(u32, i64)> {
        let Envelope { event, received_at, salt: _ } = envelope;
        field::terms(&event, |field, part, text| {
            let place = self.terms.get_index_of(&(field, part, text)).unwrap_or_else(|| {
                self.bytes += field.len() + text.len();
                self.terms.insert_full(Term::new(field, part, text)).0
            });
            self.terms_of_leaves.push(u32_of(place));
        });
        let erased = erased(&event);
        self.bytes += erased.len() * size_of::<RangeInclusive<u64>>();
        self.erased.extend(erased);
        let sensor = self.sensor(leaf, &event)?;
        self.reading(sensor, leaf, &event, received_at)
    }

    /// Index of the event's sensor in `sensors`, if the event changes something about the sensor. A
    /// legal hold, for example, names a sensor and changes nothing.
    fn sensor(&mut self, leaf: u64, event: &Event) -> Option<u32> {
        let id = event.sensor()?;
        let action = event.action.as_deref();
        let is_move =
            |action: &&str| MOVES.contains(action) || SensorOrder::ACTIONS.contains(action);
        let sighting = action.filter(is_move);
        // Nearly all events are readings, so do not compute their numbers twice.
        let is_numbered = || LastNumbers::default().after(event) != LastNumbers::default();
        if sighting.is_none() && action != Some(action::SENSOR_READING) && !is_numbered() {
            return None;
        }
        let entry = self.sensors.entry(id);
        let sensor = u32_of(entry.index());
        let of_sensor = entry.or_default();
        of_sensor.last_numbers = of_sensor.last_numbers.after(event);
        if let Some(action) = sighting {
            let text = match action {
                action::SENSOR_DOUBLED => event.timestamp.clone(),
                action::OUT_OF_RANGE | action::BACK_IN_RANGE | action::RANGE_NOT_JUDGED => {
                    event.sealwire.as_ref().and_then(|detail| detail.channel.clone())
                }
                action::LEAVING_RANGE => event.sealwire.as_ref().and_then(|detail| {
                    let since = detail.since?;
                    Some(match &detail.channel {
                        None => since.to_string(),
                        Some(channel) => format!("{since} {channel}"),
                    })
                }),
                _ if SensorOrder::ACTIONS.contains(&action) => {
                    Given::of(event).map(|given| given.canonical())
                }
                _ => event.sealwire.as_ref().and_then(|detail| detail.heartbeat.clone()),
            };
            self.bytes += text.as_ref().map_or(0, String::len);
            self.sightings.push(SensorMove { sensor, leaf, action: action.to_owned(), text });
        }
        Some(sensor)
    }

    /// Adds the event's reading, if it is one.
    fn reading(
        &mut self,
        sensor: u32,
        leaf: u64,
        event: &Event,
        received_at: Timestamp,
    ) -> Option<(u32, i64)> {
        let SealedReading { sensor: _, at, status, flags, unit, value } =
            SealedReading::of(event, received_at)?;
        let at = at.unix_micros();
        let reading = ReadingOfBatch {
            at,
            leaf,
            status: self.text(status),
            flags: flags.map(|flags| self.text(flags)),
            unit: unit.map(|unit| self.text(unit)),
            value: self.text(value),
        };
        let (_, of_sensor) = self.sensors.get_index_mut(sensor as usize)?;
        of_sensor.readings.push(reading);
        self.channels(sensor, (at, leaf), event);
        Some((sensor, at))
    }

    /// Adds what each declared channel of a reading with several values measured to a series of its
    /// own. An answer can make up names without limit, and a heartbeat cannot.
    fn channels(&mut self, sensor: u32, (at, leaf): (i64, u64), event: &Event) {
        let Some(id) = event.sensor() else { return };
        let declared = |one: &Measured| one.channel.is_declared();
        for measured in measured_of(event).into_iter().flatten().filter(declared) {
            let value = measured.text();
            let Channel { name, unit, .. } = measured.channel;
            let reading = ReadingOfBatch {
                at,
                leaf,
                status: self.text(SUCCESS),
                flags: event
                    .sealwire
                    .as_ref()
                    .and_then(|detail| detail.flags.as_deref())
                    .map(|flags| self.text(flags)),
                unit: unit.map(|unit| self.text(&unit)),
                value: self.text(&value),
            };
            let entry = self.sensors.entry(channels::channel_series(id, &name));
            let series = u32_of(entry.index());
            entry.or_default().readings.push(reading);
            self.channels.entry(series).or_insert_with(|| (sensor, name));
        }
    }

    fn text(&mut self, text: &str) -> u32 {
        let place = self.texts.get_index_of(text).unwrap_or_else(|| {
            self.bytes += text.len();
            self.texts.insert_full(text.into()).0
        });
        u32_of(place)
    }

    /// Number of pairs of a leaf and one of its terms.
    pub(crate) const fn pairs(&self) -> usize {
        self.terms_of_leaves.len()
    }

    /// The terms of a leaf, as indices into `terms`.
    pub(crate) fn terms_of(&self, leaf: &Leaf) -> &[u32] {
        self.terms_of_leaves.get(leaf.terms.clone()).unwrap_or_default()
    }

    /// The readings of the sensor at this index.
    pub(crate) fn readings(&self, sensor: usize) -> Vec<BlockReading<'_>> {
        let text = |place: u32| self.texts.get_index(place as usize).map_or("", |text| text);
        let stored = |reading: &ReadingOfBatch| BlockReading {
            at: reading.at,
            leaf: reading.leaf,
            status: text(reading.status),
            flags: reading.flags.map(text),
            unit: reading.unit.map(text),
            value: text(reading.value),
        };
        let of_sensor = self.sensors.get_index(sensor).map(|(_, of_sensor)| of_sensor);
        of_sensor.map_or_else(Vec::new, |of_sensor| of_sensor.readings.iter().map(stored).collect())
    }
}

/// Adds leaves; `None` stands for an erased envelope.
impl Extend<Option<Envelope>> for IndexBatch {
    fn extend<T: IntoIterator<Item = Option<Envelope>>>(&mut self, envelopes: T) {
        envelopes.into_iter().for_each(|envelope| self.push(envelope));
    }
}

/// Converts an index. [`IndexBatch::room`] limits a batch to far fewer items than a `u32` can
/// count.
fn u32_of(place: usize) -> u32 {
    u32::try_from(place).expect("a batch has less than four billion of anything")
}

/// The leaves that the event declares erased.
fn erased(event: &Event) -> Vec<RangeInclusive<u64>> {
    if event.action.as_deref() != Some(action::ENVELOPES_ERASED) {
        return Vec::new();
    }
    let detail = event.sealwire.as_ref();
    let ranges = detail.and_then(|detail| detail.erased.as_deref()).unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    ranges.split(',').filter_map(range).collect()
}
