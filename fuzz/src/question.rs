//! Questions of the gateway over NATS, and the paths and parameters that it makes them of: what is
//! taken is within its limits and is asked again as it was.

use std::fmt::Debug;

use model::query::{
    EVENTS_LIMIT_MAX, LogsQuery, ProofQuery, ReadingsQuery, ResultsQuery, events_limit,
};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn run(text: &str) {
    if let Ok(query) = LogsQuery::parse(text.as_bytes()) {
        assert!(events_limit(query.limit).unwrap() <= EVENTS_LIMIT_MAX);
        is_asked_again(&query);
    }
    if let Ok(query) = ResultsQuery::parse(text.as_bytes()) {
        assert!(events_limit(query.limit).unwrap() <= EVENTS_LIMIT_MAX);
        is_asked_again(&query);
    }
    if let Ok(query) = serde_json::from_str::<ReadingsQuery>(text) {
        is_asked_again(&query);
    }
    if let Ok(query) = ProofQuery::parse(text) {
        is_asked_again(&query);
    }
    let (sensor, parameters) = text.split_once('?').unwrap_or((text, ""));
    let parameters = parameters.split('&').filter_map(|parameter| parameter.split_once('='));
    if let Ok(query) = ReadingsQuery::parse(sensor, parameters) {
        assert!((1..=ReadingsQuery::LIMIT_MAX).contains(&query.limit));
        let points = ReadingsQuery::POINTS_MIN..=ReadingsQuery::POINTS_MAX;
        assert!(query.points.is_none_or(|number| points.contains(&number)));
        is_asked_again(&query);
    }
}

fn is_asked_again<Q: Debug + DeserializeOwned + PartialEq + Serialize>(query: &Q) {
    let json = serde_json::to_vec(query).unwrap();
    assert_eq!(serde_json::from_slice::<Q>(&json).unwrap(), *query);
}
