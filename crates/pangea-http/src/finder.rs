//! Finds events and shows them as pages: the part of a search that blocks on the index and the log.

use std::{collections::BTreeMap, sync::Arc};

use index::{Reader, SearchError};
use model::{Envelope, Event, FieldValue, Timestamp};
use pangea::{
    Code, Fault, Refusal,
    answer::{Found, Page},
    request::{RECEIVED_AT, RESULTS_MAX, SortOrder},
};
use services::searching::Events;

use crate::{
    call::Call,
    config::Roots,
    refusals::{failed, unreadable},
    saved::SavedSearch,
    shown_log::ShownLog,
    trees::{self, Trees},
};

/// Bytes of the envelopes of a page. A larger page is refused, because clients expect as many
/// events as they asked for.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;
/// Characters of a text by which events are sorted. Events whose texts begin with the same
/// characters stay in the log's order. For 10,000 results this takes at most 10 MB.
const SORTED_CHARS_MAX: usize = 256;

/// Finds events and shows them.
#[derive(Debug)]
pub(crate) struct Finder {
    pub(crate) log: ShownLog,
    pub(crate) index: Reader,
    pub(crate) trees: Arc<Trees>,
    pub(crate) roots: Roots,
}

/// The results of a search.
pub(crate) struct Matches {
    /// Leaves of one page, in the requested order.
    pub(crate) leaves: Vec<u64>,
    /// Number of results on all pages.
    pub(crate) count: u64,
    /// There may be more results, which are on no page.
    pub(crate) more: bool,
}

impl Finder {
    /// Finds the leaves of one page. The index knows only the order of receipt. For any other
    /// order, the newest matches are read and sorted.
    pub(crate) fn find(
        &self,
        saved: &SavedSearch,
        offset: u64,
        limit: u64,
    ) -> Result<Matches, Refusal> {
        let search = &saved.search;
        let results_max = search.results_max.min(RESULTS_MAX);
        if search.order_by == RECEIVED_AT {
            let limit = limit.min(results_max.saturating_sub(offset));
            let mut found = self.look_up(saved, offset, limit)?;
            if found.more && found.count < results_max {
                // The index stopped counting. Clients ask for pages until they have as many events
                // as were counted, so all must be found, or the search is too broad.
                found.count = self.look_up(saved, 0, results_max)?.count;
            }
            found.count = found.count.min(results_max);
            return Ok(found);
        }
        let Matches { leaves, count, more } = self.look_up(saved, 0, results_max)?;
        let mut keyed = Vec::with_capacity(leaves.len());
        self.log.read(&leaves, |leaf, bytes| {
            let event = bytes.and_then(|bytes| Envelope::parse(&bytes).ok());
            keyed.extend(event.map(|envelope| (sort_key(&envelope.event, &search.order_by), leaf)));
            Ok(())
        })?;
        keyed.sort();
        if search.order == SortOrder::Descending {
            keyed.reverse();
        }
        let (offset, limit) = (index_of(offset), index_of(limit));
        let leaves = keyed.into_iter().skip(offset).take(limit).map(|(_, leaf)| leaf).collect();
        Ok(Matches { leaves, count: count.min(results_max), more })
    }

    /// Queries the index.
    fn look_up(&self, saved: &SavedSearch, offset: u64, limit: u64) -> Result<Matches, Refusal> {
        let search = &saved.search;
        let query = index::Query::parse(&search.query, |name| self.log.schema.has_custom(name))
            .map_err(|error| Fault::new(Code::BadFormat, "/query", error.to_string()))?;
        let restriction = search.restriction.iter();
        let search = index::Search {
            query,
            // The index uses the contract's names.
            restriction: restriction
                .map(|(name, values)| (name.clone().into(), values.clone()))
                .collect(),
            window: (Some(search.start), search.end),
            order: match (&*search.order_by, search.order) {
                (RECEIVED_AT, SortOrder::Ascending) => index::ResultOrder::OldestFirst,
                // If events are sorted by another field, they are still the newest matches,
                // whatever the direction.
                _ => index::ResultOrder::NewestFirst,
            },
            end: saved.end_leaf,
            results_max: u32::try_from(search.results_max.min(RESULTS_MAX)).unwrap_or(u32::MAX),
            ..index::Search::default()
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let mut log = Events::of(&self.log.ledger);
        let found = self.index.search(&search, offset, limit, &mut |leaf| log.read(leaf));
        let found = found.map_err(|error| match error {
            SearchError::TooBroad => Fault::new(Code::IsTooBig, "/query", error.to_string()).into(),
            SearchError::Index(_) | SearchError::Log(_) => failed(&error),
        })?;
        let more = found.count_is_lower_bound;
        Ok(Matches { leaves: found.leaves, count: found.count, more })
    }

    /// Makes the page that is sent, under the tree of `size` leaves.
    pub(crate) fn show(
        &self,
        call: &Call,
        leaves: &[u64],
        mut count: u64,
        verbose: bool,
        size: u64,
    ) -> Result<Page, Refusal> {
        let mut prove = self.trees.prover(size);
        let is_published = self.roots == Roots::Published;
        let (mut shown, mut bytes_left) = (BTreeMap::new(), PAGE_BYTES_MAX);
        self.log.read(leaves, |leaf, bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            if bytes.len() > bytes_left && !shown.is_empty() {
                let words =
                    format!("the page has more than {PAGE_BYTES_MAX} bytes: ask for fewer events");
                return Err(Fault::new(Code::IsTooBig, "/limit", words).into());
            }
            bytes_left = bytes_left.saturating_sub(bytes.len());
            let hash = trees::hex(&tlog::Hash::sha256(&bytes));
            let Some(seen) = call.view.show(&bytes, &self.log.schema) else { return Ok(()) };
            let is_proved = verbose && seen.is_verifiable;
            let proof = if is_proved { prove(leaf).map_err(unreadable)? } else { None };
            let found = Found {
                envelope: seen.envelope,
                hash: seen.is_verifiable.then_some(hash),
                leaf_index: (verbose && is_published).then_some(leaf),
                membership_proof: proof,
                published: verbose.then_some(is_published),
            };
            shown.insert(leaf, found);
            Ok(())
        })?;
        // The envelope was erased after the index was queried.
        count = count.saturating_sub((leaves.len() - shown.len()) as u64);
        let root = |base| self.trees.root(size, base).map_err(unreadable);
        Ok(Page {
            count,
            events: leaves.iter().filter_map(|leaf| shown.remove(leaf)).collect(),
            root: (verbose && is_published).then(|| root(Some(&call.base))).transpose()?,
            unpublished_root: verbose.then(|| root(None)).transpose()?,
        })
    }
}

/// The sort key of events: events without the field come first, then numbers by value, then texts
/// by their first characters.
fn sort_key(event: &Event, field: &str) -> (Option<i64>, String) {
    let start = |text: &str| text.chars().take(SORTED_CHARS_MAX).collect::<String>();
    let text = |text: &Option<String>| (None, text.as_deref().map(start).unwrap_or_default());
    match field {
        "action" => text(&event.action),
        "actor" => text(&event.actor),
        "message" => (None, start(&event.message)),
        "source" => text(&event.source),
        "status" => text(&event.status),
        "target" => text(&event.target),
        "timestamp" => {
            let moment = event.timestamp.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
            (moment.map(Timestamp::unix_micros), text(&event.timestamp).1)
        }
        custom => match event.custom.get(custom) {
            Some(FieldValue::Integer(number)) => (Some(*number), String::new()),
            Some(FieldValue::Bool(flag)) => (Some(i64::from(*flag)), String::new()),
            Some(FieldValue::Text(text)) => (None, start(text)),
            None => (None, String::new()),
        },
    }
}

fn index_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sorted_by_the_beginning_of_their_texts() {
        let event = |message: &str| Event { message: message.to_owned(), ..Event::default() };
        let long = "é".repeat(SORTED_CHARS_MAX);
        let key = |message: &str| sort_key(&event(message), "message");
        assert_eq!(key(&format!("{long}b")), (None, long.clone()));
        assert_eq!(key(&format!("{long}b")), key(&format!("{long}a")));
        assert!(key("a") < key(&long));
    }
}
