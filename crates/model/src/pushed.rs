//! Series of readings that devices report by themselves.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use crate::{sensor_id::SensorId, timestamp::Timestamp};

/// A series as the site describes it when it first sees it. It is sealed where a polled sensor has
/// its heartbeat. Its JSON is canonical: the fields are in the order of their names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushedSeries {
    /// Id of the series.
    pub id: SensorId,
    /// Time between two reports in milliseconds, if a rule declares it. Then each such interval has
    /// a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
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

    /// The event source of its readings: `<name>.<quantity>`.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}.{}", self.name, self.quantity)
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
        assert!(crate::Heartbeat::from_canonical(&text).is_err());
        assert_eq!(PushedSeries::from_canonical(r#"{"alias":"T1"}"#), None);
    }
}
