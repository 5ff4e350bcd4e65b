//! The heartbeat that a sensor sends every 30 to 60 s. Existing devices fix the format. Unknown
//! fields are ignored.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    channel::Channel,
    object::{self, LeftOut, Object, kind, name, text, text_up_to, whole_number},
    range::{self, Range},
    sensor_id::SensorId,
    subject::{InvalidSubject, Protocol, Subject},
};

/// A parsed heartbeat. Two heartbeats of a sensor are equal unless something about it changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heartbeat {
    /// Name of the sensor for people.
    pub alias: String,
    /// Milliseconds in which the sensor answers a poll, if it needs another time than others.
    #[serde(rename = "answer_timeout", skip_serializing_if = "Option::is_none")]
    pub answer_timeout_ms: Option<u32>,
    /// What it measures, if its answers have several values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Topic on which any message means that the sensor disconnects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_topic: Option<Subject>,
    /// UUID of the sensor.
    pub id: SensorId,
    /// IP address, as the sensor writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addr: Option<String>,
    /// Where the sensor is installed; empty if it does not say.
    pub location: String,
    /// Hardware address in the usual text form, or as the sensor writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_addr: Option<String>,
    /// Milliseconds between two polls.
    #[serde(rename = "poll_interval")]
    pub poll_interval_ms: u64,
    /// Topic on which the sensor receives polls.
    pub poll_topic: Subject,
    /// Ed25519 public key, as the sensor writes it. It is stored but not used to verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Measured quantity, for example `temperature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Range of normal values that the sensor declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Topic on which the sensor publishes its answers.
    pub read_topic: Subject,
    /// Times that a poll without an answer is repeated, if the sensor says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Unit of its values, for example `°C`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Heartbeat {
    /// Largest heartbeat in bytes. The reference heartbeat has 400.
    pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024;
    /// Longest alias, location, quantity, unit or address in characters. Location and alias
    /// together make an event source, which stays under 128.
    pub const NAME_CHARS_MAX: usize = object::NAME_CHARS_MAX;
    /// Longest public key in characters. It holds 32 bytes in any encoding.
    pub const KEY_CHARS_MAX: usize = 128;
    /// Shortest time for an answer that a sensor may declare.
    pub const ANSWER_TIMEOUT_MS_MIN: u32 = 10;
    /// Longest time for an answer that a sensor may declare: a mesh needs seconds.
    pub const ANSWER_TIMEOUT_MS_MAX: u32 = 60_000;
    /// Most times that a poll is repeated.
    pub const RETRIES_MAX: u8 = 5;
    /// Shortest poll interval: a tenth of a second, well above the round trip of a poll.
    pub const POLL_INTERVAL_MS_MIN: u64 = 100;
    /// Longest poll interval: one day.
    pub const POLL_INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

    /// Parses the heartbeat of a NATS device. Drops the list of optional fields that were left out.
    ///
    /// # Errors
    /// The payload is too large or not a JSON object, or a required field is missing or invalid.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidHeartbeat> {
        Self::from_wire(payload, Protocol::Nats).map(|(heartbeat, _left_out)| heartbeat)
    }

    /// Parses a heartbeat from the wire. An invalid optional field is left out and returned in the
    /// list; the rest is kept.
    ///
    /// # Errors
    /// The payload is too large or not a JSON object, or a required field is missing or invalid.
    pub fn from_wire(
        payload: &[u8],
        protocol: Protocol,
    ) -> Result<(Self, Vec<LeftOut>), InvalidHeartbeat> {
        if payload.len() > Self::PAYLOAD_BYTES_MAX {
            return Err(InvalidHeartbeat::TooLarge { bytes: payload.len() });
        }
        let (heartbeat, left_out) =
            Self::read(payload, |topic| Subject::of_topic(topic, protocol))?;
        if heartbeat.id.is_of_double() {
            let id = heartbeat.id;
            let reason = format!(
                "{id} is of a device that a site keeps apart from another one with the same id; use another UUID"
            );
            return Err(InvalidHeartbeat::Field { field: "id", reason });
        }
        Ok((heartbeat, left_out))
    }

    fn read(
        payload: &[u8],
        subject: impl Fn(&str) -> Result<Subject, InvalidSubject>,
    ) -> Result<(Self, Vec<LeftOut>), InvalidHeartbeat> {
        let topic = |json: &RawValue| subject(&text(json)?).map_err(|error| error.to_string());
        let mut object: Object<'_> =
            serde_json::from_slice(payload).map_err(InvalidHeartbeat::Syntax)?;
        let heartbeat = Self {
            alias: required(&object, "alias", alias)?,
            id: required(&object, "id", id)?,
            poll_interval_ms: required(&object, "poll_interval", poll_interval)?,
            poll_topic: required(&object, "poll_topic", topic)?,
            read_topic: required(&object, "read_topic", topic)?,
            answer_timeout_ms: object.optional("answer_timeout", answer_timeout),
            channels: object.optional("channels", Channel::parse_list).unwrap_or_default(),
            disconnect_topic: object.optional("disconnect_topic", topic),
            ip_addr: object.optional("ip_addr", name),
            location: object.optional("location", name).unwrap_or_default(),
            mac_addr: object.optional("mac_addr", mac_addr),
            public_key: object.optional("public_key", |json| text_up_to(Self::KEY_CHARS_MAX, json)),
            quantity: object.optional("quantity", name),
            range: object.optional("range", range::read),
            retries: object.optional("retries", retries),
            unit: object.optional("unit", name),
        };
        Ok((heartbeat, object.into_left_out()))
    }

    /// Parses a heartbeat that [`canonical`](Self::canonical) wrote into an event. It may be larger
    /// than what the sensor sent, because ranges are written with all their digits.
    ///
    /// # Errors
    /// The text is not a JSON object, or a required field is missing or invalid.
    pub fn from_canonical(text: &str) -> Result<Self, InvalidHeartbeat> {
        Self::read(text.as_bytes(), Subject::parse).map(|(heartbeat, _left_out)| heartbeat)
    }

    /// Canonical JSON (RFC 8785), except that the numbers of a range are text.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a heartbeat has only text keys")
    }

    /// The event source of this sensor's readings: `<location>.<alias>`.
    #[must_use]
    pub fn source(&self) -> String {
        if self.location.is_empty() {
            self.alias.clone()
        } else {
            format!("{}.{}", self.location, self.alias)
        }
    }

    /// Time in which the sensor answers a poll, if it says so.
    #[must_use]
    pub fn answer_timeout(&self) -> Option<Duration> {
        self.answer_timeout_ms.map(|millis| Duration::from_millis(millis.into()))
    }

    /// Time between two polls.
    #[must_use]
    pub const fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }
}

/// Why a heartbeat is invalid. The site does not poll the sensor until it sends a valid one.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHeartbeat {
    /// It is larger than any heartbeat needs to be.
    #[error(
        "the heartbeat has {bytes} bytes, but at most {} are read",
        Heartbeat::PAYLOAD_BYTES_MAX
    )]
    TooLarge {
        /// Size of the heartbeat.
        bytes: usize,
    },
    /// It is not a JSON object.
    #[error("the heartbeat is not understood: {0}")]
    Syntax(serde_json::Error),
    /// A required field is missing or appears twice.
    #[error("the heartbeat is not understood: {0}")]
    Missing(String),
    /// A required field has an invalid value.
    #[error("the heartbeat's `{field}` is refused: {reason}")]
    Field {
        /// Name of the field on the wire.
        field: &'static str,
        /// What is wrong, and what is allowed.
        reason: String,
    },
}

/// Reads a required field with `read`.
fn required<T>(
    object: &Object<'_>,
    field: &'static str,
    read: impl FnOnce(&RawValue) -> Result<T, String>,
) -> Result<T, InvalidHeartbeat> {
    let json = object.required(field).map_err(InvalidHeartbeat::Missing)?;
    read(json).map_err(|reason| InvalidHeartbeat::Field { field, reason })
}

fn alias(json: &RawValue) -> Result<String, String> {
    let alias = name(json)?;
    if alias.is_empty() {
        return Err(String::from("it is empty; use 1 to 60 characters"));
    }
    Ok(alias)
}

fn id(json: &RawValue) -> Result<SensorId, String> {
    let id: SensorId = text(json)?
        .parse()
        .map_err(|error: crate::sensor_id::InvalidSensorId| error.to_string())?;
    if id.is_of_series() {
        return Err(format!(
            "{id} is of a series that a device reports by itself; use another UUID"
        ));
    }
    Ok(id)
}

fn poll_interval(json: &RawValue) -> Result<u64, String> {
    let (min, max) = (Heartbeat::POLL_INTERVAL_MS_MIN, Heartbeat::POLL_INTERVAL_MS_MAX);
    match whole_number(u64::MAX, json) {
        Ok(millis) if (min..=max).contains(&millis) => Ok(millis),
        Ok(millis) => Err(format!("it is {millis} ms; use {min} to {max}")),
        Err(_) => Err(format!("it is not a whole number; use {min} to {max} milliseconds")),
    }
}

fn answer_timeout(json: &RawValue) -> Result<u32, String> {
    let (min, max) = (Heartbeat::ANSWER_TIMEOUT_MS_MIN, Heartbeat::ANSWER_TIMEOUT_MS_MAX);
    let millis = whole_number(max.into(), json).ok().and_then(|millis| u32::try_from(millis).ok());
    let refused = || format!("it is not a whole number of {min} to {max} milliseconds");
    millis.filter(|millis| (min..=max).contains(millis)).ok_or_else(refused)
}

fn retries(json: &RawValue) -> Result<u8, String> {
    let max = Heartbeat::RETRIES_MAX;
    let times = whole_number(max.into(), json).ok().and_then(|times| u8::try_from(times).ok());
    times.ok_or_else(|| format!("it is not a whole number from 0 to {max}"))
}

/// Six numbers, or text, which is kept as it is.
fn mac_addr(json: &RawValue) -> Result<String, String> {
    if kind(json) == "text" {
        return name(json);
    }
    let refused = || String::from("it is neither text nor six numbers from 0 to 255");
    let numbers: Vec<&RawValue> = serde_json::from_str(json.get()).map_err(|_| refused())?;
    if numbers.len() != 6 {
        return Err(refused());
    }
    let byte = |json: &&RawValue| whole_number(255, json).map(|byte| format!("{byte:02x}"));
    let parts: Result<Vec<String>, String> = numbers.iter().map(byte).collect();
    parts.map(|parts| parts.join(":")).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = r#"{"alias":"TempSensor01","id":"A3B3C3D3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":10000,
        "poll_topic":"sim.poll.7","read_topic":"sim.read.7","disconnect_topic":"sim.disconnect/7","ip_addr":"192.168.1.1",
        "mac_addr":[40,205,193,3,226,159],"location":"SIMULATION-Conveyor Belt 1"}"#;

    #[track_caller]
    fn refusal(change: &str, to: &str) -> String {
        let text = REFERENCE.replacen(change, to, 1);
        assert_ne!(text, REFERENCE);
        Heartbeat::parse(text.as_bytes()).expect_err("should be refused").to_string()
    }

    #[test]
    fn the_reference_heartbeat_is_understood() {
        let heartbeat = Heartbeat::parse(REFERENCE.as_bytes()).unwrap();
        assert_eq!(heartbeat.source(), "SIMULATION-Conveyor Belt 1.TempSensor01");
        assert_eq!(heartbeat.mac_addr.as_deref(), Some("28:cd:c1:03:e2:9f"));
        assert_eq!(heartbeat.disconnect_topic.unwrap().as_str(), "sim.disconnect.7");
        assert_eq!(heartbeat.id.to_string(), "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3");
    }

    #[test]
    fn what_is_sealed_is_canonical_and_read_back() {
        let text =
            REFERENCE.replace("\"location\"", "\"range\":[-0.5,50],\"unit\":\"°C\",\"location\"");
        let text = text.replacen('{', "{\"retries\":2,\"answer_timeout\":3000,", 1);
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        assert_eq!(heartbeat.answer_timeout(), Some(Duration::from_secs(3)));
        assert_eq!(heartbeat.retries, Some(2));
        let canonical = heartbeat.canonical();
        let value: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        assert_eq!(canonical, serde_json_canonicalizer::to_string(&value).unwrap());
        assert_eq!(Heartbeat::from_canonical(&canonical).unwrap(), heartbeat);
    }

    #[test]
    fn a_topic_with_dots_or_edges_is_sealed_as_its_subject_and_read_back() {
        let text = REFERENCE
            .replace("sim.poll.7", "tp/192.168.1.5/poll")
            .replace("sim.read.7", "/7/read/")
            .replace("sim.disconnect/7", "tp//7");
        let (heartbeat, _) = Heartbeat::from_wire(text.as_bytes(), Protocol::Mqtt).unwrap();
        assert_eq!(heartbeat.poll_topic.as_str(), "tp.192//168//1//5.poll");
        assert_eq!(heartbeat.read_topic.as_str(), "/.7.read./");
        assert_eq!(Heartbeat::from_canonical(&heartbeat.canonical()).unwrap(), heartbeat);
    }

    #[test]
    fn the_longest_ranges_are_sealed_and_read_back() {
        let channels: Vec<String> = (0..Channel::COUNT_MAX)
            .map(|number| format!(r#"{{"name":"{number}","range":[-1e308,1e308]}}"#))
            .collect();
        let text = REFERENCE.replacen('{', &format!("{{\"channels\":[{}],", channels.join(",")), 1);
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        let canonical = heartbeat.canonical();
        assert!(canonical.len() > Heartbeat::PAYLOAD_BYTES_MAX, "{} bytes", canonical.len());
        assert_eq!(Heartbeat::from_canonical(&canonical).unwrap(), heartbeat);
    }

    #[test]
    fn refusals_name_the_field_and_what_is_allowed() {
        assert_eq!(
            refusal("10000", "50"),
            "the heartbeat's `poll_interval` is refused: it is 50 ms; use 100 to 86400000"
        );
        assert!(refusal("sim.poll.7", "runtime.host.1.workload.stop").contains("`poll_topic`"));
        assert!(refusal("sim.read.7", "sim.read.*").contains("wildcard"));
        let id = SensorId::of_series([7; 16]).to_string();
        assert!(refusal("A3B3C3D3-e3f3-a3b3-c3d3-e3f3a3b3c3d3", &id).contains("reports by itself"));
        assert!(refusal("TempSensor01", "").contains("`alias`"));
        assert!(refusal("A3B3", "ZZZZ").contains("`id` is refused: a sensor id is a UUID"));
        assert!(refusal("10000", "\"10000\"").contains("not a whole number; use 100 to 86400000"));
        assert!(refusal("\"alias\"", "\"name\"").contains("missing field `alias`"));
        assert!(refusal("\"alias\"", "\"id\":1,\"alias\"").contains("duplicate field `id`"));
    }

    #[test]
    fn an_optional_field_that_cannot_be_taken_costs_itself_alone() {
        let plain = REFERENCE.replace(",\"location\":\"SIMULATION-Conveyor Belt 1\"", "");
        for (field, json, words) in [
            ("range", "[50,0]", "two finite numbers with the lower one first"), // reversed
            ("range", "[0,null]", "two finite numbers"),                        // half open
            ("range", "[0]", "two finite numbers"),
            ("range", "[0,1e400]", "two finite numbers"),
            ("range", "{\"low\":0}", "two finite numbers"),
            ("range", "{\"low\":0,\"high\":50,\"hysteresis\":25}", "less than half"),
            ("unit", "7", "it is a number; use text"),
            ("quantity", "true", "it is a boolean"),
            ("quantity", "\"a\\u0000b\"", "a control character"),
            ("mac_addr", "[0,18,75,0,20,217,73,172]", "six numbers"), // an EUI-64
            ("mac_addr", "[256,0,0,0,0,0]", "0 to 255"),
            ("ip_addr", "[192,168,1,1]", "it is an array"),
            ("location", "null,\"location\":\"Hall\"", "it appears twice"),
            ("public_key", "5", "it is a number"),
            ("answer_timeout", "9", "10 to 60000 milliseconds"),
            ("answer_timeout", "60001", "10 to 60000 milliseconds"),
            ("answer_timeout", "\"500\"", "10 to 60000 milliseconds"),
            ("retries", "6", "a whole number from 0 to 5"),
            ("channels", "{}", "it is an object; use an array of channels"),
            ("channels", "[{\"name\":\"a\",\"scale\":99}]", "channel 1: `scale`"),
            ("disconnect_topic", "\"a.*\"", "it has a wildcard"),
            ("disconnect_topic", "\"runtime.host\"", "reserved"),
        ] {
            let mut text = plain.clone();
            for known in [
                "\"mac_addr\":[40,205,193,3,226,159]",
                "\"ip_addr\":\"192.168.1.1\"",
                "\"disconnect_topic\":\"sim.disconnect/7\"",
            ] {
                if known.contains(field) {
                    text = text.replace(known, "\"other\":1");
                }
            }
            let text = text.replacen('{', &format!("{{\"{field}\":{json},"), 1);
            let (heartbeat, left_out) =
                Heartbeat::from_wire(text.as_bytes(), Protocol::Nats).expect(&text);
            assert_eq!(heartbeat.alias, "TempSensor01");
            let told: Vec<String> = left_out.iter().map(LeftOut::to_string).collect();
            assert!(told.len() == 1 && told.concat().contains(words), "{text}: {told:?}");
            assert!(told.concat().starts_with(&format!("`{field}` is left out")), "{told:?}");
        }
    }

    #[test]
    fn what_says_the_same_is_read_the_same() {
        let plain = Heartbeat::parse(REFERENCE.as_bytes()).unwrap();
        for (part, same) in [
            ("10000", "1e4"),
            ("10000", "10000.0"),
            ("\"alias\"", "\"\\u0061lias\""),
            ("TempSensor01", "Temp\\u0053ensor01"),
            ("40,205", "4e1,205.0"),
            ("\"alias\"", "\"unit\":null,\"alias\""),
            ("sim.poll.7", "sim/poll/7"),
        ] {
            let text = REFERENCE.replacen(part, same, 1);
            assert_ne!(text, REFERENCE);
            assert_eq!(Heartbeat::parse(text.as_bytes()).unwrap(), plain, "{text}");
        }
    }

    #[test]
    fn the_outermost_type_is_looked_at_first() {
        // Each payload holds the fields of a heartbeat in their order, but is not an object.
        let fields = r#"["T1",null,"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3",null,null,null,1000,"p",null,null,null,"r",null]"#;
        let text = serde_json::to_string(REFERENCE).unwrap();
        for payload in [fields, &text, "7", "null"] {
            let refusal = Heartbeat::parse(payload.as_bytes()).unwrap_err().to_string();
            assert!(refusal.contains("expected an object"), "{payload}: {refusal}");
        }
    }

    #[test]
    fn unknown_fields_and_the_usual_mac_text_are_taken() {
        let text = REFERENCE
            .replace("[40,205,193,3,226,159]", "\"28-CD-C1-03-E2-9F\"")
            .replace("\"alias\"", "\"firmware\":{\"v\":[1,2]},\"alias\"");
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        assert_eq!(heartbeat.mac_addr.as_deref(), Some("28-CD-C1-03-E2-9F"));
    }
}
