//! What can be searched for: Pangea's query language, restrictions to whole values, a window of
//! time.

use std::{collections::BTreeMap, ops::Range};

use model::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use crate::field::Field;

/// A search of the log. The default finds every event, newest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Search {
    /// What the events say.
    pub query: Query,
    /// For each field that is named: its whole text is one of these.
    pub restriction: BTreeMap<Field, Vec<String>>,
    /// For each field that is named: its whole text is none of these.
    pub exclusion: BTreeMap<Field, Vec<String>>,
    /// When the ledger received them: from the first moment on, up to but without the second.
    pub window: (Option<Timestamp>, Option<Timestamp>),
    /// Which come first.
    pub order: ResultOrder,
    /// Only leaves before this one: a later page is of the same log as the first.
    pub end: u64,
    /// Events that are counted and can be paged to; what is beyond them is not looked for.
    pub results_max: u32,
}

/// Which events come first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultOrder {
    /// Those received first.
    OldestFirst,
    /// Those received last.
    #[default]
    NewestFirst,
}

impl Search {
    /// Most results of one search, and how many there are unless fewer are asked for: what Pangea's
    /// contract allows.
    pub const RESULTS_MAX: u32 = 10_000;

    /// Whether an event with this text is found, leaving out window and end.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let is_one_of = |field: &Field, values: &[String]| {
            field.text(event).is_some_and(|text| values.iter().any(|value| *value == text))
        };
        self.query.matches(event)
            && self.restriction.iter().all(|(field, values)| is_one_of(field, values))
            && !self.exclusion.iter().any(|(field, values)| is_one_of(field, values))
    }
}

impl Default for Search {
    fn default() -> Self {
        Self {
            query: Query::default(),
            restriction: BTreeMap::new(),
            exclusion: BTreeMap::new(),
            window: (None, None),
            order: ResultOrder::default(),
            end: u64::MAX,
            results_max: Self::RESULTS_MAX,
        }
    }
}

/// Words that an event must contain, all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Query {
    /// In no order.
    pub words: Vec<Word>,
}

/// A text that an event must contain, as it is written: case counts.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Word {
    /// In this field; without one, in any.
    pub field: Option<Field>,
    /// What is contained.
    pub text: String,
}

impl Query {
    /// Most words of a query; each is looked up.
    pub const WORDS_MAX: usize = 32;

    /// Reads Pangea's query language: words between spaces, each with a field and a colon before it
    /// if only that field counts. A word in double quotes may hold spaces. What stands before a
    /// colon and is no field's name is part of the word; there is no way to escape a quotation
    /// mark. `is_custom` tells the names of custom fields.
    ///
    /// # Errors
    /// A quotation has no end, or there are too many words.
    pub fn parse(text: &str, is_custom: impl Fn(&str) -> bool) -> Result<Self, InvalidQuery> {
        let mut words = Vec::new();
        let mut words_left = Self::WORDS_MAX;
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            words_left = words_left.checked_sub(1).ok_or(InvalidQuery::TooMany)?;
            let (field, word) = match rest.split_once(':') {
                Some((name, word)) => match name.parse() {
                    Ok(field) => (Some(field), word),
                    Err(_) if is_custom(name) => (Some(Field::Custom(name.to_owned())), word),
                    Err(_) => (None, rest),
                },
                None => (None, rest),
            };
            let (word, after) = match word.strip_prefix('"') {
                Some(quoted) => quoted
                    .split_once('"')
                    .ok_or_else(|| InvalidQuery::Unended(quoted.chars().take(64).collect()))?,
                None => word.split_at(word.find(char::is_whitespace).unwrap_or(word.len())),
            };
            rest = after.trim_start();
            // Every event contains nothing; only `field:` says something, that the field is there.
            if field.is_some() || !word.is_empty() {
                words.push(Word { field, text: word.to_owned() });
            }
        }
        Ok(Self { words })
    }

    /// Whether the event contains all words.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let contains = |field: &Field, word: &Word| {
            field.text(event).is_some_and(|text| text.contains(&word.text))
        };
        let custom = || event.custom.keys().map(|name| Field::Custom(name.clone()));
        self.words.iter().all(|word| match &word.field {
            Some(field) => contains(field, word),
            None => {
                Field::STANDARD.iter().any(|field| contains(field, word))
                    || custom().any(|field| contains(&field, word))
            }
        })
    }
}

/// Why a text is not a query.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidQuery {
    /// A quotation mark without its other.
    #[error("the quotation `\"{0}` has no end: close it with \"")]
    Unended(String),
    /// Too many words.
    #[error(
        "the query has more than {max} words: leave some out, or quote what stands side by side",
        max = Query::WORDS_MAX
    )]
    TooMany,
}

/// Reads a moment: RFC 3339, or how long before `now` it is, as [`Timestamp::back`] takes it.
///
/// # Errors
/// It is neither.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, InvalidMoment> {
    let named = || text.parse().map_err(|_| InvalidMoment(text.chars().take(64).collect()));
    now.back(text).map_or_else(named, Ok)
}

/// Why a text is not a moment.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a moment: use RFC 3339 such as 2026-11-23T19:01:23Z, or how long ago it was, such as 7d, 12h, 30m or 45s"
)]
pub struct InvalidMoment(String);

/// What a search found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// The leaves of one page, in the order that was asked for.
    pub leaves: Vec<u64>,
    /// How many events match, of all pages.
    pub count: u64,
    /// There are at least so many, and perhaps more: looking for them was given up at
    /// [`Search::results_max`], or because too many events had to be read.
    pub count_is_lower_bound: bool,
}

/// Which of the results are wanted.
pub(crate) fn places_of_page(offset: u64, limit: u32) -> Range<u64> {
    offset..offset.saturating_add(u64::from(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_with_fields_and_quotations() {
        let words = |text: &str| {
            let query = Query::parse(text, |name| name == "shift").unwrap();
            let pair = |word: Word| (word.field, word.text);
            query.words.into_iter().map(pair).collect::<Vec<_>>()
        };
        let word = |field, text: &str| (field, text.to_owned());
        for (text, expected) in [
            ("", vec![]),
            ("  a  b ", vec![word(None, "a"), word(None, "b")]),
            ("\"search text\"", vec![word(None, "search text")]),
            (
                "actor:\"Jane Doe\" sent",
                vec![word(Some(Field::Actor), "Jane Doe"), word(None, "sent")],
            ),
            ("new:1:2", vec![word(Some(Field::New), "1:2")]),
            ("12:30 http://x", vec![word(None, "12:30"), word(None, "http://x")]), // no field's name
            ("shift:night", vec![word(Some(Field::Custom("shift".into())), "night")]),
            ("a b:c", vec![word(None, "a"), word(None, "b:c")]),
            ("it\"s \\\"", vec![word(None, "it\"s"), word(None, "\\\"")]), // only at the start of a word
            ("\"\" target:", vec![word(Some(Field::Target), "")]),
            ("\"a\"b", vec![word(None, "a"), word(None, "b")]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        let error = Query::parse("actor:\"Jane", |_| false).unwrap_err().to_string();
        assert!(error.contains("`\"Jane` has no end"), "{error}");
        assert_eq!(Query::parse(&"a ".repeat(32), |_| false).unwrap().words.len(), 32);
        for word in ["a ", "\"\""] {
            let error = Query::parse(&word.repeat(33), |_| false).unwrap_err().to_string();
            assert!(error.contains("more than 32 words"), "{error}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_unix_micros(1_000_000_000_000);
        assert_eq!(moment("45s", now).unwrap().unix_micros(), 999_955_000_000);
        assert_eq!(moment("1970-01-01T00:00:01Z", now).unwrap().unix_micros(), 1_000_000);
        for text in ["", "d", "-1d", "7ö", "yesterday"] {
            assert!(moment(text, now).unwrap_err().to_string().contains("7d, 12h"), "{text}");
        }
    }
}
