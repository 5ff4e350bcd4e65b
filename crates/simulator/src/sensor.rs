//! The messages of one sensor: its heartbeats and its answers to polls. No IO, no clock and no
//! state: each message follows from the sensor, the seed and the number of the poll or heartbeat.

use core::time::Duration;

use model::{Protocol, Subject, Timestamp, subject::topic_of};
use rand::RngExt as _;
use rand_distr::{Distribution as _, Normal};
use serde::Serialize;

use crate::{
    draw::{Purpose, draw, happens},
    fleet::SensorSpec,
    kind::AnswerForm,
};

/// Subject on which the simulated sensors send heartbeats.
pub const HEARTBEAT_SUBJECT: &str = "sim.heartbeat";

/// Probability that a faulty sensor does not answer a poll.
const SILENCE_PROBABILITY: f64 = 0.1;

/// Time between two heartbeats, from the sensor protocol.
const HEARTBEAT_EVERY: core::ops::Range<Duration> =
    Duration::from_secs(30)..Duration::from_secs(60);

/// How much higher than its sensor's the hardware address of a second device with the same id is:
/// beyond those of a whole fleet.
const DOUBLE_ADDRESS: u32 = 0x80_0000;

/// A sensor that speaks one of the protocols. Two sensors with the same spec and seed give the same
/// answer to the poll of the same number.
#[derive(Clone, Debug)]
pub struct Sensor {
    spec: SensorSpec,
    seed: u64,
    protocol: Protocol,
}

/// A device that sends the messages of a sensor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The sensor itself.
    Sensor,
    /// A second device that has the sensor's id and topics, and values of its own.
    Double,
}

impl Sensor {
    /// A sensor of the fleet.
    #[must_use]
    pub const fn new(spec: SensorSpec, seed: u64, protocol: Protocol) -> Self {
        Self { spec, seed, protocol }
    }

    /// The sensor's definition in the fleet.
    #[must_use]
    pub const fn spec(&self) -> &SensorSpec {
        &self.spec
    }

    /// The protocol that it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The seed of its values.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Subject on which the sensor sends heartbeats, if it is not that of the fleet.
    #[must_use]
    pub fn own_heartbeat_subject(&self) -> Option<&Subject> {
        self.spec.topics.as_ref().map(|topics| &topics.heartbeat)
    }

    /// Subject on which the sensor receives polls.
    #[must_use]
    pub fn poll_subject(&self) -> String {
        match &self.spec.topics {
            Some(topics) => topics.poll.as_str().to_owned(),
            None => format!("sim.poll.{}", self.spec.id),
        }
    }

    /// Subject on which the sensor publishes its answers.
    #[must_use]
    pub fn read_subject(&self) -> String {
        match &self.spec.topics {
            Some(topics) => topics.read.as_str().to_owned(),
            None => format!("sim.read.{}", self.spec.id),
        }
    }

    /// Topic on which the sensor says that it leaves, as its heartbeat names it.
    #[must_use]
    pub fn disconnect_topic(&self) -> Option<String> {
        let topic = match (&self.spec.topics, self.protocol) {
            (Some(topics), _) => self.topic(topics.disconnect.as_ref()?.as_str().to_owned()),
            // The reference fleet mixes both notations of topics here.
            (None, Protocol::Nats) => format!("sim.disconnect/{}", self.spec.id),
            (None, Protocol::Mqtt) => format!("sim/disconnect/{}", self.spec.id),
        };
        Some(topic)
    }

    fn topic(&self, subject: String) -> String {
        match self.protocol {
            Protocol::Nats => subject,
            Protocol::Mqtt => topic_of(&subject),
        }
    }

    /// Payload of a heartbeat, as a device writes it.
    #[must_use]
    pub fn heartbeat(&self, sender: Sender) -> Vec<u8> {
        let SensorSpec { index, alias, id, location, kind, poll_interval, form, .. } = &self.spec;
        let declared = (*form != AnswerForm::Text).then_some(&kind.quantity);
        let device = match sender {
            Sender::Sensor => *index,
            Sender::Double => index.wrapping_add(DOUBLE_ADDRESS),
        };
        let [_, high, middle, low] = device.to_be_bytes();
        let wire = WireHeartbeat {
            alias,
            id: id.to_string(),
            poll_interval: poll_interval.as_millis(),
            poll_topic: self.topic(self.poll_subject()),
            read_topic: self.topic(self.read_subject()),
            disconnect_topic: self.disconnect_topic(),
            ip_addr: format!("192.168.{}.{}", 1 + device / 250 % 250, 1 + device % 250),
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

    /// Time from the heartbeat of this number to the next one, random within the protocol's limits.
    #[must_use]
    pub fn heartbeat_delay(&self, number: u64) -> Duration {
        self.draw(Purpose::Heartbeat, number).random_range(HEARTBEAT_EVERY)
    }

    /// Whether the sensor is a faulty one and leaves the poll of this number unanswered.
    #[must_use]
    pub fn is_silent_at(&self, number: u64) -> bool {
        let of = [u64::from(self.spec.index), number, 0];
        self.spec.faulty && happens(SILENCE_PROBABILITY, self.seed, Purpose::Silence, of)
    }

    /// The value that the sensor measures at the poll of this number, to two decimals.
    #[must_use]
    pub fn value(&self, sender: Sender, number: u64) -> f64 {
        let quantity = &self.spec.kind.quantity;
        let values = Normal::new(quantity.mean, quantity.deviation)
            .expect("the table's deviations are finite");
        let purpose = match sender {
            Sender::Sensor => Purpose::Value,
            Sender::Double => Purpose::ValueOfDouble,
        };
        values.sample(&mut self.draw(purpose, number))
    }

    /// Payload of an answer with this value. `seq` is the sensor's own number of the poll, and
    /// `now` what its clock says; both are left out by sensors that answer with a bare value.
    #[must_use]
    pub fn answer(&self, value: f64, seq: u64, now: Timestamp) -> Vec<u8> {
        let value = rounded(value);
        let text = match self.spec.form {
            AnswerForm::Text => format!("\"{value:.2}\""),
            AnswerForm::Number => format!("{value:.2}"),
            AnswerForm::Object => {
                // No unit in the table needs escaping.
                let unit = self.spec.kind.quantity.unit;
                let unit = unit.map(|unit| format!(r#","unit":"{unit}""#)).unwrap_or_default();
                format!(r#"{{"value":{value:.2},"seq":{seq},"time":"{now}"{unit}}}"#)
            }
        };
        text.into_bytes()
    }

    fn draw(&self, purpose: Purpose, number: u64) -> impl rand::Rng {
        draw(self.seed, purpose, [u64::from(self.spec.index), number, 0])
    }
}

/// A value to two decimals. Adding zero turns -0 into 0.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0 + 0.0
}

/// A heartbeat with its fields in the order of the reference device.
#[derive(Serialize)]
struct WireHeartbeat<'a> {
    alias: &'a str,
    id: String,
    poll_interval: u128,
    poll_topic: String,
    read_topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_topic: Option<String>,
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

#[cfg(test)]
mod tests {
    use model::{Answer, Heartbeat, ToldTime};

    use super::*;
    use crate::fleet::{REFERENCE_LEN, fleet};

    /// 2026-11-23T19:01:23Z.
    fn now() -> Timestamp {
        Timestamp::from_unix_micros(1_795_460_483_000_000)
    }

    fn sensor(index: u32, seed: u64) -> Sensor {
        Sensor::new(SensorSpec::at(index), seed, Protocol::Nats)
    }

    #[test]
    fn the_first_heartbeat_is_the_protocols_example() {
        let example = concat!(
            r#"{"alias":"TempSensor01","id":"<id>","poll_interval":10000,"poll_topic":"sim.poll.<id>","#,
            r#""read_topic":"sim.read.<id>","disconnect_topic":"sim.disconnect/<id>","ip_addr":"192.168.1.1","#,
            r#""mac_addr":[40,205,193,3,226,159],"location":"SIMULATION-Conveyor Belt 1"}"#
        );
        let example = example.replace("<id>", "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3");
        let heartbeat = sensor(0, 7).heartbeat(Sender::Sensor);
        assert_eq!(String::from_utf8(heartbeat).unwrap(), example);
    }

    #[test]
    fn every_heartbeat_is_understood_and_declares_what_its_form_allows() {
        for (protocol, spec) in [Protocol::Nats, Protocol::Mqtt]
            .into_iter()
            .flat_map(|it| fleet(500).map(move |spec| (it, spec)))
        {
            let sensor = Sensor::new(spec, 7, protocol);
            let payload = sensor.heartbeat(Sender::Sensor);
            let (heartbeat, left_out) = Heartbeat::from_wire(&payload, protocol).unwrap();
            assert!(left_out.is_empty());
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
    fn a_double_differs_from_its_sensor_in_its_addresses_and_values_alone() {
        for index in [0, 7, 99_999] {
            let sensor = sensor(index, 7);
            let parsed = |sender| Heartbeat::parse(&sensor.heartbeat(sender)).unwrap();
            let (own, double) = (parsed(Sender::Sensor), parsed(Sender::Double));
            assert_ne!(own.mac_addr, double.mac_addr);
            let same = Heartbeat {
                mac_addr: own.mac_addr.clone(),
                ip_addr: own.ip_addr.clone(),
                ..double
            };
            assert_eq!(own, same);
            assert_ne!(sensor.value(Sender::Sensor, 1), sensor.value(Sender::Double, 1));
        }
    }

    #[test]
    fn every_answer_is_understood_and_looks_like_its_form() {
        for spec in fleet(REFERENCE_LEN) {
            let sensor = Sensor::new(spec, 7, Protocol::Nats);
            let payload = sensor.answer(sensor.value(Sender::Sensor, 1), 1, now());
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
            assert_eq!(answer.time, is_object.then(|| ToldTime::Moment(now())));
            assert_eq!(answer.seq, is_object.then_some(1));
        }
    }

    #[test]
    fn values_follow_the_table() {
        let sensor = sensor(13, 7); // SmokeSensor-S2: 5 ppm, give or take 2
        let values: Vec<f64> =
            (1..=10_000).map(|number| sensor.value(Sender::Sensor, number)).collect();
        let mean = values.iter().sum::<f64>() / 10_000.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 10_000.0;
        assert!((mean - 5.0).abs() < 0.1 && (variance - 4.0).abs() < 0.2, "{mean}, {variance}");
        assert!(values.iter().any(|value| !(0.0..=100.0).contains(value)), "none was held back");
    }

    #[test]
    fn an_answer_follows_from_seed_sensor_and_number_alone() {
        let answer = |index, seed, number| {
            let sensor = sensor(index, seed);
            let value = sensor.value(Sender::Sensor, number);
            (sensor.answer(value, number, now()), sensor.heartbeat_delay(number))
        };
        let mut forwards: Vec<_> = (1..50).map(|number| answer(1, 7, number)).collect();
        let backwards: Vec<_> = (1..50).rev().map(|number| answer(1, 7, number)).collect();
        forwards.reverse();
        assert_eq!(forwards, backwards);
        assert_ne!(answer(1, 7, 1), answer(1, 8, 1), "another seed is another run");
        assert_ne!(answer(4, 7, 1), answer(19, 7, 1), "two of a kind differ");
        assert_ne!(answer(4, 7, 1), answer(4, 7, 2), "two polls differ");
    }

    #[test]
    fn a_value_of_a_seed_stays_the_same_from_version_to_version() {
        let texts = [(0, 1), (0, 2), (13, 1), (99_999, 1_000_000)].map(|(index, number)| {
            let sensor = sensor(index, 7);
            let answer = sensor.answer(sensor.value(Sender::Sensor, number), number, now());
            String::from_utf8(answer).unwrap()
        });
        assert_eq!(
            texts,
            [
                r#""21.10""#,
                r#""25.40""#,
                r#"{"value":2.87,"seq":1,"time":"2026-11-23T19:01:23.000000Z","unit":"ppm"}"#,
                r#"{"value":0.40,"seq":1000000,"time":"2026-11-23T19:01:23.000000Z"}"#,
            ]
        );
    }

    #[test]
    fn only_the_faulty_are_silent_and_about_one_poll_in_ten() {
        for (index, expected) in [
            (1, 900..1_100), // FAULTY_HumiditySensor-A1
            (2, 0..1),
            (17, 0..1), // HumiditySensor-A2
        ] {
            let sensor = sensor(index, 7);
            let silences = (1..=10_000).filter(|number| sensor.is_silent_at(*number)).count();
            assert!(expected.contains(&silences), "{silences} of 10,000 by {index}");
        }
    }

    #[test]
    fn heartbeats_come_every_half_minute_to_minute() {
        let sensor = sensor(0, 7);
        let delays: Vec<Duration> =
            (1..=1_000).map(|number| sensor.heartbeat_delay(number)).collect();
        assert!(delays.iter().all(|delay| HEARTBEAT_EVERY.contains(delay)));
        assert!(delays.iter().max() > delays.iter().min(), "they are not all the same");
    }
}
