//! What a search may contain: Pangea's query language, restrictions to whole values, and a time
//! window.

use std::{collections::BTreeMap, ops::Range};

use model::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use crate::field::Field;

/// A search of the log. The default finds every event, newest first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Search {
    /// Words that the events must contain.
    pub query: Query,
    /// For each named field, the event's value must equal one of these texts.
    pub restriction: BTreeMap<Field, Vec<String>>,
    /// For each named field, the event's value must equal none of these texts.
    pub exclusion: BTreeMap<Field, Vec<String>>,
    /// When the ledger received the events: at or after the first time, and before the second.
    pub window: (Option<Timestamp>, Option<Timestamp>),
    /// Order of the results.
    pub order: ResultOrder,
    /// Search only leaves before this one. It keeps a later page consistent with the first.
    pub end: u64,
    /// Most events that are counted and can be paged to. The search stops there.
    pub results_max: u32,
}

/// Order of the results by receipt time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultOrder {
    /// Oldest first.
    OldestFirst,
    /// Newest first.
    #[default]
    NewestFirst,
}

impl Search {
    /// Most results of one search, and the default. Pangea's contract sets this limit.
    pub const RESULTS_MAX: u32 = 10_000;

    /// Whether a search finds an event, by its text alone: this ignores `window` and `end`.
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

/// Words, all of which an event must contain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Query {
    /// The words, in any order.
    pub words: Vec<Word>,
}

/// A text that an event must contain. Case matters.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Word {
    /// The field that must contain the text; `None` for any field.
    pub field: Option<Field>,
    /// The text to find.
    pub text: String,
}

impl Query {
    /// Most words of a query. Each costs a lookup.
    pub const WORDS_MAX: usize = 32;

    /// Parses Pangea's query language: words separated by spaces. A field name and a colon before a
    /// word restrict it to that field. A word in double quotes may contain spaces. If the text
    /// before a colon is not a field's name, it is part of the word. A quotation mark cannot be
    /// escaped. `is_custom` tells whether a name is that of a custom field.
    ///
    /// # Errors
    /// A quotation is not closed, or there are too many words.
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
            // Every event contains the empty text. But `field:` means that the field must be
            // present.
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

/// Reason why a text is not a query.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidQuery {
    /// A quotation mark has no counterpart.
    #[error("the quotation `\"{0}` is not closed: end it with \"")]
    Unended(String),
    /// The query has too many words.
    #[error(
        "the query has more than {max} words: leave some out, or quote phrases",
        max = Query::WORDS_MAX
    )]
    TooMany,
}

/// Parses a time: RFC 3339, or a span before `now` as [`Timestamp::back`] takes it.
///
/// # Errors
/// The text is neither of them.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, InvalidMoment> {
    let named = || text.parse().map_err(|_| InvalidMoment(text.chars().take(64).collect()));
    now.back(text).map_or_else(named, Ok)
}

/// Reason why a text is not a time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a time: use RFC 3339 such as 2026-11-23T19:01:23Z, or how long ago, such as 7d, 12h, 30m or 45s"
)]
pub struct InvalidMoment(String);

/// A page of search results.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// Leaves of the page, in the order of the search.
    pub leaves: Vec<u64>,
    /// Number of matching events on all pages.
    pub count: u64,
    /// Whether there may be more than `count` events. The search stopped at
    /// [`Search::results_max`], or it would have had to read too many events.
    pub count_is_lower_bound: bool,
}

/// Range of result numbers that belong to a page.
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
        assert!(error.contains("`\"Jane` is not closed"), "{error}");
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
