//! Answers searches chunk by chunk, from the end that the order begins with, until the page is full
//! and enough events are counted.
//!
//! A word's leaves are those of the terms that contain it, which the dictionary finds. The result
//! is exact if the word has no space, or if the text is indexed whole. It is not exact for a word
//! with spaces in a text indexed by words, for a restriction to such a text, and for a word
//! contained in more terms than can be looked up. Then the search reads the event itself to decide.
//! It also does so for the rest of the log once its effort is spent.

use std::{cmp::Reverse, collections::BTreeSet, error::Error, ops::Range};

use model::Event;
use rusqlite::Connection;

use crate::{
    chunk,
    dictionary::{self, EVERY, TermKey, Within},
    effort::Effort,
    error::IndexError,
    field::{self, Field},
    leaves,
    postings::Chunk,
    query::{Page, ResultOrder, Search, Word, places_of_page},
    set::Set,
    term::Part,
};

/// Reads an event from the log; `None` if it was erased in the meantime.
pub type ReadEvent<'a> =
    &'a mut dyn FnMut(u64) -> Result<Option<Event>, Box<dyn Error + Send + Sync>>;

/// Most events that one search reads from the log to fill a page: a second or two.
const READ_MAX: u32 = 20_000;
/// Most events that it reads only to count further results.
const READ_TO_COUNT_MAX: u32 = 1_000;
/// Most words of a value, or of a text with spaces, that are looked up: the longest ones. An event
/// that has that many of them is read and compared.
const LOOKED_UP_MAX: usize = 16;
/// Most values for which so many words each are looked up. For more values the search looks up one
/// word each, so a restriction to thousands of values costs no more than one to as many whole
/// texts.
const VALUES_FEW: usize = 16;
/// Most leaves in a chunk for which reading the events is cheaper than looking up more than
/// `TERMS_MANY` terms.
const LEAVES_FEW: usize = 16;
/// Number of terms above which `LEAVES_FEW` applies.
const TERMS_MANY: usize = 256;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The search would have to read too many events from the log.
    #[error(
        "the search read {READ_MAX} events without filling the page: narrow it with a time window, a field, longer words or words without spaces"
    )]
    TooBroad,
    /// An event cannot be read from the log.
    #[error("cannot read an event from the log")]
    Log(#[source] Box<dyn Error + Send + Sync>),
}

impl From<rusqlite::Error> for SearchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(IndexError::while_("searching")(error))
    }
}

/// A set of terms of which an event must have at least one.
#[derive(Debug)]
enum Terms {
    /// These terms, sorted.
    These(Vec<TermKey>),
    /// So many terms that reading the event is cheaper.
    Beyond,
}

impl Terms {
    fn any_of(mut terms: Vec<TermKey>) -> Self {
        terms.sort_unstable();
        terms.dedup();
        Self::These(terms)
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::These(terms) if terms.is_empty())
    }

    /// Number of terms to look up.
    const fn cost(&self) -> usize {
        match self {
            Self::These(terms) => terms.len(),
            Self::Beyond => usize::MAX,
        }
    }
}

/// One condition that events must meet.
#[derive(Debug)]
struct Clause {
    /// Events with one of these terms meet the condition.
    sure: Terms,
    /// Other events may meet it if, for some list here, they have a term of each of its sets.
    perhaps: Vec<Vec<Terms>>,
}

impl Clause {
    /// The field's value equals one of these texts.
    fn exact(connection: &Connection, field: &Field, values: &[String]) -> rusqlite::Result<Self> {
        let (mut sure, mut in_doubt) = (Vec::new(), Vec::new());
        for value in values {
            if field.is_whole(value) {
                sure.extend(dictionary::key_of(connection, field.name(), Part::Whole, value)?);
                continue;
            }
            let mut words: Vec<&str> = field::words(value).collect();
            words.sort_unstable_by_key(|word| (Reverse(word.len()), *word));
            words.dedup();
            words.truncate(LOOKED_UP_MAX);
            let key = |word| dictionary::key_of(connection, field.name(), Part::Word, word);
            // If no event has one of a value's words, no event has the value.
            let keys: Option<Vec<TermKey>> =
                words.into_iter().map(key).collect::<rusqlite::Result<_>>()?;
            in_doubt.extend(keys);
        }
        let perhaps = if in_doubt.len() <= VALUES_FEW {
            let each = |key| Terms::any_of(vec![key]);
            in_doubt.into_iter().map(|keys| keys.into_iter().map(each).collect()).collect()
        } else {
            let firsts = in_doubt.iter().filter_map(|keys| keys.first().copied());
            vec![vec![Terms::any_of(firsts.collect())]]
        };
        Ok(Self { sure: Terms::any_of(sure), perhaps })
    }

    /// The text of the field, or of any field, contains this word.
    fn word(
        connection: &Connection,
        effort: &Effort,
        field: Option<&Field>,
        text: &str,
    ) -> rusqlite::Result<Self> {
        let holding = |text: &str, within: Within| {
            let terms = dictionary::holding(connection, effort, field, text, within)?;
            Ok::<_, rusqlite::Error>(terms.map_or(Terms::Beyond, Terms::These))
        };
        let sure = holding(text, Within::Term)?;
        let mut perhaps = Vec::new();
        if text.contains(char::is_whitespace) && field.is_none_or(Field::has_words) {
            for (part, within) in parts_of(text) {
                perhaps.push(holding(part, within)?);
            }
            if perhaps.is_empty() {
                perhaps.push(Terms::Beyond);
            }
        }
        let perhaps =
            Some(perhaps).filter(|all| !all.is_empty() && !all.iter().any(Terms::is_none));
        Ok(Self { sure, perhaps: perhaps.into_iter().collect() })
    }

    /// Number of terms to look up.
    fn cost(&self) -> usize {
        let all = self.perhaps.iter().flatten().chain([&self.sure]);
        all.fold(0, |cost, terms| cost.saturating_add(terms.cost()))
    }

    fn is_hopeless(&self) -> bool {
        self.sure.is_none() && self.perhaps.is_empty()
    }

    /// Of `candidates`, the leaves that meet the condition and those that may.
    fn of(&self, chunk: &Chunk<'_>, candidates: &Set) -> rusqlite::Result<(Set, Set)> {
        let with = |terms: &Terms| match terms {
            Terms::These(terms) => chunk.union(terms),
            Terms::Beyond => Ok(candidates.clone()),
        };
        if matches!(self.sure, Terms::Beyond)
            || chunk.effort().is_spent()
            || self.cost() > TERMS_MANY && candidates.len() <= LEAVES_FEW
        {
            return Ok((Set::empty(chunk::PLACES), candidates.clone()));
        }
        let mut sure = with(&self.sure)?;
        sure.intersect(candidates);
        let mut possible = sure.clone();
        for all in &self.perhaps {
            let mut perhaps = candidates.clone();
            for terms in all {
                // Skipping the rest leaves more leaves in doubt, but loses none.
                if perhaps.is_empty() || chunk.effort().is_spent() {
                    break;
                }
                perhaps.intersect(&with(terms)?);
            }
            possible.unite(&perhaps);
        }
        Ok((sure, possible))
    }
}

/// The parts of a text between its spaces that are looked up, and where in a term each must lie.
fn parts_of(text: &str) -> Vec<(&str, Within)> {
    // A space ends a word, so only the text's own ends may lie within a word.
    let last = text.split(char::is_whitespace).count() - 1;
    let parts = text.split(char::is_whitespace).enumerate().map(|(place, part)| match place {
        0 => (part, Within::WordEnd),
        place if place == last => (part, Within::WordStart),
        _ => (part, Within::Word),
    });
    let mut parts: Vec<_> = parts.filter(|(part, _)| !part.is_empty()).collect();
    parts.sort_unstable_by_key(|(part, within)| (Reverse(part.len()), *part, *within));
    parts.dedup();
    parts.truncate(LOOKED_UP_MAX);
    parts
}

/// A search translated into terms.
#[derive(Debug)]
struct Plan {
    clauses: Vec<Clause>,
    /// Events that meet one of these conditions are excluded.
    excluded: Vec<Clause>,
    leaves: Range<u64>,
}

impl Plan {
    fn new(connection: &Connection, effort: &Effort, search: &Search) -> rusqlite::Result<Self> {
        let mut clauses = Vec::new();
        for (field, values) in &search.restriction {
            clauses.push(Clause::exact(connection, field, values)?);
        }
        // Every event contains the empty text.
        let says_nothing = |word: &&Word| word.field.is_none() && word.text.is_empty();
        let words: BTreeSet<&Word> =
            search.query.words.iter().filter(|word| !says_nothing(word)).collect();
        for word in words {
            clauses.push(Clause::word(connection, effort, word.field.as_ref(), &word.text)?);
        }
        // Cheap conditions come first: if they find nothing, the others are not evaluated.
        clauses.sort_by_key(Clause::cost);
        let mut excluded = Vec::new();
        for (field, values) in &search.exclusion {
            excluded.push(Clause::exact(connection, field, values)?);
        }
        let next_leaf: i64 =
            connection.query_row("SELECT next_leaf FROM log", [], |row| row.get(0))?;
        let leaf_at = |moment| leaves::first_since(connection, moment);
        let from = search.window.0.map(leaf_at).transpose()?.unwrap_or(0);
        let to = search.window.1.map(leaf_at).transpose()?.unwrap_or(u64::MAX);
        let end = to.min(search.end).min(next_leaf.cast_unsigned());
        Ok(Self { clauses, excluded, leaves: from..end })
    }

    fn is_hopeless(&self) -> bool {
        self.leaves.is_empty() || self.clauses.iter().any(Clause::is_hopeless)
    }

    /// The leaves of a chunk that match, and those that may.
    fn of(
        &self,
        connection: &Connection,
        effort: &Effort,
        number: u64,
    ) -> rusqlite::Result<(Set, Set)> {
        let chunk = Chunk::open(connection, number, effort)?;
        let start = chunk::first_leaf(number);
        let mut possible = chunk.union(&[EVERY])?;
        possible.keep(self.leaves.start.saturating_sub(start)..self.leaves.end - start);
        let mut sure = possible.clone();
        for clause in &self.excluded {
            let (meets, may) = clause.of(&chunk, &possible)?;
            possible.subtract(&meets);
            sure.subtract(&may);
        }
        for clause in &self.clauses {
            if possible.is_empty() {
                break;
            }
            let (meets, may) = clause.of(&chunk, &possible)?;
            sure.intersect(&meets);
            possible = may;
        }
        Ok((sure, possible))
    }
}

/// The results so far.
struct Results<'a> {
    search: &'a Search,
    read_event: ReadEvent<'a>,
    read: u32,
    read_to_count: u32,
    wanted: Range<u64>,
    max: u64,
    page: Page,
}

/// Whether the search continues.
#[derive(Eq, PartialEq)]
enum Then {
    More,
    Enough,
}

impl Results<'_> {
    fn take_in(
        &mut self,
        start: u64,
        (sure, possible): &(Set, Set),
        order: ResultOrder,
    ) -> Result<Then, SearchError> {
        if self.page_is_full() && sure == possible {
            self.page.count += possible.len() as u64;
            return Ok(self.cut());
        }
        let mut places = possible.places();
        let next = || match order {
            ResultOrder::OldestFirst => places.next(),
            ResultOrder::NewestFirst => places.next_back(),
        };
        for place in std::iter::from_fn(next) {
            let leaf = start + u64::from(place);
            if !sure.contains(place) {
                match (self.page_is_full(), self.read, self.read_to_count) {
                    (false, READ_MAX.., _) => return Err(SearchError::TooBroad),
                    (true, _, READ_TO_COUNT_MAX..) => {
                        self.page.count_is_lower_bound = true;
                        return Ok(Then::Enough);
                    }
                    (false, ..) => self.read += 1,
                    (true, ..) => self.read_to_count += 1,
                }
                if !self.is_found(leaf)? {
                    continue;
                }
            }
            if self.wanted.contains(&self.page.count) {
                self.page.leaves.push(leaf);
            }
            self.page.count += 1;
            if self.page.count > self.max {
                return Ok(self.cut());
            }
        }
        Ok(Then::More)
    }

    fn is_found(&mut self, leaf: u64) -> Result<bool, SearchError> {
        let event = (self.read_event)(leaf).map_err(SearchError::Log)?;
        Ok(event.is_some_and(|event| self.search.matches(&event)))
    }

    fn page_is_full(&self) -> bool {
        self.page.count >= self.wanted.end.min(self.max)
    }

    fn cut(&mut self) -> Then {
        if self.page.count <= self.max {
            return Then::More;
        }
        self.page.count = self.max;
        self.page.count_is_lower_bound = true;
        Then::Enough
    }
}

/// The leaves of one page: `limit` results after the first `offset`.
pub(crate) fn search(
    connection: &Connection,
    effort: &Effort,
    search: &Search,
    offset: u64,
    limit: u32,
    read_event: ReadEvent<'_>,
) -> Result<Page, SearchError> {
    let page = Page { leaves: Vec::new(), count: 0, count_is_lower_bound: false };
    let plan = Plan::new(connection, effort, search)?;
    if plan.is_hopeless() {
        return Ok(page);
    }
    let max = u64::from(search.results_max);
    let wanted = places_of_page(offset, limit);
    let wanted = wanted.start..wanted.end.min(max);
    let mut results = Results { search, read_event, read: 0, read_to_count: 0, wanted, max, page };
    let mut chunks = chunk::of(plan.leaves.start)..=chunk::of(plan.leaves.end - 1);
    let next = || match search.order {
        ResultOrder::OldestFirst => chunks.next(),
        ResultOrder::NewestFirst => chunks.next_back(),
    };
    for chunk in std::iter::from_fn(next) {
        let found = plan.of(connection, effort, chunk)?;
        let start = chunk::first_leaf(chunk);
        if results.take_in(start, &found, search.order)? == Then::Enough {
            break;
        }
    }
    Ok(results.page)
}

#[cfg(test)]
mod tests {
    use model::{Envelope, LogId, Salt, Timestamp};
    use tempfile::TempDir;

    use super::*;
    use crate::{batch::IndexBatch, indexer::Indexer, query::Query};

    /// An index of events with these messages and nothing else.
    fn index_of(messages: impl Iterator<Item = String>) -> (TempDir, Connection, Vec<Event>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        let mut indexer =
            Indexer::open(&path, LogId::from_sha256([1; LogId::LEN]), |_| Ok(None)).unwrap();
        let events: Vec<Event> =
            messages.map(|message| Event { message, ..Event::default() }).collect();
        let mut batch = IndexBatch::new(0);
        batch.extend(events.iter().map(|event| {
            let received_at = Timestamp::from_unix_micros(0);
            let salt = Salt::from_random([0; 16]);
            Some(Envelope { event: event.clone(), received_at, salt })
        }));
        indexer.apply(&batch, [7; 32]).unwrap();
        (folder, Connection::open(path).unwrap(), events)
    }

    fn search_for(query: &str) -> Search {
        Search { query: Query::parse(query, |_| false).unwrap(), ..Search::default() }
    }

    #[test]
    fn a_quotation_of_however_many_short_words_costs_little() {
        // 40,000 words contain an a; half of them end with it, and none contains a b.
        let words = (0..20_000).map(|number| format!("a{number} {number}a"));
        let (_folder, connection, _events) = index_of(words);
        let letters = "a b ".repeat(60_000);
        let numbers = (0..40_000).map(|number| format!("{number:x} ")).collect::<String>();
        for (text, cost_max) in [
            ("b a b", 10_000),    // the newest terms are compared
            (&*letters, 150_000), // 20,000 words end with its first letter
            (&*numbers, 10_000),
            ("1a x 1", 50_000), // as many end with one, or begin with the other
        ] {
            let effort = Effort::of(u64::MAX);
            Plan::new(&connection, &effort, &search_for(&format!("\"{text}\""))).unwrap();
            let cost = u64::MAX - effort.left();
            assert!(cost < cost_max, "{cost} for {} bytes", text.len());
        }
    }

    #[test]
    fn what_is_found_does_not_depend_on_the_effort() {
        let messages = (0..3_000).map(|number| format!("{} is {}", number % 7, number % 100));
        let (_folder, connection, events) = index_of(messages);
        let event_at = |leaf: u64| events.get(usize::try_from(leaf).unwrap()).unwrap();
        for text in ["5 9", "\"5 is 9\" 99", "\"5 is 9\" message:\" is 96\"", "s 6"] {
            let search_for = search_for(text);
            let found = (0..3_000).rev().filter(|leaf| search_for.matches(event_at(*leaf)));
            let found: Vec<u64> = found.collect();
            let events_read = |rows| {
                let mut read = 0;
                let mut read_event = |leaf| {
                    read += 1;
                    Ok(Some(event_at(leaf).clone()))
                };
                let effort = Effort::of(rows);
                let page = search(&connection, &effort, &search_for, 0, 10_000, &mut read_event);
                assert_eq!(page.unwrap().leaves, found, "{text} with an effort of {rows}");
                read
            };
            assert_eq!(events_read(0), 3_000, "{text}");
            for effort in (1..2_000).step_by(9) {
                events_read(effort);
            }
            assert!(events_read(u64::MAX) < 3_000, "{text}");
        }
    }
}
