//! Questions that the gateway sends to the site over NATS, and the site's replies.
//!
//! A question has an [`Address`], which says what is asked and of which log, and a body in JSON.
//! The site answers with a [`Reply`]. The gateway only translates between HTTP and these messages.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{log_id::LogId, sensor_id::SensorId, sensor_state::SensorState, timestamp::Timestamp};

/// NATS subject of all questions.
pub const SUBJECT: &str = "sealwire.query.*.*";
/// What every address begins with.
const PREFIX: &str = "sealwire.query.";
/// The log's part of an address that names no log.
const OWN: &str = "own";
/// The address of [`Address::Logs`], after the prefix.
const LOGS: &str = "all.logs";

/// Whom a question asks. It is the question's NATS subject: `sealwire.query.<log>.<question>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// The site: which logs it answers for. The body is empty.
    Logs,
    /// A log.
    Log {
        /// The log's id; `None` is the log of the site that answers, `own` in the subject.
        log: Option<LogId>,
        /// What is asked.
        question: Question,
    },
}

/// What can be asked of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// The name of the log's site, its keys and counters. The body is empty.
    Site,
    /// A page of the sensors: a [`SensorsQuery`].
    Sensors,
    /// Readings of one sensor: a [`ReadingsQuery`].
    Readings,
    /// A search: a [`LogsQuery`].
    Search,
    /// A page of a search: a [`ResultsQuery`].
    Results,
    /// A leaf and its proof: a [`ProofQuery`].
    Proof,
    /// What devices were refused: a [`RefusalsQuery`].
    Refusals,
    /// How far the log is mirrored. The body is empty.
    Mirror,
    /// A search of the copy that the mirror's server has: a [`MirrorSearchQuery`].
    MirrorSearch,
}

impl Question {
    /// All questions, each with its name in an address.
    const NAMES: [(Self, &str); 9] = [
        (Self::Site, "site"),
        (Self::Sensors, "sensors"),
        (Self::Readings, "readings"),
        (Self::Search, "search"),
        (Self::Results, "results"),
        (Self::Proof, "proof"),
        (Self::Refusals, "refusals"),
        (Self::Mirror, "mirror"),
        (Self::MirrorSearch, "mirror-search"),
    ];

    fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(question, _)| *question == self);
        named.expect("every question has a name").1
    }
}

impl Address {
    /// Parses a subject.
    ///
    /// # Errors
    /// The subject names no question, or its log is not a [`LogId`].
    pub fn parse(subject: &str) -> Result<Self, QueryError> {
        let no_question =
            || QueryError::NotFound(format!("there is no query on the subject `{subject}`"));
        let parts = subject.strip_prefix(PREFIX).ok_or_else(no_question)?;
        if parts == LOGS {
            return Ok(Self::Logs);
        }
        let (log, name) = parts.split_once('.').ok_or_else(no_question)?;
        let log = if log == OWN { None } else { Some(log.parse().map_err(invalid)?) };
        let named = Question::NAMES.iter().find(|(_, known)| *known == name);
        let (question, _) = named.ok_or_else(no_question)?;
        Ok(Self::Log { log, question: *question })
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (log, question) = match self {
            Self::Logs => return write!(formatter, "{PREFIX}{LOGS}"),
            Self::Log { log, question } => (log, question.name()),
        };
        match log {
            Some(log) => write!(formatter, "{PREFIX}{log}.{question}"),
            None => write!(formatter, "{PREFIX}{OWN}.{question}"),
        }
    }
}

/// The site's reply: JSON for the HTTP client, or an error.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer, which the gateway passes on unchanged.
    Ok(Box<RawValue>),
    /// Why the site has no answer.
    Error(QueryError),
}

/// Why a question has no answer. The message is for the HTTP client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum QueryError {
    /// The question is malformed, or asks for more than is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The object that the question names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The site cannot answer now.
    #[error("{0}")]
    Unavailable(String),
}

/// Body of [`Question::Sensors`]: a sensor must meet every condition that is set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SensorsQuery {
    /// Words that the sensor's name, location, quantity or id must contain, in any case.
    pub text: Option<String>,
    /// The sensor's location equals this text.
    pub location: Option<String>,
    /// The sensor is in this state.
    pub state: Option<SensorState>,
    /// The sensor needs attention.
    pub attention: bool,
    /// The sensor has this id.
    pub id: Option<SensorId>,
    /// Order of the sensors.
    pub order: SensorsOrder,
    /// Where an earlier page ended, as its `next` said.
    pub cursor: Option<String>,
    /// Number of sensors to skip, after the cursor if there is one.
    pub offset: u32,
    /// Most sensors in the answer.
    pub limit: u32,
    /// Whether the answer lists all locations.
    pub locations: bool,
}

/// Order of a list of sensors.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorsOrder {
    /// By location, then name.
    #[default]
    Location,
    /// By name, then location.
    Alias,
}

impl Default for SensorsQuery {
    fn default() -> Self {
        Self {
            text: None,
            location: None,
            state: None,
            attention: false,
            id: None,
            order: SensorsOrder::default(),
            cursor: None,
            offset: 0,
            limit: Self::LIMIT_MAX,
            locations: false,
        }
    }
}

impl SensorsQuery {
    /// Most sensors in one answer, and their number if the question names no limit: about half a
    /// megabyte of JSON.
    pub const LIMIT_MAX: u32 = 500;
    /// Longest text, in bytes.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// Parses the query parameters, each already percent-decoded.
    ///
    /// # Errors
    /// A parameter is unknown, invalid or out of bounds.
    pub fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, text) in parameters {
            match name {
                "text" if text.len() <= Self::TEXT_BYTES_MAX => query.text = Some(text.into()),
                "text" => {
                    let (has, most) = (text.len(), Self::TEXT_BYTES_MAX);
                    return Err(QueryError::Invalid(format!(
                        "`text` has {has} bytes: use at most {most}"
                    )));
                }
                "location" => query.location = Some(text.into()),
                "state" => query.state = Some(one_of(name, text, &SensorState::NAMES)?),
                "attention" => query.attention = one_of(name, text, &YES_OR_NO)?,
                "id" => query.id = Some(text.parse().map_err(|error| named("id", error))?),
                "order" => query.order = one_of(name, text, &SensorsOrder::NAMES)?,
                "cursor" => query.cursor = Some(text.into()),
                "offset" => {
                    query.offset = between("offset", text.parse().ok(), text, (0, u32::MAX))?;
                }
                "limit" => {
                    query.limit = between("limit", text.parse().ok(), text, (1, Self::LIMIT_MAX))?;
                }
                "locations" => query.locations = one_of(name, text, &YES_OR_NO)?,
                other => {
                    return Err(QueryError::Invalid(format!(
                        "`{other}` is not a parameter: use `text`, `location`, `state`, \
                         `attention`, `id`, `order`, `cursor`, `offset`, `limit` or `locations`"
                    )));
                }
            }
        }
        Ok(query)
    }
}

impl SensorsOrder {
    const NAMES: [(&'static str, Self); 2] = [("location", Self::Location), ("alias", Self::Alias)];
}

const YES_OR_NO: [(&str, bool); 2] = [("true", true), ("false", false)];

/// The value with this name.
fn one_of<T: Copy>(parameter: &str, text: &str, all: &[(&str, T)]) -> Result<T, QueryError> {
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
        QueryError::Invalid(format!("`{parameter}` is `{text}`: use {}", names.join(" or ")))
    })
}

/// Body of [`Question::Readings`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReadingsQuery {
    /// The sensor whose readings are asked for.
    pub sensor: SensorId,
    /// The channel whose values are asked for, of a sensor with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only readings taken at or after this time.
    pub from: Option<Timestamp>,
    /// Only readings taken before this time.
    pub to: Option<Timestamp>,
    /// Most readings in the answer; the newest are kept.
    pub limit: u32,
    /// If set, the answer covers the whole span with at most this many points: its readings, or
    /// summaries of them in buckets of equal width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

impl ReadingsQuery {
    /// Most points of a plot: more than a screen has columns.
    pub const POINTS_MAX: u32 = 5_000;
    /// Fewest points of a plot. With one point, no bucket width fits every span.
    pub const POINTS_MIN: u32 = 2;
    /// Most readings in one answer: about half a megabyte of JSON, which one NATS message carries.
    pub const LIMIT_MAX: u32 = 5_000;
    /// Number of readings in an answer if the question names no limit.
    pub const LIMIT_DEFAULT: u32 = 500;

    /// Parses the id in the path and the query parameters, each already percent-decoded.
    ///
    /// # Errors
    /// The id is not a UUID, or a parameter is unknown, invalid or out of bounds.
    pub fn parse<'a>(
        sensor: &str,
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let sensor = sensor.parse().map_err(invalid)?;
        let mut query = Self {
            sensor,
            channel: None,
            from: None,
            to: None,
            limit: Self::LIMIT_DEFAULT,
            points: None,
        };
        for (name, text) in parameters {
            match name {
                "channel" => query.channel = Some(String::from(text)),
                "from" => query.from = Some(text.parse().map_err(|error| named("from", error))?),
                "to" => query.to = Some(text.parse().map_err(|error| named("to", error))?),
                "limit" => {
                    query.limit = between("limit", text.parse().ok(), text, (1, Self::LIMIT_MAX))?;
                }
                "points" => {
                    let range = (Self::POINTS_MIN, Self::POINTS_MAX);
                    query.points = Some(between("points", text.parse().ok(), text, range)?);
                }
                other => {
                    return Err(QueryError::Invalid(format!(
                        "`{other}` is not a parameter: use `channel`, `from`, `to`, and `limit` or `points`"
                    )));
                }
            }
        }
        Ok(query)
    }
}

/// Body of [`Question::Search`]: an event must meet every condition that is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// The event's action equals this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The ledger received the event at or after this time: RFC 3339, or a time span before now
    /// such as `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Most events in the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The event's action differs from this text. Excluding readings makes rare events visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_action: Option<String>,
    /// Order of the events; newest first if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<LogsOrder>,
    /// Search in Pangea's query language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// For each named field, the event's value equals one of these texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restriction: BTreeMap<String, Vec<String>>,
    /// The event's source contains this text, case-sensitively.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The event's status equals this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The ledger received the event before this time, written like `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Order of the events of a search, by the time at which the ledger received them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogsOrder {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Most events in one page of a search.
pub const EVENTS_LIMIT_MAX: u32 = 500;
/// Number of events in a page if the question names no limit.
pub const EVENTS_LIMIT_DEFAULT: u32 = 50;

impl LogsQuery {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// The body is not such a question, or its limit is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: Self = serde_json::from_slice(body).map_err(invalid)?;
        events_limit(query.limit)?;
        Ok(query)
    }
}

/// Body of [`Question::Results`]: a page of an earlier search.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsQuery {
    /// The search, by the id that its answer gave.
    pub id: String,
    /// Number of events to skip.
    #[serde(default)]
    pub offset: u64,
    /// Most events in the page.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl ResultsQuery {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// The body is not such a question, or its limit is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: Self = serde_json::from_slice(body).map_err(invalid)?;
        events_limit(query.limit)?;
        Ok(query)
    }
}

/// Body of [`Question::Proof`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProofQuery {
    /// Index of the leaf.
    pub leaf: u64,
}

impl ProofQuery {
    /// Parses the leaf index in a path.
    ///
    /// # Errors
    /// The text is not a number.
    pub fn parse(leaf: &str) -> Result<Self, QueryError> {
        match leaf.parse() {
            Ok(leaf) => Ok(Self { leaf }),
            Err(_) => Err(QueryError::Invalid(format!(
                "`{leaf}` is not a leaf: use a whole number from 0 on"
            ))),
        }
    }
}

/// Body of [`Question::MirrorSearch`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSearchQuery {
    /// Query in the language of the server.
    #[serde(default)]
    pub query: String,
    /// Most events in the answer.
    #[serde(default = "MirrorSearchQuery::limit_by_default")]
    pub limit: u32,
}

impl MirrorSearchQuery {
    /// Longest query in bytes: longer than a person types.
    pub const QUERY_BYTES_MAX: usize = 4_096;
    /// Most events in one answer: their envelopes and proofs fit into a message.
    pub const LIMIT_MAX: u32 = 100;

    const fn limit_by_default() -> u32 {
        20
    }

    /// Parses the body of a request.
    ///
    /// # Errors
    /// It is not JSON with these fields, or asks for more than is allowed.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: Self = serde_json::from_slice(body).map_err(invalid)?;
        if query.query.len() > Self::QUERY_BYTES_MAX {
            let max = Self::QUERY_BYTES_MAX;
            return Err(named("query", format!("it has more than {max} bytes")));
        }
        if !(1..=Self::LIMIT_MAX).contains(&query.limit) {
            let words = format!("it is {}; use 1 to {}", query.limit, Self::LIMIT_MAX);
            return Err(named("limit", words));
        }
        Ok(query)
    }
}

/// Body of [`Question::Refusals`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RefusalsQuery {
    /// Only those of the device whose credential covers this sensor.
    pub sensor: Option<SensorId>,
}

impl RefusalsQuery {
    /// Most kinds of refusals in one answer, the newest: as many as a person reads.
    pub const KINDS_MAX: usize = 100;
    /// Most sensors of one credential that are named beside a refusal.
    pub const SENSORS_MAX: usize = 8;

    /// Parses the query parameters, each already percent-decoded.
    ///
    /// # Errors
    /// A parameter is unknown or invalid.
    pub fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, text) in parameters {
            match name {
                "sensor" => {
                    query.sensor = Some(text.parse().map_err(|error| named("sensor", error))?);
                }
                other => {
                    return Err(QueryError::Invalid(format!(
                        "`{other}` is not a parameter: use `sensor`"
                    )));
                }
            }
        }
        Ok(query)
    }
}

/// The number of events in a page: the named limit, or the default.
///
/// # Errors
/// The named limit is not between 1 and [`EVENTS_LIMIT_MAX`].
pub fn events_limit(limit_named: Option<u32>) -> Result<u32, QueryError> {
    let named = limit_named.unwrap_or(EVENTS_LIMIT_DEFAULT);
    between("limit", Some(named), &named.to_string(), (1, EVENTS_LIMIT_MAX))
}

fn between(
    name: &str,
    number: Option<u32>,
    text: &str,
    (least, most): (u32, u32),
) -> Result<u32, QueryError> {
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| QueryError::Invalid(format!("`{name}` is {text}: use {least} to {most}")))
}

fn invalid(error: impl core::fmt::Display) -> QueryError {
    QueryError::Invalid(error.to_string())
}

fn named(name: &str, error: impl core::fmt::Display) -> QueryError {
    QueryError::Invalid(format!("`{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";

    #[test]
    fn refusals_name_the_parameter_and_what_is_allowed() {
        for (name, text, words) in [
            ("limit", "0", "`limit` is 0: use 1 to 5000"),
            ("limit", "many", "`limit` is many: use 1 to 5000"),
            ("from", "noon", "`from`: `noon` is not a time: use RFC 3339"),
            ("points", "1", "`points` is 1: use 2 to 5000"),
            (
                "form",
                "x",
                "`form` is not a parameter: use `channel`, `from`, `to`, and `limit` or `points`",
            ),
        ] {
            let error = ReadingsQuery::parse(SENSOR, core::iter::once((name, text))).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let long = "x".repeat(257);
        for (name, text, words) in [
            ("limit", "501", "`limit` is 501: use 1 to 500"),
            (
                "state",
                "gone",
                "`state` is `gone`: use `online` or `expected` or `lost` or `disconnected` or `retired`",
            ),
            ("attention", "1", "`attention` is `1`: use `true` or `false`"),
            ("order", "size", "`order` is `size`: use `location` or `alias`"),
            ("id", "7", "`id`: "),
            ("offset", "-1", "`offset` is -1"),
            ("after", "x", "`after` is not a parameter: use `text`"),
            ("text", long.as_str(), "`text` has 257 bytes: use at most 256"),
        ] {
            let error = SensorsQuery::parse(core::iter::once((name, text))).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(
            ReadingsQuery::parse("7", core::iter::empty())
                .unwrap_err()
                .to_string()
                .contains("UUID")
        );
        assert!(
            LogsQuery::parse(br#"{"acton":"X"}"#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `acton`")
        );
        assert_eq!(
            LogsQuery::parse(br#"{"limit":501}"#).unwrap_err().to_string(),
            "`limit` is 501: use 1 to 500"
        );
        assert!(ProofQuery::parse("-1").is_err());
        for (name, text) in [("sensor", "7"), ("limit", "7")] {
            assert!(RefusalsQuery::parse(core::iter::once((name, text))).is_err(), "{name}");
        }
    }

    #[test]
    fn an_address_says_which_log_is_asked() {
        let log = LogId::from_sha256([0xa7; LogId::LEN]);
        let mut subjects = vec![("all.logs".to_owned(), Address::Logs)];
        for (question, name) in Question::NAMES {
            subjects.push((format!("own.{name}"), Address::Log { log: None, question }));
            subjects.push((format!("{log}.{name}"), Address::Log { log: Some(log), question }));
        }
        for (subject, address) in subjects {
            let subject = format!("{PREFIX}{subject}");
            assert_eq!((address.to_string(), Address::parse(&subject)), (subject, Ok(address)));
        }
        for (subject, words) in [
            ("sealwire.query.own.nothing", "no query"),
            ("sealwire.query.site", "no query"),
            ("sealwire.query.own.logs", "no query"),
            ("sealwire.query.OWN.site", "64 hex digits"),
            ("own.site", "no query"),
        ] {
            let refusal = Address::parse(subject).unwrap_err().to_string();
            assert!(refusal.contains(words), "{subject}: {refusal}");
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let query = ReadingsQuery::parse(SENSOR, core::iter::empty()).unwrap();
        assert_eq!((query.limit, query.from, query.to), (500, None, None));
        assert_eq!(LogsQuery::parse(b"{}").unwrap(), LogsQuery::default());
        assert_eq!(SensorsQuery::parse(core::iter::empty()).unwrap(), SensorsQuery::default());
    }
}
