//! What happened: one event of the log, with the fields of Pangea's Secure Audit Log and Sealwire's
//! own.
//!
//! Every field is text, a whole number that JSON carries exactly, or a yes or no, so that no
//! reader's floating point can change it. Fields are written in the order of their names, so that
//! plain serialisation is canonical JSON (RFC 8785); the tests hold it against an independent
//! canonicaliser.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap as _,
};

use crate::{
    action,
    answer::Answer,
    derived::Derived,
    gap::{MissingReason, SequenceBreak, UNCOUNTED},
    heartbeat::Heartbeat,
    number_range::NumberRange,
    object::LeftOut,
    range::Range,
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// One event: Pangea's fields and those of a custom schema, our own, and its signature.
///
/// Its JSON is flat and holds the former alone, in the order of their names, absent ones left out:
/// [`Envelope`](crate::Envelope) puts the rest beside it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// What was done, e.g. `SENSOR_READING`.
    pub action: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// What happened, for people.
    pub message: String,
    /// The value afterwards.
    pub new: Option<String>,
    /// The value before.
    pub old: Option<String>,
    /// Where it was seen, e.g. `Boiler Room.PressureSensor789`.
    pub source: Option<String>,
    /// How it ended, e.g. `SUCCESS`.
    pub status: Option<String>,
    /// What it was done to.
    pub target: Option<String>,
    /// Whose it is, where one log serves several.
    pub tenant_id: Option<String>,
    /// When it happened, as whoever says so wrote it.
    pub timestamp: Option<String>,
    /// Fields that Pangea's schema does not have.
    pub custom: BTreeMap<String, FieldValue>,
    /// Sealwire's own fields, possibly none: of every event that is Sealwire's own, and of no
    /// other.
    pub sealwire: Option<Detail>,
    /// Who signed it: a public key, as the signer wrote it.
    pub public_key: Option<String>,
    /// Ed25519 over the event's JSON by that key, in base64.
    pub signature: Option<String>,
    /// In whose name a program had it sealed: the name of its API token, which the site says and no
    /// program can.
    pub token: Option<String>,
}

/// The value of a custom field. Nothing is a floating-point number: no reader's arithmetic can
/// change what is hashed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number, between -2^53 and 2^53.
    Integer(i64),
    /// Text.
    Text(String),
}

impl Event {
    /// Pangea's fields with their names, in the order of the names.
    fn standard(&self) -> [(&'static str, Option<&str>); 10] {
        [
            ("action", self.action.as_deref()),
            ("actor", self.actor.as_deref()),
            ("message", Some(&self.message)),
            ("new", self.new.as_deref()),
            ("old", self.old.as_deref()),
            ("source", self.source.as_deref()),
            ("status", self.status.as_deref()),
            ("target", self.target.as_deref()),
            ("tenant_id", self.tenant_id.as_deref()),
            ("timestamp", self.timestamp.as_deref()),
        ]
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut custom = self.custom.iter().peekable();
        for (name, value) in self.standard() {
            while let Some((name, value)) = custom.next_if(|(own, _)| own.as_str() < name) {
                map.serialize_entry(name, value)?;
            }
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in custom {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

/// Reads an event's JSON. Logs before format version 3 have our own fields within it, under
/// `sealwire`.
struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event, an object with a `message`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut event = Event::default();
        let mut message = None;
        while let Some(name) = map.next_key::<Box<str>>()? {
            let field = match &*name {
                "action" => &mut event.action,
                "actor" => &mut event.actor,
                "message" => &mut message,
                "new" => &mut event.new,
                "old" => &mut event.old,
                "source" => &mut event.source,
                "status" => &mut event.status,
                "target" => &mut event.target,
                "tenant_id" => &mut event.tenant_id,
                "timestamp" => &mut event.timestamp,
                "sealwire" => {
                    event.sealwire = map.next_value()?;
                    continue;
                }
                _ => {
                    if event.custom.insert(name.clone().into(), map.next_value()?).is_some() {
                        return Err(A::Error::custom(format_args!("`{name}` is there twice")));
                    }
                    continue;
                }
            };
            if field.is_some() {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format_args!("`{name}` is there twice")));
            }
            *field = map.next_value()?;
        }
        event.message = message.ok_or_else(|| A::Error::missing_field("message"))?;
        Ok(event)
    }
}

/// Sealwire's own fields of an event. Which are there depends on the action; `docs/http-api.md` has
/// the table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Detail {
    /// Digest of the component that derived this, `sha256:...` as its registry names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The leaves whose envelopes were erased, e.g. `12-40,57`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased: Option<String>,
    /// Why an answer was not understood, or fields were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Version of the log's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u32>,
    /// The leaf this was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_leaf: Option<u64>,
    /// The heartbeat, as [`Heartbeat::canonical`] writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
    /// The leaf of the hold that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
    /// A hold covers what was received from this moment on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_from: Option<Timestamp>,
    /// A hold covers what was received before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_to: Option<Timestamp>,
    /// Numbers without a reading, e.g. `412-430`: of polls, or of the sensor's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The log's origin line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The number of the poll that this reading ended, counted from 1 for each sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<u64>,
    /// The range that was declared when the reading was taken, e.g. `0..50`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Unit of that range, where the reading has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_unit: Option<String>,
    /// An answer that was not understood, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// An answer that was not understood, in hex, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_hex: Option<String>,
    /// Why numbers are missing, one of the words in `docs/formats/completeness.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The class of events whose time was over, where that is why they were erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// Events of that class before this leaf are dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_to: Option<u64>,
    /// The statement of a key rotation, a note that both keys signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// Which sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// The sensor's own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_time: Option<Timestamp>,
    /// The sensor's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The sensor's signature as it came, not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Unit of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The log's verifier key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vkey: Option<String>,
}

/// How a poll ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An answer that was understood.
    Success(Answer),
    /// No answer in time.
    CommError,
    /// An answer that was not understood.
    ValueError {
        /// The parser's words.
        error: String,
        /// What came, whole up to [`Outcome::RAW_BYTES_MAX`].
        raw: Vec<u8>,
    },
}

/// Status of a reading that has a value.
pub const SUCCESS: &str = "SUCCESS";
/// Status of a poll without an answer in time.
pub const COMM_ERROR: &str = "COMM_ERROR";
/// Status of an answer that was not understood.
pub const VALUE_ERROR: &str = "VALUE_ERROR";
/// Value of a reading that has none.
pub const NO_VALUE: &str = "N/A";

impl Outcome {
    /// How much of an answer that was not understood is kept, in bytes: in hex it still fits a
    /// field of 32,766 characters.
    pub const RAW_BYTES_MAX: usize = 16_000;

    /// What an answer from the wire means.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match Answer::parse(payload) {
            Ok(answer) => Self::Success(answer),
            Err(error) => Self::ValueError {
                error: error.to_string(),
                raw: payload.iter().copied().take(Self::RAW_BYTES_MAX).collect(),
            },
        }
    }
}

impl Event {
    /// The genesis entry.
    #[must_use]
    pub fn log_created(origin: &str, vkey: &str, format: u32, at: Timestamp) -> Self {
        let detail = Detail {
            format: Some(format),
            origin: Some(String::from(origin)),
            vkey: Some(String::from(vkey)),
            ..Detail::default()
        };
        Self::new("ledger", action::LOG_CREATED, origin, format!("log {origin} begins"), at)
            .with(detail)
    }

    /// That the log goes over to the key `vkey`, as the statement says that both keys signed.
    #[must_use]
    pub fn key_rotated(
        actor: &str,
        origin: &str,
        vkey: &str,
        statement: String,
        at: Timestamp,
    ) -> Self {
        let detail = Detail {
            rotation: Some(statement),
            vkey: Some(String::from(vkey)),
            ..Detail::default()
        };
        let message = format!("log {origin} goes over to the key {vkey}");
        Self::new(actor, action::KEY_ROTATED, origin, message, at).with(detail)
    }

    /// That `count` envelopes were erased: those of the leaves `erased`.
    #[must_use]
    pub fn envelopes_erased(
        actor: &str,
        origin: &str,
        erased: String,
        count: u64,
        why: &str,
        at: Timestamp,
    ) -> Self {
        let detail = Detail { erased: Some(erased), ..Detail::default() };
        let message = format!("{count} envelopes erased: {why}");
        Self::new(actor, action::ENVELOPES_ERASED, origin, message, at).with(detail)
    }

    /// That a hold begins: on one sensor or all, on what was received in a span of time or ever.
    #[must_use]
    pub fn hold_placed(
        actor: &str,
        origin: &str,
        sensor: Option<SensorId>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        why: &str,
        at: Timestamp,
    ) -> Self {
        let detail = Detail { hold_from: from, hold_to: to, sensor, ..Detail::default() };
        let message = format!("hold placed: {why}");
        Self::new(actor, action::HOLD_PLACED, origin, message, at).with(detail)
    }

    /// That the hold of the leaf `hold` ends.
    #[must_use]
    pub fn hold_released(actor: &str, origin: &str, hold: u64, why: &str, at: Timestamp) -> Self {
        let detail = Detail { hold: Some(hold), ..Detail::default() };
        let message = format!("hold {hold} released: {why}");
        Self::new(actor, action::HOLD_RELEASED, origin, message, at).with(detail)
    }

    /// That someone takes the readings of a sensor out as a file: those of a span of time by the
    /// readings' own, or ever.
    #[must_use]
    pub fn readings_exported(
        actor: &str,
        origin: &str,
        sensor: SensorId,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        why: &str,
        at: Timestamp,
    ) -> Self {
        let detail = Detail { sensor: Some(sensor), ..Detail::default() };
        let mut span = String::new();
        for (word, moment) in [(" from ", from), (" before ", to)] {
            if let Some(moment) = moment {
                span.push_str(word);
                span.push_str(&moment.to_string());
            }
        }
        let message = format!("readings of {sensor}{span} exported: {why}");
        Self::new(actor, action::READINGS_EXPORTED, origin, message, at).with(detail)
    }

    /// That the site forgets a sensor because someone ordered it.
    #[must_use]
    pub fn sensor_forgotten(actor: &str, heartbeat: &Heartbeat, why: &str, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let detail = Detail { sensor: Some(heartbeat.id), ..Detail::default() };
        let message = format!("{source}: forgotten: {why}");
        Self::new(actor, action::SENSOR_FORGOTTEN, &source, message, at).with(detail)
    }

    /// That the newest leaves were taken over although the site's key does not vouch for them.
    #[must_use]
    pub fn tail_adopted(actor: &str, origin: &str, leaves: u64, why: &str, at: Timestamp) -> Self {
        let message = format!("{leaves} leaves taken over that no key vouched for: {why}");
        Self::new(actor, action::TAIL_ADOPTED, origin, message, at)
    }

    /// A reading, or that none came: how the poll with this number ended.
    #[must_use]
    pub fn reading(heartbeat: &Heartbeat, poll: u64, outcome: Outcome, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let mut detail =
            Detail { poll: Some(poll), sensor: Some(heartbeat.id), ..Detail::default() };
        let (status, value) = match outcome {
            Outcome::Success(answer) => {
                detail.range = heartbeat.range.as_ref().map(Range::to_string);
                detail.sensor_time = answer.time;
                detail.seq = answer.seq;
                detail.signature = answer.signature;
                let differ = answer.unit.is_some() && answer.unit != heartbeat.unit;
                let of_range = heartbeat.unit.clone().filter(|_| differ && detail.range.is_some());
                detail.range_unit = of_range;
                detail.unit = answer.unit.or_else(|| heartbeat.unit.clone());
                (SUCCESS, answer.value)
            }
            Outcome::CommError => (COMM_ERROR, String::from(NO_VALUE)),
            Outcome::ValueError { error, raw } => {
                detail.error = Some(error);
                match String::from_utf8(raw) {
                    Ok(text) => detail.raw = Some(text),
                    Err(error) => detail.raw_hex = Some(hex::encode(error.as_bytes())),
                }
                (VALUE_ERROR, String::from(NO_VALUE))
            }
        };
        let message = format!("{source}: {value}");
        let mut event =
            Self::new("poller", action::SENSOR_READING, &source, message, at).with(detail);
        event.new = Some(value);
        event.status = Some(String::from(status));
        event
    }

    /// That polls which were due ended in no reading.
    #[must_use]
    pub fn readings_missing(
        heartbeat: &Heartbeat,
        polls: NumberRange,
        reason: MissingReason,
        at: Timestamp,
    ) -> Self {
        let source = heartbeat.source();
        let detail = Detail {
            missing: Some(polls.to_string()),
            reason: Some(String::from(reason.as_str())),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let noun = if polls.count() == 1 { "poll" } else { "polls" };
        let message = format!("{source}: {noun} {polls} missing: {}", reason.words());
        Self::new("poller", action::READINGS_MISSING, &source, message, at).with(detail)
    }

    /// That polls were due while the site did not run, and that nobody knows how many: the clock
    /// does not say for how long.
    #[must_use]
    pub fn readings_uncounted(heartbeat: &Heartbeat, why: &str, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let detail = Detail {
            reason: Some(String::from(UNCOUNTED)),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let message = format!("{source}: polls missing, nobody knows how many: {why}");
        Self::new("poller", action::READINGS_MISSING, &source, message, at).with(detail)
    }

    /// That the reading which follows has the number `seq` of the sensor's own count, and the one
    /// before it had `last`.
    #[must_use]
    pub fn sequence_broken(
        heartbeat: &Heartbeat,
        broken: SequenceBreak,
        (last, seq): (u64, u64),
        at: Timestamp,
    ) -> Self {
        let source = heartbeat.source();
        let (missing, words) = match broken {
            SequenceBreak::NotSealed(range) => {
                let words = format!("its numbers {range} came late or never");
                (Some(range.to_string()), words)
            }
            SequenceBreak::Repeated => (None, format!("its number {seq} came again")),
            SequenceBreak::Restarted => (None, format!("its count went back from {last} to {seq}")),
        };
        let detail = Detail {
            missing,
            reason: Some(String::from(broken.as_str())),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let message = format!("{source}: {words}");
        Self::new("poller", action::SEQUENCE_BROKEN, &source, message, at).with(detail)
    }

    /// That fields of `what`, its heartbeats or its answers, could not be taken, while the rest
    /// was.
    #[must_use]
    pub fn fields_left_out(
        heartbeat: &Heartbeat,
        what: &str,
        left_out: &[&LeftOut],
        at: Timestamp,
    ) -> Self {
        let source = heartbeat.source();
        let reasons: Vec<String> = left_out.iter().map(|left_out| left_out.to_string()).collect();
        let reasons = reasons.join("; ");
        let message = format!("{source}: of its {what}, {reasons}");
        let detail =
            Detail { error: Some(reasons), sensor: Some(heartbeat.id), ..Detail::default() };
        Self::new("poller", action::FIELDS_LEFT_OUT, &source, message, at).with(detail)
    }

    /// Something the poller saw of a sensor other than a reading: one of the `SENSOR_*` and
    /// `HEARTBEAT_*` actions.
    #[must_use]
    pub fn sighting(action: &str, heartbeat: &Heartbeat, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let (words, with_heartbeat) = match action {
            action::SENSOR_DISCOVERED => ("discovered", true),
            action::SENSOR_CHANGED => ("now describes itself otherwise", true),
            action::HEARTBEAT_MISSED => ("heartbeats stopped", false),
            action::HEARTBEAT_RESUMED => ("heartbeats come again", false),
            action::SENSOR_DISCONNECTED => ("says that it goes", false),
            action::SENSOR_FORGOTTEN => ("never answered, and is forgotten", false),
            action::POLLS_STRETCHED => ("never answered, and is polled less often", false),
            action::POLLS_RESTORED => ("answers, and is polled as it asks", false),
            other => (other, false),
        };
        let detail = Detail {
            sensor: Some(heartbeat.id),
            heartbeat: with_heartbeat.then(|| heartbeat.canonical()),
            ..Detail::default()
        };
        let message = format!("{source}: {words}");
        Self::new("poller", action, &source, message, at).with(detail)
    }

    /// That so many heartbeats on a subject were refused, the newest of them for this reason.
    #[must_use]
    pub fn heartbeats_refused(subject: &str, count: u64, newest: &str, at: Timestamp) -> Self {
        let message = match count {
            1 => format!("a heartbeat on {subject} is refused: {newest}"),
            _ => format!(
                "{count} heartbeats on {subject} were refused in a minute, the last: {newest}"
            ),
        };
        let detail = Detail { error: Some(String::from(newest)), ..Detail::default() };
        Self::new("poller", action::HEARTBEATS_REFUSED, subject, message, at).with(detail)
    }

    /// That sensors ask for more polls than the site makes, and none is polled more often than
    /// every `shortest`; or that all are polled as they ask again.
    #[must_use]
    pub fn polls_stretched(
        shortest: Option<Duration>,
        (wished, polls_per_second): (f64, u32),
        at: Timestamp,
    ) -> Self {
        let (action, message) = match shortest {
            Some(shortest) => (
                action::POLLS_STRETCHED,
                format!(
                    "sensors ask for {wished:.0} polls a second, and the site makes {polls_per_second}: none is polled more often than every {} ms",
                    shortest.as_millis()
                ),
            ),
            None => {
                (action::POLLS_RESTORED, String::from("sensors are polled as often as they ask"))
            }
        };
        let mut event = Self::new("poller", action, "poller", message, at);
        event.new = shortest.map(|shortest| shortest.as_millis().to_string());
        event
    }

    /// What a component made of a sealed event.
    #[must_use]
    pub fn derived(derived: Derived, component: &str, at: Timestamp) -> Self {
        let detail = Detail {
            component: Some(String::from(component)),
            from_leaf: Some(derived.from_leaf),
            sensor: Some(derived.sensor),
            ..Detail::default()
        };
        let mut event =
            Self::new("sensor-reader", &derived.action, &derived.source, derived.message, at)
                .with(detail);
        event.new = derived.value;
        event
    }

    /// Something the site did or saw of itself: `source` is the part that is spoken of.
    #[must_use]
    pub fn site(action: &str, source: &str, message: String, at: Timestamp) -> Self {
        Self::new("site", action, source, message, at)
    }

    fn new(actor: &str, action: &str, source: &str, message: String, at: Timestamp) -> Self {
        Self {
            action: Some(String::from(action)),
            actor: Some(String::from(actor)),
            message,
            source: Some(String::from(source)),
            timestamp: Some(at.to_string()),
            // With fields or without, it says whose the event is: no program's has it.
            sealwire: Some(Detail::default()),
            ..Self::default()
        }
    }

    fn with(mut self, detail: Detail) -> Self {
        self.sealwire = Some(detail);
        self
    }

    /// The sensor this event is about, if it is about one.
    #[must_use]
    pub fn sensor(&self) -> Option<SensorId> {
        self.sealwire.as_ref().and_then(|detail| detail.sensor)
    }
}
