//! The list of a log's sensors: filtered, ordered and in pages.
//!
//! A page of a large fleet asks several times while a person scrolls. What the list is filtered and
//! ordered by is read for all sensors; their readings are read for one page.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use index::{IndexError, ListedSensor, Reader};
use model::{
    LogId, SensorId, SensorState, Timestamp,
    query::{QueryError, SensorsOrder, SensorsQuery},
};
use serde::{Deserialize, Serialize};

/// A list is used again for this many times as long as reading it took. So however many people
/// look at a large fleet, reading it takes a fifth of a core at most, and the list of a small one
/// is always new.
const USES_OF_READING: u32 = 4;

/// The newest list of a log's sensors, read again when it is too old.
#[derive(Debug, Default)]
pub struct KeptFleet(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    fleet: Arc<Fleet>,
    read_at: Instant,
    took: Duration,
}

impl KeptFleet {
    pub(crate) fn read(&self, index: &Reader) -> Result<Arc<Fleet>, IndexError> {
        // Held while the index is read, so that those who ask meanwhile get the same list.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Kept { fleet, read_at, took }) = &*kept
            && read_at.elapsed() < *took * USES_OF_READING
        {
            return Ok(Arc::clone(fleet));
        }
        let begun = Instant::now();
        let fleet = Arc::new(Fleet::of(index.listed_sensors()?, clock::now()));
        let read_at = Instant::now();
        *kept = Some(Kept { fleet: Arc::clone(&fleet), read_at, took: read_at - begun });
        Ok(fleet)
    }
}

/// All sensors of a log.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Ordered by location.
    sensors: Vec<ListedSensor>,
    totals: Totals,
    /// When the list was read.
    at: Timestamp,
}

/// Numbers of sensors of a whole log, whatever was asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Totals {
    sensors: u32,
    online: u32,
    expected: u32,
    paused: u32,
    lost: u32,
    disconnected: u32,
    retired: u32,
    out_of_range: u32,
    attention: u32,
}

/// A location with sensors, and how many of them were asked for.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Location<'a> {
    location: &'a str,
    sensors: usize,
    found: usize,
}

/// The answer to a question, without the sensors' readings.
#[derive(Debug)]
pub(crate) struct FleetPage<'a> {
    pub(crate) sensors: Vec<SensorId>,
    /// Cursor of the next page; `None` after the last sensor.
    pub(crate) next: Option<String>,
    /// Number of sensors that meet the conditions.
    pub(crate) found: usize,
    pub(crate) totals: Totals,
    /// All locations in order, if they were asked for.
    pub(crate) locations: Option<Vec<Location<'a>>>,
}

impl Fleet {
    fn of(mut sensors: Vec<ListedSensor>, now: Timestamp) -> Self {
        sensors.sort_by(|a, b| key(SensorsOrder::Location, a).cmp(&key(SensorsOrder::Location, b)));
        let mut totals = Totals::default();
        for sensor in &sensors {
            totals.sensors += 1;
            match sensor.state {
                SensorState::Online => totals.online += 1,
                SensorState::Expected => totals.expected += 1,
                SensorState::Lost => totals.lost += 1,
                SensorState::Disconnected => totals.disconnected += 1,
                SensorState::Retired => totals.retired += 1,
            }
            totals.paused += u32::from(sensor.in_force.paused().is_some());
            totals.out_of_range += u32::from(sensor.standing.is_out_of_range());
            totals.attention += u32::from(needs_attention(sensor, now));
        }
        Self { sensors, totals, at: now }
    }

    /// The page of this log's sensors that a question asks for.
    pub(crate) fn page(
        &self,
        query: &SensorsQuery,
        log: LogId,
    ) -> Result<FleetPage<'_>, QueryError> {
        let wanted = Wanted::by(query, self.at);
        let order = query.order;
        let mut found: Vec<&ListedSensor> = Vec::new();
        let mut locations = Vec::new();
        for members in self.sensors.chunk_by(|a, b| a.location == b.location) {
            let before = found.len();
            found.extend(members.iter().filter(|sensor| wanted.includes(sensor)));
            let location = members.first().map_or("", |first| first.location.as_str());
            let (sensors, found) = (members.len(), found.len() - before);
            locations.push(Location { location, sensors, found });
        }
        if order != SensorsOrder::Location {
            found.sort_by(|a, b| key(order, a).cmp(&key(order, b)));
        }
        let after = match &query.cursor {
            None => 0,
            Some(text) => {
                let cursor = Cursor::parse(text, log, order)?;
                found.partition_point(|sensor| key(order, sensor) <= cursor.key())
            }
        };
        let rest = found.get(after.saturating_add(query.offset as usize)..).unwrap_or_default();
        let limit = query.limit.clamp(1, SensorsQuery::LIMIT_MAX) as usize;
        let (page, beyond) = rest.split_at(limit.min(rest.len()));
        let last = page.last().filter(|_| !beyond.is_empty());
        Ok(FleetPage {
            sensors: page.iter().map(|sensor| sensor.id).collect(),
            next: last.map(|last| Cursor::after(last, log, order).to_text()),
            found: found.len(),
            totals: self.totals,
            locations: query.locations.then_some(locations),
        })
    }
}

/// What a sensor is ordered by. No two sensors have the same key.
type Key<'a> = (&'a str, &'a str, SensorId);

fn key(order: SensorsOrder, sensor: &ListedSensor) -> Key<'_> {
    match order {
        SensorsOrder::Location => (sensor.location.as_str(), sensor.alias.as_str(), sensor.id),
        SensorsOrder::Alias => (sensor.alias.as_str(), sensor.location.as_str(), sensor.id),
    }
}

/// Whether a person should look at the sensor. Nobody should because of a sensor that is retired or
/// in maintenance.
fn needs_attention(sensor: &ListedSensor, now: Timestamp) -> bool {
    let (standing, in_force) = (&sensor.standing, &sensor.in_force);
    if in_force.doubled.is_some() {
        return true;
    }
    let is_in_maintenance = in_force.maintenance().is_some_and(|window| window.contains(now));
    if sensor.state == SensorState::Retired || is_in_maintenance {
        return false;
    }
    !sensor.state.is_polled()
        || standing.is_out_of_range()
        || standing.is_not_judged()
        || sensor.failed
}

/// The conditions of a question.
struct Wanted<'a> {
    query: &'a SensorsQuery,
    words: Vec<String>,
    now: Timestamp,
}

impl<'a> Wanted<'a> {
    fn by(query: &'a SensorsQuery, now: Timestamp) -> Self {
        let text = query.text.as_deref().unwrap_or_default();
        let words = text.to_lowercase().split_whitespace().map(str::to_owned).collect();
        Self { query, words, now }
    }

    fn includes(&self, sensor: &ListedSensor) -> bool {
        let Self { query, words, now } = self;
        query.id.is_none_or(|id| sensor.id == id)
            && query.state.is_none_or(|state| sensor.state == state)
            && query.location.as_ref().is_none_or(|location| sensor.location == *location)
            && (!query.attention || needs_attention(sensor, *now))
            && (words.is_empty() || {
                let ListedSensor { alias, location, quantity, id, .. } = sensor;
                let quantity = quantity.as_deref().unwrap_or_default();
                let text = format!("{alias} {location} {quantity} {id}").to_lowercase();
                words.iter().all(|word| text.contains(word.as_str()))
            })
    }
}

/// Where a page ended. Pages that follow each other by it neither repeat nor leave out a sensor
/// that stayed where it was, even if others came or went.
#[derive(Debug, Deserialize, Serialize)]
struct Cursor {
    log: LogId,
    order: SensorsOrder,
    key: (String, String, SensorId),
}

impl Cursor {
    fn after(sensor: &ListedSensor, log: LogId, order: SensorsOrder) -> Self {
        let (first, second, id) = key(order, sensor);
        Self { log, order, key: (first.to_owned(), second.to_owned(), id) }
    }

    fn to_text(&self) -> String {
        let json = serde_json::to_vec(self).expect("a cursor has only text keys");
        URL_SAFE_NO_PAD.encode(json)
    }

    fn parse(text: &str, log: LogId, order: SensorsOrder) -> Result<Self, QueryError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = bytes.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        match cursor {
            Some(cursor) if cursor.log == log && cursor.order == order => Ok(cursor),
            Some(cursor) if cursor.log == log => Err(QueryError::Invalid(
                "`cursor` is of a list in another order: use the same `order`".to_owned(),
            )),
            _ => Err(QueryError::Invalid(
                "`cursor` is not from a list of this log's sensors: begin without one".to_owned(),
            )),
        }
    }

    fn key(&self) -> Key<'_> {
        (self.key.0.as_str(), self.key.1.as_str(), self.key.2)
    }
}

#[cfg(test)]
mod tests {
    use model::{InForce, action, derive::Standing};

    use super::*;

    const LOG: LogId = LogId::from_sha256([0xa7; LogId::LEN]);

    fn now() -> Timestamp {
        Timestamp::from_unix_micros(60_000_000)
    }

    fn id(number: u32) -> SensorId {
        format!("00000000-0000-4000-8000-{number:012}").parse().unwrap()
    }

    fn sensor(number: u32, location: &str, alias: &str) -> ListedSensor {
        ListedSensor {
            id: id(number),
            alias: alias.to_owned(),
            location: location.to_owned(),
            quantity: Some("temperature".to_owned()),
            state: SensorState::Online,
            standing: Standing::default(),
            in_force: InForce::default(),
            failed: false,
        }
    }

    /// Sensor 3 is lost, 1 is out of its range, 4 was not judged, and 5 did not answer.
    fn fleet() -> Fleet {
        let out_of_range = Standing::default().after(action::OUT_OF_RANGE, Some("t"), None);
        let not_judged = Standing::default().after(action::RANGE_NOT_JUDGED, None, None);
        let sensors = vec![
            ListedSensor { failed: true, ..sensor(5, "Boiler", "E") },
            ListedSensor { standing: not_judged, ..sensor(4, "Boiler", "A") },
            ListedSensor { state: SensorState::Lost, ..sensor(3, "Belt 2", "C") },
            sensor(2, "Belt 2", "C"),
            ListedSensor { standing: out_of_range, ..sensor(1, "Belt 2", "Ä") },
        ];
        Fleet::of(sensors, now())
    }

    #[track_caller]
    fn numbers(fleet: &Fleet, query: &SensorsQuery) -> Vec<u32> {
        let page = fleet.page(query, LOG).unwrap();
        let number = |found: &SensorId| (1..=9).find(|number| id(*number) == *found).unwrap();
        page.sensors.iter().map(number).collect()
    }

    #[test]
    fn every_condition_counts_and_the_totals_stay() {
        let fleet = fleet();
        let all = SensorsQuery::default();
        let text = |text: &str| SensorsQuery { text: Some(text.to_owned()), ..all.clone() };
        let at =
            |location: &str| SensorsQuery { location: Some(location.to_owned()), ..all.clone() };
        let totals = Totals {
            sensors: 5,
            online: 4,
            expected: 0,
            paused: 0,
            lost: 1,
            disconnected: 0,
            retired: 0,
            out_of_range: 1,
            attention: 4,
        };
        for (query, expected) in [
            (all.clone(), vec![2, 3, 1, 4, 5]),
            (text(" TEMP  boiler"), vec![4, 5]),
            (text("ä"), vec![1]),
            (text(&id(2).to_string()), vec![2]),
            (text("boiler belt"), vec![]),
            (at("Boiler"), vec![4, 5]),
            (at("boiler"), vec![]),
            (SensorsQuery { state: Some(SensorState::Lost), ..all.clone() }, vec![3]),
            (SensorsQuery { attention: true, ..all.clone() }, vec![3, 1, 4, 5]),
            (SensorsQuery { attention: true, ..at("Boiler") }, vec![4, 5]),
            (SensorsQuery { id: Some(id(4)), ..all.clone() }, vec![4]),
            (SensorsQuery { order: SensorsOrder::Alias, ..all.clone() }, vec![4, 2, 3, 5, 1]),
            (SensorsQuery { offset: 3, ..all.clone() }, vec![4, 5]),
            (SensorsQuery { offset: u32::MAX, ..all.clone() }, vec![]),
        ] {
            assert_eq!(numbers(&fleet, &query), expected, "{query:?}");
            let page = fleet.page(&query, LOG).unwrap();
            assert_eq!(page.totals, totals);
        }
        let query = SensorsQuery { locations: true, limit: 1, ..text("C") };
        let page = fleet.page(&query, LOG).unwrap();
        let locations = vec![
            Location { location: "Belt 2", sensors: 3, found: 2 },
            Location { location: "Boiler", sensors: 2, found: 0 },
        ];
        assert_eq!((page.found, page.locations), (2, Some(locations)));
    }

    #[test]
    fn pages_follow_each_other_while_sensors_come_and_go() {
        for order in [SensorsOrder::Location, SensorsOrder::Alias] {
            let mut fleet = fleet();
            let whole = SensorsQuery { order, ..SensorsQuery::default() };
            let expected = numbers(&fleet, &whole);
            let mut query = SensorsQuery { limit: 2, ..whole };
            let mut seen = Vec::new();
            loop {
                seen.extend(numbers(&fleet, &query));
                query.cursor = fleet.page(&query, LOG).unwrap().next;
                if query.cursor.is_none() {
                    break;
                }
                // One comes before the cursor. After the first page, the last one shown goes.
                let mut sensors = fleet.sensors;
                sensors.push(sensor(9, "", ""));
                if let [_, last] = seen.as_slice() {
                    sensors.retain(|sensor| sensor.id != id(*last));
                }
                fleet = Fleet::of(sensors, now());
            }
            assert_eq!(seen, expected, "{order:?}");
        }
    }

    #[test]
    fn a_cursor_is_of_one_log_and_one_order() {
        let fleet = fleet();
        let query = SensorsQuery { limit: 1, ..SensorsQuery::default() };
        let cursor = fleet.page(&query, LOG).unwrap().next;
        assert!(cursor.is_some());
        let next = SensorsQuery { cursor, ..query.clone() };
        assert!(fleet.page(&next, LOG).is_ok());
        let other = LogId::from_sha256([3; LogId::LEN]);
        let by_alias = SensorsQuery { order: SensorsOrder::Alias, ..next.clone() };
        let garbled = SensorsQuery { cursor: Some("2".to_owned()), ..query };
        for (query, log, words) in [
            (&next, other, "not from a list of this log's sensors"),
            (&by_alias, LOG, "of a list in another order"),
            (&garbled, LOG, "not from a list of this log's sensors"),
        ] {
            let refusal = fleet.page(query, log).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
