//! Messages between the pipeline and `sensor-reader`: JSON over NATS, hundreds of sealed events in
//! one question.
//!
//! The component keeps no state between calls. The question brings what the component must remember
//! of each sensor, its [`Standing`]. Only the events that the component derives change it, so the
//! log itself is the memory.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

pub use crate::derived::Derived;
use crate::{
    action,
    calibration::Calibration,
    decimal::Decimal,
    envelope::Envelope,
    event::{self, Detail, Event},
    heartbeat::Heartbeat,
    measured::Measured,
    range::Range,
    reading,
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// Subject on which `sensor-reader` receives questions.
pub const SUBJECT: &str = "sealwire.derive.sensors";
/// Configuration key under which the component receives its own digest.
pub const DIGEST_KEY: &str = "digest";

/// A run of sealed sensor events in the log's order, with the sensors' standings before the first
/// of them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Question {
    /// Standings of the sensors that differ from [`Standing::default`].
    pub standings: BTreeMap<SensorId, Standing>,
    /// The sealed events.
    pub sightings: Vec<Sighting>,
}

/// State of a sensor by the derived events in the log.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// The sensor is lost: its heartbeats stopped, or it disconnected.
    pub lost: bool,
    /// How its single value stands to its range.
    #[serde(default, flatten)]
    pub value: RangeStanding,
    /// How the values of its channels stand to their ranges, where something is to be said of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, RangeStanding>,
}

/// How the last value that was judged stands to its range.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RangeStanding {
    /// It was outside.
    #[serde(default)]
    pub out_of_range: bool,
    /// It could not be compared.
    #[serde(default)]
    pub not_judged: bool,
    /// Values are outside since the site received one then, but not yet for the range's delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_since: Option<Timestamp>,
}

/// One sealed event of a sensor, reduced to the fields that are judged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sighting {
    /// Index of the event's leaf in the log.
    pub leaf: u64,
    /// The sensor of the event.
    pub sensor: SensorId,
    /// The sensor's event source, `<location>.<alias>`, for messages.
    pub source: String,
    /// What the event says of the sensor.
    pub seen: Seen,
    /// When the site received it, if a range in it has a delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
}

/// What an event says of a sensor.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A value, with the range declared for it.
    Value {
        /// The value as sealed, corrected by the calibration that is sealed with it.
        value: String,
        /// The range as declared, if one is.
        range: Option<Range>,
        /// The unit of the range and the unit of the value, if they differ.
        #[serde(default)]
        units: Option<(String, String)>,
    },
    /// Values of several channels: those that are declared with a range.
    Values(Vec<InChannel>),
    /// Another description of the sensor: the channels that it declares with a range.
    Described(Vec<String>),
    /// A poll without a valid answer.
    NoValue,
    /// The sensor's heartbeats stopped.
    HeartbeatMissed,
    /// The sensor's heartbeats resumed.
    HeartbeatResumed,
    /// The sensor announced that it disconnects.
    Disconnected,
}

/// A channel's value, with the range declared for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct InChannel {
    /// Name of the channel.
    pub channel: String,
    /// The number after the channel's scale, corrected by the calibration that is sealed with it;
    /// empty if the value is not a number that is judged.
    pub value: String,
    /// The range as declared.
    pub range: Range,
}

impl Seen {
    /// Whether a range in it has a delay.
    fn has_delay(&self) -> bool {
        let delays = |range: &Range| !range.delay().is_zero();
        match self {
            Self::Value { range, .. } => range.as_ref().is_some_and(delays),
            Self::Values(values) => values.iter().any(|value| delays(&value.range)),
            Self::Described(_)
            | Self::NoValue
            | Self::HeartbeatMissed
            | Self::HeartbeatResumed
            | Self::Disconnected => false,
        }
    }

    fn of_reading(event: &Event, detail: &Detail) -> Option<Self> {
        if let Some(measured) = reading::measured_of(event) {
            let calibrations = detail.calibrations_of_channels();
            let of = |measured: &Measured| {
                InChannel::of(measured, calibrations.get(&measured.channel.name))
            };
            return Some(Self::Values(measured.iter().filter_map(of).collect()));
        }
        let value = event.new.as_deref()?;
        let corrected = detail.calibration_of_value().and_then(|it| corrected(&it, value));
        let value = corrected.as_deref().unwrap_or(value);
        let judged = value.len() <= Sighting::VALUE_BYTES_MAX;
        let units = detail.range_unit.clone().zip(detail.unit.clone());
        Some(Self::Value {
            value: String::from(if judged { value } else { "" }),
            range: detail.range.as_deref().and_then(|range| range.parse().ok()),
            units: units.map(|(range, own)| (shortened(&range), shortened(&own))),
        })
    }
}

impl Sighting {
    /// Longest value that is judged, in bytes. A longer one is not a number.
    pub const VALUE_BYTES_MAX: usize = Decimal::TEXT_BYTES_MAX;

    /// The part of a sealed event that is judged; `None` if there is none.
    #[must_use]
    pub fn of(leaf: u64, envelope: &Envelope) -> Option<Self> {
        let event = &envelope.event;
        let detail = event.sealwire.as_ref()?;
        if event.is_in_maintenance() {
            return None;
        }
        let seen = match event.action.as_deref()? {
            action::SENSOR_READING if event.status.as_deref() == Some(event::SUCCESS) => {
                Seen::of_reading(event, detail)?
            }
            action::SENSOR_READING => Seen::NoValue,
            action::HEARTBEAT_MISSED => Seen::HeartbeatMissed,
            action::HEARTBEAT_RESUMED | action::SENSOR_DISCOVERED => Seen::HeartbeatResumed,
            action::SENSOR_DISCONNECTED => Seen::Disconnected,
            action::SENSOR_CHANGED => {
                let heartbeat = Heartbeat::from_canonical(detail.heartbeat.as_deref()?).ok()?;
                let with_range = heartbeat.channels.into_iter().filter(|it| it.range.is_some());
                Seen::Described(with_range.map(|channel| channel.name).collect())
            }
            _ => return None,
        };
        let received_at = seen.has_delay().then_some(envelope.received_at);
        let (sensor, source) = (detail.sensor?, event.source.clone()?);
        Some(Self { leaf, sensor, source, seen, received_at })
    }
}

/// The corrected value as text; with an exponent if it is large or small.
fn corrected(calibration: &Calibration, value: &str) -> Option<String> {
    calibration.apply(value).map(|number| format!("{number:?}"))
}

impl InChannel {
    fn of(measured: &Measured, calibration: Option<&Calibration>) -> Option<Self> {
        let written = measured.number();
        let corrected = written.as_deref().zip(calibration).and_then(|(it, by)| corrected(by, it));
        let number = corrected.or(written).filter(|value| value.len() <= Sighting::VALUE_BYTES_MAX);
        Some(Self {
            channel: measured.channel.name.clone(),
            value: number.unwrap_or_default(),
            range: measured.channel.range?,
        })
    }
}

/// Shortens a unit for a message: the unit in an answer may be longer than any real unit.
fn shortened(unit: &str) -> String {
    unit.chars().take(Heartbeat::NAME_CHARS_MAX).collect()
}

/// The component's answer to a question.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Verdict {
    /// Digest of the component that answered.
    pub component: String,
    /// The derived events, in the log's order.
    pub derived: Vec<Derived>,
}

impl Standing {
    /// How the single value or a channel stands to its range.
    #[must_use]
    pub fn of(&self, channel: Option<&str>) -> RangeStanding {
        match channel {
            None => self.value,
            Some(name) => self.channels.get(name).copied().unwrap_or_default(),
        }
    }

    /// Whether any value was outside its range.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.all().any(|standing| standing.out_of_range)
    }

    /// Whether any value could not be compared with its range.
    #[must_use]
    pub fn is_not_judged(&self) -> bool {
        self.all().any(|standing| standing.not_judged)
    }

    fn all(&self) -> impl Iterator<Item = &RangeStanding> {
        core::iter::once(&self.value).chain(self.channels.values())
    }

    /// The standing after a derived event with this action, about the channel and the time that it
    /// names.
    #[must_use]
    pub fn after(mut self, action: &str, channel: Option<&str>, since: Option<Timestamp>) -> Self {
        match action {
            action::SENSOR_LOST => self.lost = true,
            action::SENSOR_BACK => self.lost = false,
            _ => {
                let standing = self.of(channel).after(action, since);
                match channel {
                    None => self.value = standing,
                    Some(name) if standing.is_well() => {
                        self.channels.remove(name);
                    }
                    Some(name) => {
                        self.channels.insert(String::from(name), standing);
                    }
                }
            }
        }
        self
    }
}

impl RangeStanding {
    /// Whether nothing is to be said.
    #[must_use]
    pub const fn is_well(self) -> bool {
        !self.is_outside() && !self.not_judged
    }

    /// Whether the last value that was judged was outside, reported or not.
    #[must_use]
    pub const fn is_outside(self) -> bool {
        self.out_of_range || self.leaving_since.is_some()
    }

    fn after(self, action: &str, since: Option<Timestamp>) -> Self {
        match action {
            action::OUT_OF_RANGE => Self { out_of_range: true, ..Self::default() },
            action::LEAVING_RANGE => Self { leaving_since: since, ..Self::default() },
            action::BACK_IN_RANGE => Self::default(),
            // A value that is not judged may have been inside, so a delay begins anew.
            action::RANGE_NOT_JUDGED => Self { not_judged: true, leaving_since: None, ..self },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope::Salt,
        event::{Event, Outcome},
        ordered::CalibrationTexts,
        sensor_order::{Given, InForce},
    };

    /// What is sealed of a calibration.
    fn calibrated(members: &str) -> CalibrationTexts {
        let json = format!(r#"{{"order":"calibrate",{members},"from":"1970-01-01T00:00:00Z"}}"#);
        let order = serde_json::from_str(&json).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let given = Given { order, by: String::from("ada"), at, reason: String::new() };
        CalibrationTexts::of(&InForce::default().after(given)).unwrap()
    }

    #[test]
    fn a_corrected_value_is_judged_and_none_in_maintenance() {
        let heartbeat = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r","range":[0,50]}"#;
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let seen = |event: Event| {
            let envelope = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
            Sighting::of(7, &envelope).map(|sighting| sighting.seen)
        };
        let reading = |answer: &[u8]| Event::reading(&heartbeat, 1, Outcome::of(answer), at);
        let value = |seen: Option<Seen>| match seen {
            Some(Seen::Value { value, .. }) => value,
            seen => panic!("{seen:?}"),
        };
        let calibrations = calibrated(r#""gain":"2","offset":"1.5""#);
        assert_eq!(value(seen(reading(b"24.5").calibrated_by(&calibrations))), "50.5");
        assert_eq!(
            value(seen(reading(b"1e308").calibrated_by(&calibrations))),
            "1.7976931348623157e308"
        );
        assert_eq!(value(seen(reading(br#""warm""#).calibrated_by(&calibrations))), "warm");
        assert_eq!(seen(reading(b"99").in_maintenance()), None);
        let left = Event::sighting(action::SENSOR_DISCONNECTED, &heartbeat, at);
        assert_eq!(seen(left.clone()), Some(Seen::Disconnected));
        assert_eq!(seen(left.in_maintenance()), None);
    }

    #[test]
    fn channels_with_a_range_are_seen_after_their_scale() {
        let heartbeat = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
            "channels":[{"name":"t","scale":-2,"range":[0,50]},{"name":"door","kind":"enum","range":[0,1]},{"name":"h"},{"name":"absent","range":[0,1]}]}"#;
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let answer = br#"{"values":{"h":41,"door":"open","t":2350,"other":1}}"#;
        let event = Event::reading(&heartbeat, 1, Outcome::of(answer), at);
        let envelope = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
        let sighting = Sighting::of(7, &envelope).unwrap();
        let Seen::Values(values) = &sighting.seen else { panic!("{sighting:?}") };
        let seen: Vec<_> = values
            .iter()
            .map(|seen| (seen.channel.as_str(), seen.value.as_str(), format!("{}", seen.range)))
            .collect();
        assert_eq!(
            seen,
            [("door", "", String::from("0..1")), ("t", "23.50", String::from("0..50"))]
        );
        let json = serde_json::to_string(&sighting).unwrap();
        assert_eq!(serde_json::from_str::<Sighting>(&json).unwrap(), sighting);

        let calibrations = calibrated(r#""gain":"2","offset":"1","channel":"t""#);
        let event = Event::reading(&heartbeat, 1, Outcome::of(answer), at);
        let event = event.calibrated_by(&calibrations);
        let sealed = event.sealwire.as_ref().unwrap().calibration.as_deref();
        assert_eq!(sealed, Some(r#"{"t":"2 1"}"#));
        let envelope = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
        let Some(Seen::Values(values)) = Sighting::of(7, &envelope).map(|it| it.seen) else {
            panic!("{envelope:?}")
        };
        let seen: Vec<_> = values.iter().map(|seen| seen.value.as_str()).collect();
        assert_eq!(seen, ["", "48.0"]);
    }

    #[test]
    fn each_channel_stands_for_itself() {
        let after = |standing: Standing, (action, channel): (&str, Option<&str>)| {
            standing.after(action, channel, None)
        };
        let [t, h] = [Some("t"), Some("h")];
        let told = [(action::OUT_OF_RANGE, t), (action::RANGE_NOT_JUDGED, h)];
        let standing = told.into_iter().fold(Standing::default(), after);
        assert_eq!((standing.is_out_of_range(), standing.is_not_judged()), (true, true));
        assert_eq!(standing.of(None), RangeStanding::default());
        let json = serde_json::to_string(&standing).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&json).unwrap(), standing);
        let back = after(standing, (action::BACK_IN_RANGE, t));
        assert_eq!((back.is_out_of_range(), back.is_not_judged()), (false, true));
        let lost = after(back, (action::SENSOR_LOST, None));
        let back = [(action::BACK_IN_RANGE, h), (action::SENSOR_BACK, None)];
        assert_eq!(back.into_iter().fold(lost, after), Standing::default());
    }

    #[test]
    fn another_description_is_seen_with_the_channels_that_have_a_range() {
        let heartbeat = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r",
            "channels":[{"name":"t","range":[0,50]},{"name":"h"}]}"#;
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let event = Event::sighting(action::SENSOR_CHANGED, &heartbeat, at);
        let envelope = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
        let seen = Sighting::of(7, &envelope).map(|sighting| sighting.seen);
        assert_eq!(seen, Some(Seen::Described(vec![String::from("t")])));
    }

    #[test]
    fn a_value_in_another_unit_than_its_range_is_seen_as_such() {
        let seen = |declared: &str, answer: &str| {
            let heartbeat = format!(
                r#"{{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r"{declared}}}"#
            );
            let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
            let at = Timestamp::from_unix_micros(0);
            let event = Event::reading(&heartbeat, 1, Outcome::of(answer.as_bytes()), at);
            let salt = Salt::from_random([0; 16]);
            let sighting = Sighting::of(7, &Envelope { event, received_at: at, salt }).unwrap();
            let Seen::Value { units, .. } = sighting.seen else { panic!("{sighting:?}") };
            units
        };
        let celsius = r#","unit":"C","range":[0,50]"#;
        let both = (String::from("C"), String::from("F"));
        assert_eq!(seen(celsius, r#"{"value":77,"unit":"F"}"#), Some(both));
        for (declared, answer) in [
            (celsius, "25"),
            (celsius, r#"{"value":25,"unit":"C"}"#),
            (r#","unit":"C""#, r#"{"value":77,"unit":"F"}"#),
            (r#","range":[0,50]"#, r#"{"value":77,"unit":"F"}"#),
        ] {
            assert_eq!(seen(declared, answer), None, "{declared} {answer}");
        }
    }
}
