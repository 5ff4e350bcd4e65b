//! An event of the log, with the fields of Pangea's Secure Audit Log and Sealwire's own.
//!
//! Every field is text, an integer that JSON carries exactly, or a boolean, so no reader's floating
//! point can change it. Fields are sorted by name, so plain serialisation gives canonical JSON (RFC
//! 8785). The tests compare it with an independent canonicaliser.

use alloc::{
    borrow::Cow,
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
    derived::Derived,
    gap::{MissingReason, SequenceBreak, UNCOUNTED},
    heartbeat::Heartbeat,
    measured,
    number_range::NumberRange,
    object::LeftOut,
    pushed::{PushedSeries, PushedValue},
    range::Range,
    sensor_id::SensorId,
    timestamp::Timestamp,
};
pub use crate::{detail::Detail, outcome::Outcome};

/// One event: Pangea's fields, those of a custom schema, Sealwire's own, and a signature.
///
/// Its JSON is flat and holds only Pangea's and the custom fields, sorted by name, without absent
/// ones. [`Envelope`](crate::Envelope) puts the rest beside it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// What was done, for example `SENSOR_READING`.
    pub action: Option<String>,
    /// Person, program or part of the site that did it.
    pub actor: Option<String>,
    /// Description of the event for people.
    pub message: String,
    /// Value after the event.
    pub new: Option<String>,
    /// Value before the event.
    pub old: Option<String>,
    /// Where the event was observed, for example `Boiler Room.PressureSensor789`.
    pub source: Option<String>,
    /// How the action ended, for example `SUCCESS`.
    pub status: Option<String>,
    /// Object of the action.
    pub target: Option<String>,
    /// Tenant that the event belongs to, if one log serves several.
    pub tenant_id: Option<String>,
    /// When the event happened, as its reporter wrote it.
    pub timestamp: Option<String>,
    /// Fields of a custom schema, which Pangea's own schema lacks.
    pub custom: BTreeMap<String, FieldValue>,
    /// Sealwire's own fields, possibly none of them set. Every event that Sealwire itself makes has
    /// `Some`; no other event has.
    pub sealwire: Option<Detail>,
    /// The signer's public key, as the signer wrote it.
    pub public_key: Option<String>,
    /// Ed25519 signature by that key over the event's JSON, in base64.
    pub signature: Option<String>,
    /// Name of the API token with which a program had the event sealed. The site sets it; a program
    /// cannot.
    pub token: Option<String>,
}

/// Value of a custom field. It is never a floating-point number, so no reader's arithmetic can
/// change what is hashed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// A boolean.
    Bool(bool),
    /// An integer strictly between -2^53 and 2^53.
    Integer(i64),
    /// A text.
    Text(String),
}

impl Event {
    /// Pangea's fields with their names, sorted by name.
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

/// Parses an event's JSON. Logs before format version 3 have Sealwire's own fields within it, under
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
        while let Some(Name(name)) = map.next_key()? {
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
                    let there = event.custom.insert(name.clone().into_owned(), map.next_value()?);
                    if there.is_some() {
                        return Err(A::Error::custom(format_args!("`{name}` appears twice")));
                    }
                    continue;
                }
            };
            if field.is_some() {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format_args!("`{name}` appears twice")));
            }
            *field = map.next_value()?;
        }
        event.message = message.ok_or_else(|| A::Error::missing_field("message"))?;
        Ok(event)
    }
}

/// Name of a field. It borrows from the JSON, because every event has the same ones.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Status of a reading that has a value.
pub const SUCCESS: &str = "SUCCESS";
/// Status of a poll without an answer in time.
pub const COMM_ERROR: &str = "COMM_ERROR";
/// Status of a poll whose answer was invalid.
pub const VALUE_ERROR: &str = "VALUE_ERROR";
/// Flag of an event that carries `site_time`.
pub const SITE_CLOCK: &str = "site_clock";
/// Flag of a reading that a device kept and reported later.
pub const HISTORICAL: &str = "historical";
/// Actor of events about devices that report by themselves.
pub(crate) const PUSHING: &str = "pushing";
/// Longest source of an event in characters.
const SOURCE_CHARS_MAX: usize = 120;
/// Value of a reading without a value.
pub const NO_VALUE: &str = "N/A";

impl Event {
    /// The genesis entry of a log.
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

    /// The log changes to the key `vkey`; `statement` is the note that both keys signed.
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
        let message = format!("log {origin} changes its key to {vkey}");
        Self::new(actor, action::KEY_ROTATED, origin, message, at).with(detail)
    }

    /// `count` envelopes were erased: those of the leaves `erased`.
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

    /// A legal hold begins, on one sensor or all. It covers envelopes received within the given
    /// times; `None` leaves that end open.
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

    /// The hold placed at the leaf `hold` ends.
    #[must_use]
    pub fn hold_released(actor: &str, origin: &str, hold: u64, why: &str, at: Timestamp) -> Self {
        let detail = Detail { hold: Some(hold), ..Detail::default() };
        let message = format!("hold {hold} released: {why}");
        Self::new(actor, action::HOLD_RELEASED, origin, message, at).with(detail)
    }

    /// Someone exports the readings of a sensor as a file. The times are those of the readings;
    /// `None` leaves that end open.
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

    /// Somebody imports the history of another log; `from` says in their words where it comes from.
    /// It has no time of its own, so an import that is repeated is the same one.
    #[must_use]
    pub fn history_imported(actor: &str, from: &str, message: String, detail: Detail) -> Self {
        Self::import(action::HISTORY_IMPORTED, actor, from, message, detail)
    }

    /// An event of another log, whose envelope is text here: nothing in it is this log's word.
    #[must_use]
    pub fn imported(actor: &str, from: &str, envelope: String, detail: Detail) -> Self {
        let message = String::from("an event of another log");
        let event = Self::import(action::EVENT_IMPORTED, actor, from, message, detail);
        Self { new: Some(envelope), ..event }
    }

    fn import(action: &str, actor: &str, from: &str, message: String, detail: Detail) -> Self {
        let source: String = from.chars().take(SOURCE_CHARS_MAX).collect();
        let event = Self::new(actor, action, &source, message, Timestamp::from_unix_micros(0));
        Self { timestamp: None, ..event.with(detail) }
    }

    /// The newest leaves were adopted although no signature of the site's key covers them.
    #[must_use]
    pub fn tail_adopted(actor: &str, origin: &str, leaves: u64, why: &str, at: Timestamp) -> Self {
        let message = format!("{leaves} leaves without a MAC adopted: {why}");
        Self::new(actor, action::TAIL_ADOPTED, origin, message, at)
    }

    /// A reading: how the poll with this number ended, with an answer or without one.
    #[must_use]
    pub fn reading(heartbeat: &Heartbeat, poll: u64, outcome: Outcome, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let mut detail =
            Detail { poll: Some(poll), sensor: Some(heartbeat.id), ..Detail::default() };
        let mut words = None;
        let (status, value) = match outcome {
            Outcome::Success(answer) => {
                detail.boot = answer.boot;
                detail.nonce = answer.nonce;
                let told = answer.time.map(|time| time.judged(at)).unwrap_or_default();
                detail.sensor_time = told.moment;
                detail.device_time = told.text;
                detail.flags = told.doubt.map(|doubt| String::from(doubt.as_str()));
                detail.seq = answer.seq;
                detail.signature = answer.signature;
                detail.time_error = answer.time_error_ms;
                detail.uptime = answer.uptime_ms;
                if let Some(values) = answer.values {
                    detail.error = measured::misfits(&heartbeat.channels, &values);
                    let measured = measured::pair(&heartbeat.channels, values);
                    detail.channels = Some(measured::canonical(&measured));
                    words = Some(measured::words(&measured));
                } else {
                    detail.range = heartbeat.range.as_ref().map(Range::to_string);
                    let differ = answer.unit.is_some() && answer.unit != heartbeat.unit;
                    let has_range = detail.range.is_some();
                    detail.range_unit = heartbeat.unit.clone().filter(|_| differ && has_range);
                    detail.unit = answer.unit.or_else(|| heartbeat.unit.clone());
                }
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
        let message = format!("{source}: {}", words.as_deref().unwrap_or(&value));
        let mut event =
            Self::new("poller", action::SENSOR_READING, &source, message, at).with(detail);
        event.new = Some(value);
        event.status = Some(String::from(status));
        event
    }

    /// Adds a word for something that a reader of this event must know.
    pub fn flag(&mut self, word: &str) {
        let flags = self.sealwire.get_or_insert_default().flags.get_or_insert_default();
        if !flags.is_empty() {
            flags.push(' ');
        }
        flags.push_str(word);
    }

    /// Due polls ended without a reading.
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

    /// Polls were due while the site was down. Their number is unknown, because the clock does not
    /// tell for how long.
    #[must_use]
    pub fn readings_uncounted(heartbeat: &Heartbeat, why: &str, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let detail = Detail {
            reason: Some(String::from(UNCOUNTED)),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let message = format!("{source}: an unknown number of polls is missing: {why}");
        Self::new("poller", action::READINGS_MISSING, &source, message, at).with(detail)
    }

    /// The sensor's own count did not increase by one: the next reading has the number `seq`, and
    /// the one before it had `last`.
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
                let words = format!("numbers {range} of its own count came late or never");
                (Some(range.to_string()), words)
            }
            SequenceBreak::Repeated => {
                (None, format!("number {seq} of its own count was repeated"))
            }
            SequenceBreak::Restarted => {
                (None, format!("its own count went back from {last} to {seq}"))
            }
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

    /// Some fields of `what` (the sensor's heartbeats or its answers) were invalid and left out;
    /// the rest was accepted.
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
        let message = format!("{source}: in its {what}, {reasons}");
        let detail =
            Detail { error: Some(reasons), sensor: Some(heartbeat.id), ..Detail::default() };
        Self::new("poller", action::FIELDS_LEFT_OUT, &source, message, at).with(detail)
    }

    /// An observation of a sensor by the poller other than a reading: one of the `SENSOR_*` and
    /// `HEARTBEAT_*` actions.
    #[must_use]
    pub fn sighting(action: &str, heartbeat: &Heartbeat, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let (words, with_heartbeat) = match action {
            action::SENSOR_DISCOVERED => ("discovered", true),
            action::SENSOR_CHANGED => ("its description changed", true),
            action::HEARTBEAT_MISSED => ("heartbeats stopped", false),
            action::HEARTBEAT_RESUMED => ("heartbeats resumed", false),
            action::SENSOR_DISCONNECTED => ("disconnected", false),
            action::SENSOR_FORGOTTEN => ("forgotten, because it never answered", false),
            action::POLLS_STRETCHED => ("polled less often, because it does not answer", false),
            action::POLLS_RESTORED => ("polled as often as it asks again", false),
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

    /// `count` heartbeats on a subject were refused; `newest` says why the newest was.
    #[must_use]
    pub fn heartbeats_refused(subject: &str, count: u64, newest: &str, at: Timestamp) -> Self {
        let message = match count {
            1 => format!("a heartbeat on {subject} was refused: {newest}"),
            _ => format!(
                "{count} heartbeats on {subject} were refused within a minute; the newest: {newest}"
            ),
        };
        let detail = Detail { error: Some(String::from(newest)), ..Detail::default() };
        Self::new("poller", action::HEARTBEATS_REFUSED, subject, message, at).with(detail)
    }

    /// Sensors ask for more polls than the site makes, so it polls none more often than every
    /// `shortest`. With `None`, it polls all sensors at the intervals they ask for again.
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
                    "sensors ask for {wished:.0} polls per second, but the limit is {polls_per_second}: no sensor is polled more often than every {} ms",
                    shortest.as_millis()
                ),
            ),
            None => (
                action::POLLS_RESTORED,
                String::from("all sensors are polled as often as they ask again"),
            ),
        };
        let mut event = Self::new("poller", action, "poller", message, at);
        event.new = shortest.map(|shortest| shortest.as_millis().to_string());
        event
    }

    /// A device reported a value of this series for the first time.
    #[must_use]
    pub fn series_discovered(series: &PushedSeries, topic: &str, at: Timestamp) -> Self {
        Self::series(action::SENSOR_DISCOVERED, series, (topic, "reports by itself"), at)
    }

    /// Another rule makes this series now, or the rule declares another interval.
    #[must_use]
    pub fn series_changed(series: &PushedSeries, topic: &str, at: Timestamp) -> Self {
        Self::series(action::SENSOR_CHANGED, series, (topic, "its rule changed"), at)
    }

    fn series(
        action: &str,
        series: &PushedSeries,
        (topic, words): (&str, &str),
        at: Timestamp,
    ) -> Self {
        let detail = Detail {
            heartbeat: Some(series.canonical()),
            topic: Some(String::from(topic)),
            ..Self::of_series(series)
        };
        let source = series.source();
        let message = format!("{source}: {words}");
        Self::new(PUSHING, action, &source, message, at).with(detail)
    }

    /// A reading that a device reported by itself.
    #[must_use]
    pub fn pushed(series: &PushedSeries, pushed: PushedValue, at: Timestamp) -> Self {
        let PushedValue { value, unit, sensor_time, device_time, message, flags, topic, interval } =
            pushed;
        let detail = Detail {
            device_time,
            flags,
            message_number: message,
            poll: interval,
            sensor_time,
            topic: Some(topic),
            unit,
            ..Self::of_series(series)
        };
        let source = series.source();
        let message = format!("{source}: {value}");
        let mut event =
            Self::new(PUSHING, action::SENSOR_READING, &source, message, at).with(detail);
        event.new = Some(value);
        event.status = Some(String::from(SUCCESS));
        event
    }

    /// Declared intervals of a series ended without a reading. `None` if their number is unknown;
    /// `why` then says why.
    #[must_use]
    pub fn intervals_missing(
        series: &PushedSeries,
        missing: Result<(NumberRange, MissingReason), &str>,
        at: Timestamp,
    ) -> Self {
        let source = series.source();
        let (numbers, reason, message) = match missing {
            Ok((numbers, reason)) => {
                let noun = if numbers.count() == 1 { "interval" } else { "intervals" };
                let message =
                    format!("{source}: {noun} {numbers} without a reading: {}", reason.words());
                (Some(numbers.to_string()), reason.as_str(), message)
            }
            Err(why) => {
                let message =
                    format!("{source}: an unknown number of intervals without a reading: {why}");
                (None, UNCOUNTED, message)
            }
        };
        let detail = Detail {
            missing: numbers,
            reason: Some(String::from(reason)),
            ..Self::of_series(series)
        };
        Self::new(PUSHING, action::READINGS_MISSING, &source, message, at).with(detail)
    }

    /// `count` messages on a topic were refused, wholly or in part; `newest` says why the newest
    /// was.
    #[must_use]
    pub fn pushes_refused(topic: &str, count: u64, newest: &str, at: Timestamp) -> Self {
        let message = match count {
            1 => format!("a message on {topic} was refused: {newest}"),
            _ => format!(
                "{count} messages on {topic} were refused within a minute; the newest: {newest}"
            ),
        };
        let detail = Detail { error: Some(String::from(newest)), ..Detail::default() };
        let source: String = topic.chars().take(SOURCE_CHARS_MAX).collect();
        Self::new(PUSHING, action::PUSHES_REFUSED, &source, message, at).with(detail)
    }

    pub(crate) fn of_series(series: &PushedSeries) -> Detail {
        Detail { rule: Some(series.rule.clone()), sensor: Some(series.id), ..Detail::default() }
    }

    /// An event that a component derived from a sealed one, or that it failed to.
    #[must_use]
    pub fn derived(derived: Derived, component: &str, at: Timestamp) -> Self {
        let detail = Detail {
            component: Some(String::from(component)),
            channel: derived.channel,
            from_leaf: Some(derived.from_leaf),
            sensor: Some(derived.sensor),
            since: derived.since,
            ..Detail::default()
        };
        let actor = if derived.action == action::NOT_JUDGED { "pipeline" } else { "sensor-reader" };
        let mut event =
            Self::new(actor, &derived.action, &derived.source, derived.message, at).with(detail);
        event.new = derived.value;
        event
    }

    /// A server has taken events of the log, or refused one; `detail` says which.
    #[must_use]
    pub fn mirror(
        action: &str,
        server: &str,
        message: String,
        detail: Detail,
        at: Timestamp,
    ) -> Self {
        let source: String = server.chars().take(SOURCE_CHARS_MAX).collect();
        Self::new("pangea-api", action, &source, message, at).with(detail)
    }

    /// Something that the site did or observed about itself. `source` names the part of the site.
    #[must_use]
    pub fn site(action: &str, source: &str, message: String, at: Timestamp) -> Self {
        Self::new("site", action, source, message, at)
    }

    pub(crate) fn new(
        actor: &str,
        action: &str,
        source: &str,
        message: String,
        at: Timestamp,
    ) -> Self {
        Self {
            action: Some(String::from(action)),
            actor: Some(String::from(actor)),
            message,
            source: Some(String::from(source)),
            timestamp: Some(at.to_string()),
            // `Some` even without fields: it marks the event as Sealwire's own. Events of programs
            // have `None`.
            sealwire: Some(Detail::default()),
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, detail: Detail) -> Self {
        self.sealwire = Some(detail);
        self
    }

    /// The sensor that this event is about, if any.
    #[must_use]
    pub fn sensor(&self) -> Option<SensorId> {
        self.sealwire.as_ref().and_then(|detail| detail.sensor)
    }
}
