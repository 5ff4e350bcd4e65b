//! The messages of one sensor: its heartbeats and its answers to polls. No IO and no clock;
//! randomness comes only from a seed.

use core::time::Duration;

use model::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution as _, Normal};
use serde::Serialize;

use crate::{fleet::SensorSpec, kind::AnswerForm};

/// Subject on which the simulated sensors send heartbeats.
pub const HEARTBEAT_SUBJECT: &str = "sim.heartbeat";

/// Probability that a faulty sensor does not answer a poll.
const SILENCE_PROBABILITY: f64 = 0.1;

/// Time between two heartbeats, from the sensor protocol.
const HEARTBEAT_EVERY: core::ops::Range<Duration> =
    Duration::from_secs(30)..Duration::from_secs(60);

/// A running sensor. Two sensors with the same spec and seed give the same answers to the same
/// polls.
#[derive(Debug)]
pub struct Sensor {
    spec: SensorSpec,
    /// Small and fast. Unlike that of `StdRng`, its output never changes between versions.
    rng: Xoshiro256PlusPlus,
    values: Normal<f64>,
    seq: u64,
}

impl Sensor {
    /// A sensor that starts. Its sequence numbers begin at 1, like those of a device that does not
    /// store its count.
    #[must_use]
    pub fn new(spec: SensorSpec, seed: u64) -> Self {
        let quantity = &spec.kind.quantity;
        let values = Normal::new(quantity.mean, quantity.deviation)
            .expect("the table's deviations are finite");
        let rng = Xoshiro256PlusPlus::seed_from_u64(mix(seed, spec.index));
        Self { spec, rng, values, seq: 0 }
    }

    /// The sensor's definition in the fleet.
    #[must_use]
    pub const fn spec(&self) -> &SensorSpec {
        &self.spec
    }

    /// Subject on which the sensor receives polls.
    #[must_use]
    pub fn poll_subject(&self) -> String {
        format!("sim.poll.{}", self.spec.id)
    }

    /// Subject on which the sensor publishes its answers.
    #[must_use]
    pub fn read_subject(&self) -> String {
        format!("sim.read.{}", self.spec.id)
    }

    /// Payload of the sensor's heartbeat, as a device writes it.
    #[must_use]
    pub fn heartbeat(&self) -> Vec<u8> {
        let SensorSpec { index, alias, id, location, kind, poll_interval, form, .. } = &self.spec;
        let declared = (*form != AnswerForm::Text).then_some(&kind.quantity);
        let [_, high, middle, low] = index.to_be_bytes();
        let wire = WireHeartbeat {
            alias,
            id: id.to_string(),
            poll_interval: poll_interval.as_millis(),
            poll_topic: self.poll_subject(),
            read_topic: self.read_subject(),
            // The reference fleet mixes both notations of topics here.
            disconnect_topic: format!("sim.disconnect/{id}"),
            ip_addr: format!("192.168.{}.{}", 1 + index / 250, 1 + index % 250),
            // The hardware address of the reference device; later sensors get the following ones.
            mac_addr: [
                40,
                205,
                193,
                3_u8.wrapping_add(high),
                226_u8.wrapping_add(middle),
                159_u8.wrapping_add(low),
            ],
            location,
            unit: declared.and_then(|quantity| quantity.unit),
            quantity: declared.map(|quantity| quantity.name),
            range: declared.map(|quantity| quantity.range),
        };
        serde_json::to_vec(&wire).expect("a heartbeat has only text keys and finite numbers")
    }

    /// Time until the next heartbeat, random within the protocol's limits.
    #[must_use]
    pub fn heartbeat_delay(&mut self) -> Duration {
        self.rng.random_range(HEARTBEAT_EVERY)
    }

    /// Payload of the answer to a poll that arrives at `now`; `None` if the sensor is faulty and
    /// stays silent.
    #[must_use]
    pub fn answer(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        // Drawn in either case, so that a missing answer does not change the values after it.
        let value = self.values.sample(&mut self.rng);
        if self.spec.faulty && self.rng.random_bool(SILENCE_PROBABILITY) {
            return None;
        }
        // Adding zero turns -0 into 0.
        let value = (value * 100.0).round() / 100.0 + 0.0;
        let text = match self.spec.form {
            AnswerForm::Text => format!("\"{value:.2}\""),
            AnswerForm::Number => format!("{value:.2}"),
            AnswerForm::Object => self.object(value, now),
        };
        Some(text.into_bytes())
    }

    fn object(&mut self, value: f64, now: Timestamp) -> String {
        self.seq += 1;
        let seq = self.seq;
        // No unit in the table needs escaping.
        let unit = self.spec.kind.quantity.unit.map(|unit| format!(r#","unit":"{unit}""#));
        let unit = unit.unwrap_or_default();
        format!(r#"{{"value":{value:.2},"seq":{seq},"time":"{now}"{unit}}}"#)
    }
}

/// A heartbeat with its fields in the order of the reference device.
#[derive(Serialize)]
struct WireHeartbeat<'a> {
    alias: &'a str,
    id: String,
    poll_interval: u128,
    poll_topic: String,
    read_topic: String,
    disconnect_topic: String,
    ip_addr: String,
    mac_addr: [u8; 6],
    location: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<[f64; 2]>,
}

/// A separate seed for each sensor or connection of a run. The generator scrambles it further.
pub(crate) fn mix(seed: u64, index: u32) -> u64 {
    seed.wrapping_add(u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use model::{Answer, Heartbeat};

    use super::*;
    use crate::fleet::{REFERENCE_LEN, fleet};

    /// 2026-11-23T19:01:23Z.
    fn now() -> Timestamp {
        Timestamp::from_unix_micros(1_795_460_483_000_000)
    }

    fn sensor(index: u32, seed: u64) -> Sensor {
        Sensor::new(SensorSpec::at(index), seed)
    }

    #[test]
    fn the_first_heartbeat_is_the_protocols_example() {
        let example = concat!(
            r#"{"alias":"TempSensor01","id":"<id>","poll_interval":10000,"poll_topic":"sim.poll.<id>","#,
            r#""read_topic":"sim.read.<id>","disconnect_topic":"sim.disconnect/<id>","ip_addr":"192.168.1.1","#,
            r#""mac_addr":[40,205,193,3,226,159],"location":"SIMULATION-Conveyor Belt 1"}"#
        );
        let example = example.replace("<id>", "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3");
        assert_eq!(String::from_utf8(sensor(0, 7).heartbeat()).unwrap(), example);
    }

    #[test]
    fn every_heartbeat_is_understood_and_declares_what_its_form_allows() {
        for spec in fleet(1_000) {
            let sensor = Sensor::new(spec, 7);
            let heartbeat = Heartbeat::parse(&sensor.heartbeat()).expect("a heartbeat");
            let spec = sensor.spec();
            assert_eq!((heartbeat.id, &heartbeat.alias), (spec.id, &spec.alias));
            assert_eq!(heartbeat.poll_interval(), spec.kind.poll_interval);
            assert_eq!(heartbeat.poll_topic.as_str(), sensor.poll_subject());
            assert_eq!(heartbeat.read_topic.as_str(), sensor.read_subject());
            let silent = spec.form == AnswerForm::Text;
            assert_eq!(heartbeat.range.is_none(), silent, "{}", spec.alias);
            assert_eq!(heartbeat.quantity.is_none(), silent, "{}", spec.alias);
        }
    }

    #[test]
    fn every_answer_is_understood_and_looks_like_its_form() {
        for spec in fleet(REFERENCE_LEN) {
            let mut sensor = Sensor::new(spec, 7);
            let Some(payload) = sensor.answer(now()) else {
                continue;
            };
            let answer = Answer::parse(&payload).expect("an answer");
            let decimals = answer.value.split_once('.').map(|(_, decimals)| decimals.len());
            assert_eq!(decimals, Some(2), "{}", answer.value);
            let first = match sensor.spec().form {
                AnswerForm::Text => b'"',
                AnswerForm::Number => *answer.value.as_bytes().first().unwrap(),
                AnswerForm::Object => b'{',
            };
            assert_eq!(payload.first(), Some(&first));
            let is_object = sensor.spec().form == AnswerForm::Object;
            assert_eq!(answer.time, is_object.then(now));
            assert_eq!(answer.seq, is_object.then_some(1));
        }
    }

    #[test]
    fn values_follow_the_table() {
        let mut sensor = sensor(13, 7); // SmokeSensor-S2: 5 ppm, give or take 2
        let values: Vec<f64> = (0..10_000)
            .map(|_| Answer::parse(&sensor.answer(now()).unwrap()).unwrap().value.parse().unwrap())
            .collect();
        let mean = values.iter().sum::<f64>() / 10_000.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 10_000.0;
        assert!((mean - 5.0).abs() < 0.1 && (variance - 4.0).abs() < 0.2, "{mean}, {variance}");
        assert!(values.iter().any(|value| !(0.0..=100.0).contains(value)), "none was held back");
    }

    #[test]
    fn a_seed_replays_a_run() {
        let answers = |index, seed| {
            let mut sensor = sensor(index, seed);
            (0..50).map(|_| (sensor.answer(now()), sensor.heartbeat_delay())).collect::<Vec<_>>()
        };
        assert_eq!(answers(1, 7), answers(1, 7));
        assert_ne!(answers(1, 7), answers(1, 8), "another seed is another run");
        assert_ne!(answers(4, 7), answers(19, 7), "two of a kind differ");
    }

    #[test]
    fn only_the_faulty_are_silent_and_about_one_poll_in_ten() {
        for (index, expected) in [
            (1, 900..1_100), // FAULTY_HumiditySensor-A1
            (2, 0..1),
            (17, 0..1), // HumiditySensor-A2
        ] {
            let mut sensor = sensor(index, 7);
            let silences = (0..10_000).filter(|_| sensor.answer(now()).is_none()).count();
            assert!(expected.contains(&silences), "{} of 10,000 by {index}", silences);
        }
    }

    #[test]
    fn heartbeats_come_every_half_minute_to_minute() {
        let mut sensor = sensor(0, 7);
        let delays: Vec<Duration> = (0..1_000).map(|_| sensor.heartbeat_delay()).collect();
        assert!(delays.iter().all(|delay| HEARTBEAT_EVERY.contains(delay)));
        assert!(delays.iter().max() > delays.iter().min(), "they are not all the same");
    }
}
