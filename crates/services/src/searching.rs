//! Translates searches from the HTTP API into searches of the index, and reads events for
//! conditions that the index cannot decide alone.

use std::{collections::BTreeMap, error::Error};

use index::{Field, Query, ResultOrder, Search, Word};
use ledger::{Ledger, StoredEnvelope};
use model::{
    Envelope, Event, Timestamp,
    query::{LogsOrder, LogsQuery, QueryError},
};

/// Events read at once: those of one block of the log.
const RUN_LEN: usize = 256;
/// Bytes of envelopes read at once.
const RUN_BYTES_MAX: usize = 1 << 20;

/// Translates a query into a search of the leaves before `end`. `is_custom` tells whether a name is
/// a custom field.
pub fn search_of(
    logs: LogsQuery,
    is_custom: impl Fn(&str) -> bool,
    end: u64,
    now: Timestamp,
) -> Result<Search, QueryError> {
    let mut query = Query::parse(logs.query.as_deref().unwrap_or_default(), &is_custom)
        .map_err(|error| named("query", &error))?;
    query.words.extend(logs.source.map(|text| Word { field: Some(Field::Source), text }));
    let mut restriction = BTreeMap::new();
    for (name, values) in logs.restriction {
        let field = match name.parse() {
            Err(_) if is_custom(&name) => Field::Custom(name),
            parsed => parsed.map_err(|error| named("restriction", &error))?,
        };
        restriction.insert(field, values);
    }
    let mut only = |field: Field, value: Option<String>| {
        let Some(value) = value else { return };
        let values = restriction.entry(field).or_insert_with(|| vec![value.clone()]);
        values.retain(|other| *other == value);
    };
    only(Field::Action, logs.action);
    only(Field::Status, logs.status);
    let moment = |name: &str, text: Option<String>| {
        let moment = text.map(|text| index::moment(&text, now)).transpose();
        moment.map_err(|error| named(name, &error))
    };
    Ok(Search {
        query,
        restriction,
        exclusion: logs
            .not_action
            .map(|action| (Field::Action, vec![action]))
            .into_iter()
            .collect(),
        window: (moment("from", logs.from)?, moment("to", logs.to)?),
        order: match logs.order {
            Some(LogsOrder::Asc) => ResultOrder::OldestFirst,
            Some(LogsOrder::Desc) | None => ResultOrder::NewestFirst,
        },
        end,
        ..Search::default()
    })
}

fn named(name: &str, error: &dyn Error) -> QueryError {
    QueryError::Invalid(format!("`{name}`: {error}"))
}

/// Reads single events of the log. Reads a whole block at once, because a search asks for events
/// near each other.
#[derive(Debug)]
pub struct Events<'a> {
    ledger: &'a Ledger,
    run: Vec<StoredEnvelope>,
}

impl<'a> Events<'a> {
    /// Reads events of this log.
    pub const fn of(ledger: &'a Ledger) -> Self {
        Self { ledger, run: Vec::new() }
    }

    /// The event at a leaf; `None` if it was erased.
    pub fn read(&mut self, leaf: u64) -> Result<Option<Event>, Box<dyn Error + Send + Sync>> {
        let is_in = |run: &[StoredEnvelope]| run.iter().any(|stored| stored.leaf == leaf);
        if !is_in(&self.run) {
            let first = leaf - leaf % RUN_LEN as u64;
            self.run = self.ledger.envelopes(first, RUN_LEN, RUN_BYTES_MAX)?;
        }
        if !is_in(&self.run) {
            self.run = self.ledger.envelopes(leaf, 1, usize::MAX)?;
        }
        let stored = self.run.iter().find(|stored| stored.leaf == leaf);
        let bytes = stored.and_then(|stored| stored.bytes.as_deref());
        Ok(bytes.map(Envelope::parse).transpose()?.map(|envelope| envelope.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_can_be_restricted_that_events_have() {
        let search = |field: &str| {
            let restriction = BTreeMap::from([(field.to_owned(), vec![String::from("a b")])]);
            let logs = LogsQuery { restriction, ..LogsQuery::default() };
            search_of(logs, |name| name == "batch", 7, Timestamp::from_unix_micros(0))
        };
        for field in Field::STANDARD.into_iter().chain([Field::Custom("batch".to_owned())]) {
            let restriction = search(field.name()).unwrap().restriction;
            assert_eq!(restriction, BTreeMap::from([(field, vec![String::from("a b")])]));
        }
        let QueryError::Invalid(words) = search("colour").unwrap_err() else { panic!("not found") };
        assert!(words.starts_with("`restriction`: `colour` is not a field"), "{words}");
    }
}
