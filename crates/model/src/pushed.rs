//! Series of readings that devices report by themselves.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use crate::{sensor_id::SensorId, timestamp::Timestamp};

/// A series as the site describes it when it first sees it. It is sealed where a polled sensor has
/// its heartbeat. Its JSON is canonical: the fields are in the order of their names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushedSeries {
    /// Name that an order gives to the sensor. It is not sealed in the description.
    #[serde(skip)]
    pub alias: Option<String>,
    /// Id of the series.
    pub id: SensorId,
    /// Time between two reports in milliseconds, if a rule declares it. Then each such interval has
    /// a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Where an order says that the sensor is; empty if none does. It is not sealed either.
    #[serde(skip)]
    pub location: String,
    /// Name of the sensor.
    pub name: String,
    /// Measured quantity.
    pub quantity: String,
    /// Name of the rule that made the series. It also tells this description from a heartbeat.
    pub rule: String,
    /// Unit of the first value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl PushedSeries {
    /// Parses a description as it was sealed; `None` if the text is something else, such as a
    /// heartbeat.
    #[must_use]
    pub fn from_canonical(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Canonical JSON (RFC 8785).
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a description has only text keys")
    }

    /// Name of the series for people: `<name>.<quantity>`, because a device has a series of each
    /// quantity.
    #[must_use]
    pub fn alias(&self) -> String {
        format!("{}.{}", self.alias.as_ref().unwrap_or(&self.name), self.quantity)
    }

    /// The event source of its readings: the name for people, after its location if it has one.
    #[must_use]
    pub fn source(&self) -> String {
        let alias = self.alias();
        if self.location.is_empty() { alias } else { format!("{}.{alias}", self.location) }
    }
}

/// A value that a device reported, and what is known of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PushedValue {
    /// The value as the device wrote it.
    pub value: String,
    /// Unit of the value.
    pub unit: Option<String>,
    /// Time that the device named, if it can be right.
    pub sensor_time: Option<Timestamp>,
    /// Text of the time that the device named, if it cannot be right.
    pub device_time: Option<String>,
    /// Number in the device's own count, which goes round at a small number. It is not a
    /// [`seq`](crate::Answer::seq), which does not.
    pub message: Option<u8>,
    /// Words for what a reader must know, separated by spaces.
    pub flags: Option<String>,
    /// MQTT topic of the message.
    pub topic: String,
    /// Number of the interval, if the series has an interval and this value ended one.
    pub interval: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_back_and_is_no_heartbeat() {
        let series = PushedSeries {
            alias: None,
            location: String::new(),
            id: SensorId::from_bytes([7; 16]),
            interval_ms: Some(300_000),
            name: "tasmota/kitchen/DS18B20".into(),
            quantity: "temperature".into(),
            rule: "tasmota".into(),
            unit: None,
        };
        let text = series.canonical();
        assert_eq!(
            text,
            r#"{"id":"07070707-0707-0707-0707-070707070707","interval_ms":300000,"name":"tasmota/kitchen/DS18B20","quantity":"temperature","rule":"tasmota"}"#
        );
        assert_eq!(PushedSeries::from_canonical(&text), Some(series));
        let ordered = PushedSeries {
            alias: Some("Oven".into()),
            location: "Hall".into(),
            ..PushedSeries::from_canonical(&text).unwrap()
        };
        assert_eq!(
            (ordered.canonical(), ordered.source()),
            (text.clone(), "Hall.Oven.temperature".into())
        );
        assert!(crate::Heartbeat::from_canonical(&text).is_err());
        assert_eq!(PushedSeries::from_canonical(r#"{"alias":"T1"}"#), None);
    }
}
