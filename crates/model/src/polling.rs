//! What an order about the polls of a sensor may hold, and how an ordered poll ended.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, time::Duration};

use serde::{Deserialize, Serialize, de::Error as _};

use crate::{
    event::Event,
    heartbeat::Heartbeat,
    sensor_id::SensorId,
    subject::{Protocol, Subject},
};

/// A sensor that an operator makes known. The fields are those of a heartbeat.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddedSensor {
    /// Name of the sensor for people.
    pub alias: String,
    /// UUID of the sensor.
    pub id: SensorId,
    /// Where the sensor is installed; empty if nobody says.
    #[serde(default)]
    pub location: String,
    /// Time between two polls, which stays in force when heartbeats ask for another.
    pub poll_interval: OrderedInterval,
    /// Topic on which the sensor receives polls.
    pub poll_topic: String,
    /// Topic on which the sensor publishes its answers.
    pub read_topic: String,
    /// Topic on which any message means that the sensor disconnects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_topic: Option<String>,
}

impl AddedSensor {
    /// The heartbeat that such a sensor would send. A topic with a `/` is one of MQTT.
    ///
    /// # Errors
    /// A field is not one that a heartbeat may have; the text says which.
    pub fn heartbeat(&self) -> Result<Heartbeat, String> {
        let Self { alias, id, location, poll_interval, poll_topic, read_topic, disconnect_topic } =
            self;
        for (field, text) in [("alias", alias), ("location", location)] {
            let chars = text.chars().count();
            let is_blank = field == "alias" && text.trim().is_empty();
            if is_blank || chars > Heartbeat::NAME_CHARS_MAX || text.contains(char::is_control) {
                return Err(format!(
                    "`{field}` has {chars} characters: use one line of at most {}",
                    Heartbeat::NAME_CHARS_MAX
                ));
            }
        }
        if id.is_of_series() {
            return Err(format!("{id} is of a series that a device reports by itself"));
        }
        let topic = |field: &str, text: &str| {
            let form = if text.contains('/') { Protocol::Mqtt } else { Protocol::Nats };
            Subject::of_topic(text, form).map_err(|error| format!("`{field}`: {error}"))
        };
        let farewell = disconnect_topic.as_deref().map(|text| topic("disconnect_topic", text));
        Ok(Heartbeat {
            alias: alias.clone(),
            answer_timeout_ms: None,
            channels: Vec::new(),
            disconnect_topic: farewell.transpose()?,
            id: *id,
            ip_addr: None,
            location: location.clone(),
            mac_addr: None,
            poll_interval_ms: poll_interval.as_millis(),
            poll_topic: topic("poll_topic", poll_topic)?,
            public_key: None,
            quantity: None,
            range: None,
            read_topic: topic("read_topic", read_topic)?,
            retries: None,
            unit: None,
        })
    }
}

/// A poll interval that someone orders, in whole milliseconds within the limits of a heartbeat's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OrderedInterval(u64);

impl OrderedInterval {
    /// An interval of so many milliseconds.
    ///
    /// # Errors
    /// It is shorter or longer than the interval of a sensor may be.
    pub const fn of_millis(millis: u64) -> Result<Self, InvalidInterval> {
        if millis < Heartbeat::POLL_INTERVAL_MS_MIN || millis > Heartbeat::POLL_INTERVAL_MS_MAX {
            return Err(InvalidInterval { millis });
        }
        Ok(Self(millis))
    }

    /// The interval in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The interval as a span of time.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Milliseconds, for messages.
impl fmt::Display for OrderedInterval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ms", self.0)
    }
}

impl<'de> Deserialize<'de> for OrderedInterval {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_millis(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The interval is not one at which a site polls.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a poll interval of {millis} ms is not allowed: use {} to {} ms",
    Heartbeat::POLL_INTERVAL_MS_MIN,
    Heartbeat::POLL_INTERVAL_MS_MAX
)]
pub struct InvalidInterval {
    millis: u64,
}

/// A time for answers that someone orders, in whole milliseconds within the limits of a
/// heartbeat's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OrderedTimeout(u32);

impl OrderedTimeout {
    /// A time of so many milliseconds.
    ///
    /// # Errors
    /// It is shorter or longer than the time of a sensor may be.
    pub fn of_millis(millis: u64) -> Result<Self, InvalidTimeout> {
        let limits = Heartbeat::ANSWER_TIMEOUT_MS_MIN..=Heartbeat::ANSWER_TIMEOUT_MS_MAX;
        let allowed = u32::try_from(millis).ok().filter(|millis| limits.contains(millis));
        allowed.map(Self).ok_or(InvalidTimeout { millis })
    }

    /// The time in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// The time as a span of time.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// Milliseconds, for messages.
impl fmt::Display for OrderedTimeout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ms", self.0)
    }
}

impl<'de> Deserialize<'de> for OrderedTimeout {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_millis(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The time is not one that a site gives a sensor for its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a time of {millis} ms for an answer is not allowed: use {} to {} ms",
    Heartbeat::ANSWER_TIMEOUT_MS_MIN,
    Heartbeat::ANSWER_TIMEOUT_MS_MAX
)]
pub struct InvalidTimeout {
    millis: u64,
}

/// How a poll that someone ordered ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OrderedReading {
    /// The leaf of the reading, which is sealed.
    pub leaf: u64,
    /// The poll's number.
    pub poll: u64,
    /// How it ended, as the reading says: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    pub status: String,
    /// The value, as the device wrote it; `N/A` without one.
    pub value: String,
    /// The value as a number, corrected by the calibration that is sealed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<f64>,
    /// Unit of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Why the answer was invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl OrderedReading {
    /// The reading of an event that `leaf` seals; `None` if it is not a reading with a number.
    #[must_use]
    pub fn of(event: &Event, leaf: u64) -> Option<Self> {
        let detail = event.sealwire.as_ref()?;
        let value = event.new.clone()?;
        Some(Self {
            leaf,
            poll: detail.poll?,
            status: event.status.clone()?,
            calibrated: detail.calibration_of_value().and_then(|it| it.apply(&value)),
            value,
            unit: detail.unit.clone(),
            error: detail.error.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_sensor_is_held_to_the_rules_of_heartbeats() {
        let json = r#"{"alias":"Pump 3","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3",
            "poll_interval":2000,"poll_topic":"hall/pump/poll","read_topic":"hall.pump.read"}"#;
        let sensor: AddedSensor = serde_json::from_str(json).unwrap();
        let heartbeat = sensor.heartbeat().unwrap();
        assert_eq!(heartbeat.poll_topic.as_str(), "hall.pump.poll");
        assert_eq!(Heartbeat::from_canonical(&heartbeat.canonical()).unwrap(), heartbeat);
        let long = "x".repeat(Heartbeat::NAME_CHARS_MAX + 1);
        for wrong in [
            AddedSensor { alias: String::from(" "), ..sensor.clone() },
            AddedSensor { location: long, ..sensor.clone() },
            AddedSensor { read_topic: String::from("a.*"), ..sensor.clone() },
            AddedSensor { disconnect_topic: Some(String::new()), ..sensor },
        ] {
            assert!(wrong.heartbeat().is_err(), "{wrong:?}");
        }
        let short = json.replace("2000", "99");
        let refusal = serde_json::from_str::<AddedSensor>(&short).unwrap_err().to_string();
        assert!(
            refusal.contains("a poll interval of 99 ms is not allowed: use 100 to"),
            "{refusal}"
        );
    }
}
