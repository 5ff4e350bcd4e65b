//! A sealed reading: the part that the index stores and a readings file contains.

use alloc::vec::Vec;

use serde_json::value::RawValue;

use crate::{
    action,
    channel::Channel,
    event::{Event, SUCCESS},
    measured::{self, Measured},
    sensor_id::SensorId,
    timestamp::Timestamp,
    values::Values,
};

/// How one poll of a sensor ended, as a sealed event says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedReading<'a> {
    /// The sensor that was polled.
    pub sensor: SensorId,
    /// When the reading was taken by the event's own time; if it has none, when the ledger received
    /// it.
    pub at: Timestamp,
    /// How the poll ended: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    pub status: &'a str,
    /// Unit of the value.
    pub unit: Option<&'a str>,
    /// The value as the sensor wrote it.
    pub value: &'a str,
}

impl<'a> SealedReading<'a> {
    /// The reading in an event, if it is one. Another program may seal an event with the action
    /// `SENSOR_READING`; without a status or a sensor it is not a reading.
    #[must_use]
    pub fn of(event: &'a Event, received_at: Timestamp) -> Option<Self> {
        let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
        let sensor = event.sensor().filter(|_| is_reading)?;
        let at = event.timestamp.as_deref().and_then(|text| text.parse().ok());
        Some(Self {
            sensor,
            at: at.unwrap_or(received_at),
            status: event.status.as_deref()?,
            unit: event.sealwire.as_ref().and_then(|detail| detail.unit.as_deref()),
            value: event.new.as_deref().unwrap_or_default(),
        })
    }
}

/// The value as a floating-point number; `None` if it is not a number or too large for one.
#[must_use]
pub fn number_of(status: &str, value: &str) -> Option<f64> {
    let number = (status == SUCCESS).then(|| value.parse().ok()).flatten();
    number.filter(|number: &f64| number.is_finite())
}

/// The channels of a sealed reading that have a value, in the order of its answer; `None` if it has
/// a single value or none.
#[must_use]
pub fn measured_of(event: &Event) -> Option<Vec<Measured>> {
    let declared = event.sealwire.as_ref()?.channels.as_deref()?;
    if event.status.as_deref() != Some(SUCCESS) {
        return None;
    }
    let declared: &RawValue = serde_json::from_str(declared).ok()?;
    let values: &RawValue = serde_json::from_str(event.new.as_deref()?).ok()?;
    Some(measured::pair(&Channel::parse_list(declared).ok()?, Values::parse(values).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Heartbeat, Outcome, Salt, Timestamp};

    const CHANNELS: &str = r#"[{"name":"t","kind":"number","quantity":"temperature","unit":"°C","scale":-2,"range":[0,50]},
        {"name":"h","unit":"%"},{"name":"door","kind":"enum","options":["open","closed"]},{"name":"wave","kind":"numbers"}]"#;

    /// What is sealed of this answer of a sensor that declares the channels above.
    #[track_caller]
    fn sealed(answer: &str) -> Event {
        let heartbeat = format!(
            r#"{{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
                "unit":"bar","range":[0,1],"channels":{CHANNELS}}}"#
        );
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        assert_eq!(heartbeat.channels.len(), 4);
        assert_eq!(Heartbeat::from_canonical(&heartbeat.canonical()).unwrap(), heartbeat);
        let at = Timestamp::from_unix_micros(0);
        let event = Event::reading(&heartbeat, 1, Outcome::of(answer.as_bytes()), at);
        let envelope = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
        let bytes = envelope.canonical();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(bytes, serde_json_canonicalizer::to_vec(&value).unwrap());
        Envelope::parse(&bytes).unwrap().event
    }

    #[test]
    fn several_values_are_one_event() {
        let event = sealed(r#"{"values":{"h": 41.0,"t":2350},"seq":7,"boot":"2a","uptime":5}"#);
        assert_eq!(event.message, "T1: h 41.0 %, t 23.50 °C");
        assert_eq!(event.new.as_deref(), Some(r#"{"h": 41.0,"t":2350}"#));
        let measured = measured_of(&event).unwrap();
        let numbers: Vec<_> = measured.iter().filter_map(Measured::number).collect();
        assert_eq!(numbers, ["41.0", "23.50"]);
        let detail = event.sealwire.unwrap();
        assert_eq!(
            detail.channels.as_deref(),
            Some(
                r#"[{"name":"h","unit":"%"},{"kind":"number","name":"t","range":"0..50","scale":-2,"unit":"°C"}]"#
            )
        );
        // The heartbeat's own unit and range are those of a single value.
        assert_eq!(
            (detail.unit, detail.range, detail.range_unit, detail.error),
            (None, None, None, None)
        );
        assert_eq!(
            (detail.seq, detail.boot.as_deref(), detail.uptime),
            (Some(7), Some("2a"), Some(5))
        );
    }

    #[test]
    fn every_type_is_put_into_words() {
        let event = sealed(
            r#"{"values":{"door":"open","ok":true,"wave":[1,2],"big":1e400,"none":null,"t":-5}}"#,
        );
        let words = "T1: door open, ok true, wave (2 numbers), big 1e400, t -0.05 °C";
        assert_eq!(event.message, words);
        assert_eq!(event.sealwire.unwrap().error, None);
    }

    #[test]
    fn a_value_unlike_its_declaration_is_sealed_and_told() {
        for (values, words) in [
            (r#"{"t":"warm"}"#, Some("`t` is not a number")),
            (r#"{"door":"ajar"}"#, Some("`door` is not one of open, closed")),
            (
                r#"{"door":1,"t":true,"h":1}"#,
                Some("`door` is not one of open, closed; `t` is not a number"),
            ),
            (r#"{"wave":1}"#, Some("`wave` is not an array of numbers")),
            (r#"{"h":"dry","other":[]}"#, None), // no kind is declared
        ] {
            let event = sealed(&format!(r#"{{"values":{values}}}"#));
            assert_eq!(event.status.as_deref(), Some(SUCCESS));
            assert_eq!(event.new.as_deref(), Some(values));
            assert_eq!(event.sealwire.unwrap().error.as_deref(), words);
        }
    }

    #[test]
    fn a_text_that_looks_like_values_is_a_text() {
        let event = sealed(r#""{\"t\":1}""#);
        assert_eq!(event.new.as_deref(), Some(r#"{"t":1}"#));
        assert_eq!(measured_of(&event), None);
        let detail = event.sealwire.unwrap();
        assert_eq!((detail.channels, detail.unit.as_deref()), (None, Some("bar")));
    }
}
