//! Messages between the pipeline and a user's processor: JSON over NATS, hundreds of sealed events
//! in one question.
//!
//! A processor keeps no state between calls and gets none from the site. It may say one thing: that
//! a value follows from a leaf in the question. `docs/processors.md` describes the messages for
//! those who write processors.

use alloc::{borrow::ToOwned as _, collections::BTreeSet, format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    action,
    calibration::Calibration,
    derived::Derived,
    envelope::Envelope,
    event::{Detail, Event},
    heartbeat::Heartbeat,
    reading,
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// Version of the messages. A question names it.
pub const VERSION: u32 = 1;

/// Subjects on which processors receive questions, each on that of its name.
pub const SUBJECTS: &str = "sealwire.process.*";

/// Name of a processor: it is in the processor's subject, and in each event that it derives.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessorName(String);

impl ProcessorName {
    /// Longest name in characters.
    pub const CHARS_MAX: usize = 40;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Subject on which the processor receives questions.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("sealwire.process.{}", self.0)
    }

    /// Actor of the events that it derives, and the name of its cursor. Nothing of the site's own
    /// has such a name.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("processor/{}", self.0)
    }
}

impl fmt::Display for ProcessorName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name of a processor is not one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidProcessorName(String);

impl fmt::Display for InvalidProcessorName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` is not the name of a processor: use up to {} of the characters a-z, 0-9 and -",
            self.0,
            ProcessorName::CHARS_MAX
        )
    }
}

impl core::error::Error for InvalidProcessorName {}

impl FromStr for ProcessorName {
    type Err = InvalidProcessorName;

    fn from_str(text: &str) -> Result<Self, InvalidProcessorName> {
        let is_allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        let has_length = (1..=Self::CHARS_MAX).contains(&text.len());
        if has_length && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidProcessorName(text.chars().take(Self::CHARS_MAX).collect()))
        }
    }
}

impl TryFrom<String> for ProcessorName {
    type Error = InvalidProcessorName;

    fn try_from(text: String) -> Result<Self, InvalidProcessorName> {
        text.parse()
    }
}

impl From<ProcessorName> for String {
    fn from(name: ProcessorName) -> Self {
        name.0
    }
}

/// What a processor sees of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Actions of the events that it sees.
    pub actions: BTreeSet<String>,
    /// Sensors whose events it sees; none means all.
    pub sensors: BTreeSet<SensorId>,
    /// Units of the values that it sees, those of channels too; none means all.
    pub units: BTreeSet<String>,
}

impl Default for Filter {
    /// The readings of all sensors.
    fn default() -> Self {
        Self {
            actions: BTreeSet::from([action::SENSOR_READING.to_owned()]),
            sensors: BTreeSet::new(),
            units: BTreeSet::new(),
        }
    }
}

/// A run of sealed events of sensors, in the log's order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Question {
    /// [`VERSION`].
    pub version: u32,
    /// The processor that is asked.
    pub processor: ProcessorName,
    /// The events.
    pub events: Vec<Seen>,
}

impl Question {
    /// As it is sent.
    ///
    /// # Panics
    /// Never: a question has only text keys.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a question has only text keys")
    }
}

/// What a processor sees of a sealed event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    /// Index of the event's leaf in the log.
    pub leaf: u64,
    /// The sensor of the event.
    pub sensor: SensorId,
    /// The sensor's event source, `<location>.<alias>`.
    pub source: String,
    /// What happened.
    pub action: String,
    /// When the site received it.
    pub received_at: Timestamp,
    /// How a poll ended: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The value, if the event has a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The values of a reading with several channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<OfChannel>,
}

/// A channel's value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OfChannel {
    /// Name of the channel.
    pub name: String,
    /// The value after the channel's scale.
    pub value: String,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Seen {
    /// Longest value in bytes. An event with a longer one is not shown: it is no measured value.
    const VALUE_BYTES_MAX: usize = 4_096;

    /// What a processor with this filter sees of a sealed event; `None` if that is nothing. Numbers
    /// are corrected by the calibration that is sealed with them.
    #[must_use]
    pub fn of(leaf: u64, envelope: &Envelope, filter: &Filter) -> Option<Self> {
        let event = &envelope.event;
        let detail = event.sealwire.as_ref()?;
        let (action, sensor) = (event.action.as_deref()?, detail.sensor?);
        // What was derived is never derived from again, so no two processors keep each other busy.
        if action == action::DERIVED
            || !filter.actions.contains(action)
            || !(filter.sensors.is_empty() || filter.sensors.contains(&sensor))
        {
            return None;
        }
        let channels = Self::channels(event, detail, filter);
        let is_wanted = |unit: Option<&String>| {
            filter.units.is_empty() || unit.is_some_and(|unit| filter.units.contains(unit))
        };
        if channels.is_empty() && !is_wanted(detail.unit.as_ref()) {
            return None;
        }
        let value = event.new.as_deref().filter(|_| detail.channels.is_none());
        let value = value.map(|value| corrected(detail.calibration_of_value().as_ref(), value));
        if value.as_ref().is_some_and(|value| value.len() > Self::VALUE_BYTES_MAX) {
            return None;
        }
        Some(Self {
            leaf,
            sensor,
            source: event.source.clone()?,
            action: action.to_owned(),
            received_at: envelope.received_at,
            status: event.status.clone(),
            value,
            unit: detail.unit.clone(),
            channels,
        })
    }

    fn channels(event: &Event, detail: &Detail, filter: &Filter) -> Vec<OfChannel> {
        let calibrations = detail.calibrations_of_channels();
        let measured = reading::measured_of(event).unwrap_or_default().into_iter();
        let of_channel = measured.map(|measured| OfChannel {
            value: corrected(calibrations.get(&measured.channel.name), &measured.text()),
            name: measured.channel.name,
            unit: measured.channel.unit,
        });
        let is_wanted = |of: &OfChannel| {
            let unit = of.unit.as_ref();
            filter.units.is_empty() || unit.is_some_and(|unit| filter.units.contains(unit))
        };
        of_channel.filter(is_wanted).collect()
    }
}

fn corrected(calibration: Option<&Calibration>, value: &str) -> String {
    let number = calibration.and_then(|calibration| calibration.apply(value));
    number.map_or_else(|| value.to_owned(), |number| format!("{number:?}"))
}

/// A processor's answer to a question.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Digest of the component that answered: the value of `digest` in its configuration.
    pub component: String,
    /// What follows from the events.
    #[serde(default)]
    pub derived: Vec<Output>,
}

/// A value that follows from an event.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Index of the leaf from which it follows.
    pub from_leaf: u64,
    /// What the value is, if several follow from a leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The value.
    pub value: String,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What is said to people; the value, if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Output {
    /// Most values that follow from one leaf.
    pub const PER_LEAF_MAX: usize = 4;
    /// Longest value in bytes.
    pub const VALUE_BYTES_MAX: usize = 256;
    /// Longest message in bytes.
    pub const MESSAGE_BYTES_MAX: usize = 512;
    /// Longest channel and longest unit in characters.
    pub const NAME_CHARS_MAX: usize = Heartbeat::NAME_CHARS_MAX;

    /// Whether it keeps to the limits.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let is_name = |name: &Option<String>| {
            name.as_ref().is_none_or(|name| name.chars().count() <= Self::NAME_CHARS_MAX)
        };
        self.value.len() <= Self::VALUE_BYTES_MAX
            && self.message.len() <= Self::MESSAGE_BYTES_MAX
            && is_name(&self.channel)
            && is_name(&self.unit)
    }
}

impl Event {
    /// A value that a user's processor derived from a sealed event.
    #[must_use]
    pub fn processed(
        processor: &ProcessorName,
        derived: Derived,
        unit: Option<String>,
        component: &str,
        at: Timestamp,
    ) -> Self {
        let mut event = Self::derived(derived, component, at);
        event.actor = Some(processor.actor());
        if let Some(detail) = &mut event.sealwire {
            detail.unit = unit;
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Heartbeat, Outcome, Salt};

    const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";

    fn sealed(event: Event) -> Envelope {
        let received_at = Timestamp::from_unix_micros(0);
        Envelope { event, received_at, salt: Salt::from_random([0; 16]) }
    }

    fn reading(declared: &str, answer: &str) -> Envelope {
        let heartbeat = format!(
            r#"{{"alias":"T1","id":"{SENSOR}","poll_interval":1000,"poll_topic":"p","read_topic":"r",{declared}}}"#
        );
        let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
        let at = Timestamp::from_unix_micros(0);
        sealed(Event::reading(&heartbeat, 1, Outcome::of(answer.as_bytes()), at))
    }

    #[test]
    fn a_processor_sees_what_its_filter_lets_through() {
        let bar = reading(r#""unit":"bar""#, "1.5");
        let both = r#""channels":[{"name":"t","unit":"C","scale":-2},{"name":"h","unit":"%"}]"#;
        let both = reading(both, r#"{"values":{"t":2350,"h":41}}"#);
        let seen = |filter: &str, envelope: &Envelope| {
            let filter: Filter = serde_json::from_str(filter).unwrap();
            let seen = Seen::of(7, envelope, &filter)?;
            let channels = seen.channels.into_iter().map(|it| it.name + " " + &it.value);
            Some((seen.value, seen.unit, channels.collect::<Vec<_>>()))
        };
        let single = Some((Some(String::from("1.5")), Some(String::from("bar")), vec![]));
        let several =
            |names: &[&str]| Some((None, None, names.iter().map(|it| (*it).into()).collect()));
        for (filter, of_bar, of_both) in [
            ("{}", single.clone(), several(&["t 23.50", "h 41"])),
            (r#"{"units":["bar"]}"#, single.clone(), None),
            (r#"{"units":["C"]}"#, None, several(&["t 23.50"])),
            (r#"{"actions":["SENSOR_LOST"]}"#, None, None),
            (r#"{"sensors":["00000000-0000-0000-0000-000000000000"]}"#, None, None),
            (&format!(r#"{{"sensors":["{SENSOR}"]}}"#), single, several(&["t 23.50", "h 41"])),
        ] {
            assert_eq!(seen(filter, &bar), of_bar, "{filter}");
            assert_eq!(seen(filter, &both), of_both, "{filter}");
        }
    }

    #[test]
    fn nothing_is_derived_from_what_was_derived() {
        let derived = Derived {
            from_leaf: 3,
            sensor: SENSOR.parse().unwrap(),
            action: action::DERIVED.to_owned(),
            channel: None,
            since: None,
            source: String::from("Hall.T1"),
            value: Some(String::from("3")),
            message: String::new(),
        };
        let name: ProcessorName = "twice".parse().unwrap();
        let at = Timestamp::from_unix_micros(0);
        let event = Event::processed(&name, derived, None, "sha256:00", at);
        assert_eq!(event.actor.as_deref(), Some("processor/twice"));
        let actions = BTreeSet::from([action::DERIVED.to_owned()]);
        let filter = Filter { actions, ..Filter::default() };
        assert_eq!(Seen::of(8, &sealed(event), &filter), None);
    }

    #[test]
    fn a_name_is_one_level_of_a_subject() {
        for (text, is_name) in
            [("mean-2h", true), ("", false), ("a.b", false), ("A", false), ("a>", false)]
        {
            assert_eq!(text.parse::<ProcessorName>().is_ok(), is_name, "{text}");
        }
        assert!("x".repeat(41).parse::<ProcessorName>().is_err());
    }
}
