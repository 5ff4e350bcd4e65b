//! `testdata/readings.json`: readings with their signed bytes and signatures, for those who write a
//! device or a verifier. An independent program checks them in `sealwire`'s end-to-end tests.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use ed25519_dalek::{Signer as _, SigningKey};
use model::{Event, Heartbeat, Outcome, SensorId, Timestamp};
use serde::Deserialize;
use wire::{Channel, Reading, Time, Value};

use crate::{signed, text};

const FILE: &str = include_str!("../../testdata/readings.json");

#[derive(Deserialize)]
struct Vectors {
    seed: String,
    public_key: String,
    readings: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    about: String,
    heartbeat: String,
    answer: String,
    sealed: Sealed,
    signed: String,
    signature: String,
}

/// The fields of a sealed event that a signature covers.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sealed {
    boot: Option<String>,
    channels: Option<String>,
    new: String,
    nonce: Option<String>,
    sensor: SensorId,
    sensor_time: Option<Timestamp>,
    seq: Option<u64>,
    time_error: Option<u64>,
    unit: Option<String>,
    uptime: Option<u64>,
}

/// A channel as a sealed event has it. What is declared beside unit and scale is not signed.
#[derive(Deserialize)]
struct SealedChannel {
    name: String,
    unit: Option<String>,
    #[serde(default)]
    scale: i8,
}

impl Sealed {
    fn signed(&self) -> Vec<u8> {
        let declared: Option<Vec<SealedChannel>> =
            self.channels.as_deref().map(|channels| serde_json::from_str(channels).unwrap());
        let channels: Vec<Channel<'_>> = declared
            .iter()
            .flatten()
            .map(|SealedChannel { name, unit, scale }| Channel {
                name: text(name),
                unit: unit.as_deref().map(text),
                scale: *scale,
            })
            .collect();
        let value = match &declared {
            None => Value::One { value: text(&self.new), unit: self.unit.as_deref().map(text) },
            Some(_) => Value::Several { values: text(&self.new), channels: &channels },
        };
        let unix_micros = |time: Timestamp| u64::try_from(time.unix_micros()).unwrap();
        signed(&Reading {
            nonce: self.nonce.as_deref().map(text),
            seq: self.seq,
            boot: self.boot.as_deref().map(text),
            uptime_ms: self.uptime,
            time: self
                .sensor_time
                .map(|time| Time { unix_micros: unix_micros(time), error_ms: self.time_error }),
            ..Reading::new(*uuid(self.sensor).as_bytes(), value)
        })
    }
}

fn uuid(sensor: SensorId) -> uuid::Uuid {
    sensor.to_string().parse().unwrap()
}

fn vectors() -> Vectors {
    serde_json::from_str(FILE).unwrap()
}

#[test]
fn the_vectors_are_signed_as_they_say() {
    let vectors = vectors();
    let seed: [u8; 32] = hex::decode(&vectors.seed).unwrap().try_into().unwrap();
    let key = SigningKey::from_bytes(&seed);
    assert_eq!(hex::encode(key.verifying_key().as_bytes()), vectors.public_key);
    assert!(vectors.readings.len() >= 6);
    for Vector { about, sealed, signed, signature, .. } in vectors.readings {
        let bytes = sealed.signed();
        assert_eq!(hex::encode(&bytes), signed, "{about}");
        let own = BASE64.encode(key.sign(&bytes).to_bytes());
        assert_eq!(own, signature, "{about}");
    }
}

#[test]
fn a_site_seals_what_the_vectors_say() {
    for Vector { about, heartbeat, answer, sealed, signature, .. } in vectors().readings {
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        let outcome = Outcome::of(answer.as_bytes());
        let event = Event::reading(&heartbeat, 1, outcome, Timestamp::from_unix_micros(0));
        let detail = event.sealwire.unwrap();
        assert_eq!(detail.signature, Some(signature), "{about}");
        let own = Sealed {
            boot: detail.boot,
            channels: detail.channels,
            new: event.new.unwrap(),
            nonce: detail.nonce,
            sensor: detail.sensor.unwrap(),
            sensor_time: detail.sensor_time,
            seq: detail.seq,
            time_error: detail.time_error,
            unit: detail.unit,
            uptime: detail.uptime,
        };
        assert_eq!(own, sealed, "{about}");
    }
}
