//! A sealed reading: the part that the index stores and a readings file contains.

use alloc::vec::Vec;

use serde_json::value::RawValue;

use crate::{
    action,
    channel::Channel,
    event::{Detail, Event, HISTORICAL, SUCCESS},
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
    /// When the reading was taken, as far as the site can believe it; see [`taken_at`].
    pub at: Timestamp,
    /// How the poll ended: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    pub status: &'a str,
    /// What a reader must know of it: words, separated by spaces.
    pub flags: Option<&'a str>,
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
        let detail = event.sealwire.as_ref();
        Some(Self {
            sensor,
            at: taken_at(event, received_at),
            status: event.status.as_deref()?,
            flags: detail.and_then(|detail| detail.flags.as_deref()),
            unit: detail.and_then(|detail| detail.unit.as_deref()),
            value: event.new.as_deref().unwrap_or_default(),
        })
    }
}

/// When the reading in an event was taken, as plots, files and statistics have it. That is the time
/// at which the site received it, which the event carries as `timestamp`, with two exceptions:
/// - if the site did not believe its machine's clock, the site's own time;
/// - if a device kept the reading and reported it later, the device's time, if it can be right.
///
/// If the event names no time, it is that of its envelope.
#[must_use]
pub fn taken_at(event: &Event, received_at: Timestamp) -> Timestamp {
    let detail = event.sealwire.as_ref();
    let is_late = |detail: &&Detail| {
        detail.flags.as_deref().is_some_and(|flags| flags.split(' ').any(|flag| flag == HISTORICAL))
    };
    // Without a clock of its own that it believes, the site cannot judge a device's.
    let own = detail.and_then(|detail| detail.site_time);
    let of_device = || detail.filter(is_late).and_then(|detail| detail.sensor_time);
    let timestamp = || event.timestamp.as_deref().and_then(|text| text.parse().ok());
    own.or_else(of_device).or_else(timestamp).unwrap_or(received_at)
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
    fn a_reading_is_where_the_site_can_believe_it_was_taken() {
        let [received, timestamp, site, sensor] = [4, 3, 2, 1].map(Timestamp::from_unix_micros);
        let mut event = sealed(r#"{"value":1,"time":"1970-01-01T00:00:00.000001Z"}"#);
        assert_eq!(event.sealwire.as_ref().unwrap().sensor_time, Some(sensor));
        assert!(event.sealwire.as_ref().unwrap().flags.is_some(), "not believed");
        let at = |event: &Event| SealedReading::of(event, received).unwrap().at;
        event.timestamp = None;
        assert_eq!(at(&event), received);
        event.timestamp = Some(timestamp.to_string());
        assert_eq!(at(&event), timestamp, "a sensor's own time does not move its reading");
        event.flag(HISTORICAL);
        assert_eq!(at(&event), sensor, "unless it was taken long before");
        event.sealwire.as_mut().unwrap().site_time = Some(site);
        assert_eq!(at(&event), site);
    }

    #[test]
    fn the_time_of_an_answer_is_sealed_as_it_came_and_flagged() {
        let noon = "2026-11-29T12:00:00Z".parse().unwrap();
        let heartbeat = br#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3",
            "poll_interval":1000,"poll_topic":"p","read_topic":"r"}"#;
        let heartbeat = Heartbeat::parse(heartbeat).unwrap();
        for (time, sensor_time, device_time, flags) in [
            (r#""2026-11-29T11:59:59.5Z""#, Some("2026-11-29T11:59:59.500000Z"), None, None),
            (
                r#""1970-01-01T00:00:12Z""#,
                Some("1970-01-01T00:00:12.000000Z"),
                None,
                Some("too_early"),
            ),
            (
                r#""2036-02-07T06:28:16Z""#,
                Some("2036-02-07T06:28:16.000000Z"),
                None,
                Some("ntp_era"),
            ),
            (
                r#""2038-01-19T03:14:07Z""#,
                Some("2038-01-19T03:14:07.000000Z"),
                None,
                Some("unix_32_bit"),
            ),
            (
                r#""0000-01-01T00:00:00Z""#,
                None,
                Some("0000-01-01T00:00:00Z"),
                Some("year_out_of_range"),
            ),
            (
                r#""-000005-01-01T00:00:00Z""#,
                None,
                Some("-000005-01-01T00:00:00Z"),
                Some("year_out_of_range"),
            ),
            (
                r#""9500-01-01T00:00:00Z""#,
                Some("9500-01-01T00:00:00.000000Z"),
                None,
                Some("in_the_future"),
            ),
            (r#""2016-12-31T23:59:60Z""#, None, Some("2016-12-31T23:59:60Z"), Some("leap_second")),
            ("1795953600000000000", None, Some("1795953600000000000"), Some("not_a_time")),
            ("null", None, None, None),
        ] {
            let answer = format!(r#"{{"value":1,"time":{time}}}"#);
            let event = Event::reading(&heartbeat, 1, Outcome::of(answer.as_bytes()), noon);
            assert_eq!(SealedReading::of(&event, noon).unwrap().at, noon, "{time}");
            let detail = event.sealwire.unwrap();
            assert_eq!(detail.sensor_time.map(String::from).as_deref(), sensor_time, "{time}");
            assert_eq!(
                (detail.device_time.as_deref(), detail.flags.as_deref()),
                (device_time, flags),
                "{time}"
            );
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
