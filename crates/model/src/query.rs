//! What the gateway asks of the site over NATS, and what comes back.
//!
//! A question is JSON on `sealwire.query.<name>`; the answer is a [`Reply`]. The gateway turns HTTP
//! into these and these into HTTP, and knows nothing else.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{sensor_id::SensorId, timestamp::Timestamp};

/// The site itself: name, keys, counters. The question is empty.
pub const SITE: &str = "sealwire.query.site";
/// All sensors. The question is empty.
pub const SENSORS: &str = "sealwire.query.sensors";
/// Readings of one sensor: [`ReadingsQuery`].
pub const READINGS: &str = "sealwire.query.readings";
/// A search of the log: [`LogsQuery`].
pub const LOGS: &str = "sealwire.query.logs";
/// A page of a search: [`ResultsQuery`].
pub const RESULTS: &str = "sealwire.query.results";
/// A leaf with its proof: [`ProofQuery`].
pub const PROOF: &str = "sealwire.query.proof";

/// What the site answers: the JSON the caller gets, or why not.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer, passed on as it is.
    Ok(Box<RawValue>),
    /// Why there is none.
    Error(QueryError),
}

/// Why a question has no answer, in words for whoever asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum QueryError {
    /// The question cannot be understood or asks for what is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The site cannot answer now.
    #[error("{0}")]
    Unavailable(String),
}

/// `GET /api/sensors/{id}/readings`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReadingsQuery {
    /// Which sensor.
    pub sensor: SensorId,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Up to but without this moment.
    pub to: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: u32,
    /// The whole span in at most so many points instead: its readings, or what they come to in
    /// buckets of one width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u32>,
}

impl ReadingsQuery {
    /// Most points of a plot: more than a screen has columns.
    pub const POINTS_MAX: u32 = 5_000;
    /// Fewest: no width of a bucket fits every span whole.
    pub const POINTS_MIN: u32 = 2;
    /// Most readings in one answer: about half a megabyte of JSON, and NATS carries one.
    pub const LIMIT_MAX: u32 = 5_000;
    /// Readings in an answer when no limit is named.
    pub const LIMIT_DEFAULT: u32 = 500;

    /// Reads the path's id and the query's `from`, `to` and `limit`, each already percent-decoded.
    pub fn parse<'a>(
        sensor: &str,
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let sensor = sensor.parse().map_err(invalid)?;
        let mut query =
            Self { sensor, from: None, to: None, limit: Self::LIMIT_DEFAULT, points: None };
        for (name, text) in parameters {
            match name {
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
                        "`{other}` is not a parameter: use `from`, `to`, and `limit` or `points`"
                    )));
                }
            }
        }
        Ok(query)
    }
}

/// `POST /api/logs`: all that is named must be met.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// The whole action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// From this moment on, by when the ledger received it: RFC 3339, or how long ago, such as
    /// `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// At most so many in the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Not this action: with readings left out, what is rare stands out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_action: Option<String>,
    /// Which come first; the newest where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<LogsOrder>,
    /// Words in Pangea's query language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// By the name of a field: its whole text is one of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restriction: BTreeMap<String, Vec<String>>,
    /// A part of the source, case-sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The whole status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Up to but without this moment, written as `from` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Which events of a search come first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogsOrder {
    /// Those received first.
    Asc,
    /// Those received last.
    Desc,
}

/// Most events in one page of a search.
pub const EVENTS_LIMIT_MAX: u32 = 500;
/// Events in a page when no limit is named.
pub const EVENTS_LIMIT_DEFAULT: u32 = 50;

impl LogsQuery {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: Self = serde_json::from_slice(body).map_err(invalid)?;
        events_limit(query.limit)?;
        Ok(query)
    }
}

/// `POST /api/results`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsQuery {
    /// Which search, as its answer named it.
    pub id: String,
    /// Events to pass over.
    #[serde(default)]
    pub offset: u64,
    /// At most so many.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl ResultsQuery {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let query: Self = serde_json::from_slice(body).map_err(invalid)?;
        events_limit(query.limit)?;
        Ok(query)
    }
}

/// `GET /api/proof/{leaf}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProofQuery {
    /// Which leaf.
    pub leaf: u64,
}

impl ProofQuery {
    /// Reads the leaf of a path.
    pub fn parse(leaf: &str) -> Result<Self, QueryError> {
        match leaf.parse() {
            Ok(leaf) => Ok(Self { leaf }),
            Err(_) => Err(QueryError::Invalid(format!(
                "`{leaf}` is not a leaf: use its index, a whole number from 0"
            ))),
        }
    }
}

/// How many events a page of a search holds.
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
            ("form", "x", "`form` is not a parameter: use `from`, `to`, and `limit` or `points`"),
        ] {
            let error = ReadingsQuery::parse(SENSOR, core::iter::once((name, text))).unwrap_err();
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
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let query = ReadingsQuery::parse(SENSOR, core::iter::empty()).unwrap();
        assert_eq!((query.limit, query.from, query.to), (500, None, None));
        assert_eq!(LogsQuery::parse(b"{}").unwrap(), LogsQuery::default());
    }
}
