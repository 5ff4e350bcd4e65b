//! What devices were refused, as the page has it.
//!
//! A client names itself, so the sensors beside a refusal are those in whose name somebody was
//! refused.

use access::sensors::{Book, Sensor, SensorCredentials, Told};
use model::{SensorId, query::RefusalsQuery};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Refused {
    /// The newest kinds, newest first.
    refusals: Vec<Kind>,
    /// How many kinds there are.
    found: usize,
}

#[derive(Debug, Serialize)]
struct Kind {
    #[serde(flatten)]
    told: Told,
    /// Sensors of the credential, as many as one reads.
    sensors: Vec<NamedSensor>,
    /// How many sensors the credential covers.
    covers: usize,
}

#[derive(Debug, Serialize)]
struct NamedSensor {
    id: SensorId,
    alias: String,
}

impl Refused {
    pub(super) fn of(credentials: &SensorCredentials, query: RefusalsQuery) -> Self {
        let all = credentials.all_refusals();
        credentials.look(|book| Self::page(book, all, query))
    }

    fn page(book: &Book, all: Vec<Told>, query: RefusalsQuery) -> Self {
        let is_asked_for = |told: &Told| {
            let sensors = book.sensors_of(&told.refusal.who);
            query.sensor.is_none_or(|id| sensors.iter().any(|sensor| sensor.id == id))
        };
        let mut all: Vec<Told> = all.into_iter().filter(is_asked_for).collect();
        let found = all.len();
        all.truncate(RefusalsQuery::KINDS_MAX);
        let kind = |told: Told| {
            let sensors = book.sensors_of(&told.refusal.who);
            let named = |Sensor { id, alias, .. }: &Sensor| NamedSensor {
                id: *id,
                alias: alias.as_str().to_owned(),
            };
            let shown = sensors.iter().take(RefusalsQuery::SENSORS_MAX).map(named).collect();
            Kind { sensors: shown, covers: sensors.len(), told }
        };
        Self { refusals: all.into_iter().map(kind).collect(), found }
    }
}

#[cfg(test)]
mod tests {
    use access::sensors::{Key, NewCredential, Refusal, Topics};
    use model::Timestamp;
    use nats::nkey::{Kind, Seed};
    use serde_json::{Value, json};

    use super::*;

    fn told(who: &str, second: i64) -> Told {
        let refusal = Refusal::new(who, "its password is wrong", "rotate it");
        Told { refusal, count: 3, last: Timestamp::from_unix_micros(second * 1_000_000) }
    }

    #[test]
    fn a_page_has_the_newest_and_the_sensors_in_whose_name_somebody_came() {
        let (mut book, now) = (Book::default(), Timestamp::from_unix_micros(0));
        let sensors: Vec<Sensor> = (0..20_u8)
            .map(|number| {
                let alias = format!("Pump-{number}");
                Sensor {
                    id: SensorId::from_bytes([number; 16]),
                    topics: Topics::below(&alias.parse().unwrap()),
                    alias: alias.parse().unwrap(),
                }
            })
            .collect();
        let last = sensors[19].id;
        let nkey = Seed::from_bytes(Kind::User, &[1; 32]).public();
        let key = Key::new(nkey, "secret", now);
        let name = "hall".parse().unwrap();
        book.add(vec![NewCredential { name, sensors, reporting: None, key }]).unwrap();

        let all: Vec<Told> = (0..1_000).map(|number| told(&format!("x{number}"), number)).collect();
        let mut all: Vec<Told> = all.into_iter().rev().collect();
        all.push(told("hall", -1));
        let page = |query| -> Value {
            serde_json::to_value(Refused::page(&book, all.clone(), query)).unwrap()
        };
        let whole = page(RefusalsQuery::default());
        assert_eq!(whole["found"], 1_001);
        let listed = whole["refusals"].as_array().unwrap();
        assert_eq!((listed.len(), &listed[0]["who"]), (RefusalsQuery::KINDS_MAX, &json!("x999")));
        assert_eq!((&listed[0]["covers"], &listed[0]["sensors"]), (&json!(0), &json!([])));

        let of_one = page(RefusalsQuery { sensor: Some(last) });
        assert_eq!((&of_one["found"], &of_one["refusals"][0]["who"]), (&json!(1), &json!("hall")));
        let kind = &of_one["refusals"][0];
        assert_eq!(kind["covers"], 20);
        assert_eq!(kind["sensors"].as_array().unwrap().len(), RefusalsQuery::SENSORS_MAX);
        assert_eq!(kind["sensors"][1]["alias"], "Pump-1");
        assert_eq!((&kind["count"], &kind["advice"]), (&json!(3), &json!("rotate it")));
        assert_eq!(
            page(RefusalsQuery { sensor: Some(SensorId::from_bytes([99; 16])) })["found"],
            0
        );
    }
}
