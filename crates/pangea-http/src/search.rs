//! `/v1/search` and `/v1/results`.
//!
//! A search is saved as it was asked, with the end of the log at that moment: its pages do not shift while events arrive. The leaves are looked up again for
//! each page, so what was erased meanwhile is neither shown nor counted.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use index::SearchError;
use ledger::ReadError;
use model::{Envelope, Event, FieldValue, Timestamp};
use pangea::{
    Code, Fault, Refusal, ResultId, Status,
    answer::{Found, Page, SearchResult},
    request::{Order, RECEIVED_AT, RESULTS_MAX, ResultsRequest, Search, SearchRequest},
};
use serde::{Deserialize, Serialize};
use services::searching::Events;
use tokio::time::timeout;

use crate::{
    api::{Api, Call, Reply, after, failed, unreadable},
    config::Roots,
    saved, trees,
};

/// Bytes of envelopes of a page. What is more is refused, because clients count on as many events as they asked for.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;
/// Pages that are made at once; further ones wait.
pub(crate) const PAGES_AT_ONCE_MAX: usize = 4;
/// How long a search waits for the index to know what was sealed before it was asked.
const INDEX_TIMEOUT: Duration = Duration::from_secs(2);
/// Characters of a text that events are sorted by; those whose texts begin alike are in the order of the log. Of 10,000 results at most 10 MB.
const SORTED_CHARS_MAX: usize = 256;
/// Leaves read at once, about a block of the log's.
const READ_LEAVES: u64 = 256;
/// Bytes of them.
const READ_BYTES_MAX: usize = 4 << 20;

/// A search whose pages can be asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SavedSearch {
    pub(crate) search: Search,
    /// Only leaves before this one.
    pub(crate) end_leaf: u64,
    pub(crate) verbose: bool,
}

/// What a search finds.
struct Matches {
    /// Of one page, in the order that was asked for.
    leaves: Vec<u64>,
    /// Of all pages.
    count: u64,
    /// There may be more, which are on no page.
    more: bool,
}

/// A page, and what is said of it.
type Said = (Page, Cow<'static, str>);

impl Api {
    /// `/v1/search`.
    pub(crate) async fn search(
        self: &Arc<Self>,
        call: &Call,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let request = SearchRequest::parse(body, &self.schema, call.began)?;
        self.check_config(request.config_id.as_deref())?;
        let SearchRequest { search, verbose, limit, .. } = request;
        let end_leaf = self.indexed().await;
        let expires_at = after(call.began, saved::LIFETIME);
        let saved = SavedSearch { search, end_leaf, verbose };
        let id = ResultId::new(call.began.unix_millis().unsigned_abs(), rand::random());
        let (page, summary) = self.page(call, saved.clone(), 0, limit).await?;
        let named = id.clone();
        let save = move |api: &Self| api.saved.searches.save(&named, saved, expires_at);
        self.blocking(call, move |api| save(api).map_err(|error| failed(&error))).await?;
        let result = SearchResult::new(&id, expires_at, page);
        Ok(Reply::done(call, summary, &result))
    }

    /// `/v1/results`.
    pub(crate) async fn results(
        self: &Arc<Self>,
        call: &Call,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let request = ResultsRequest::parse(body, &self.schema)?;
        self.check_config(request.config_id.as_deref())?;
        let saved = self.saved(request.id.as_ref(), "/id", request.asserted.as_ref())?;
        let (page, summary) = self.page(call, saved, request.offset, request.limit).await?;
        if request.offset > page.count {
            let fault =
                Fault::new(Code::IsTooBig, "/offset", format!("the search finds {}", page.count));
            return Err(Refusal::at(Status::BadOffset, fault));
        }
        Ok(Reply::done(call, summary, &page))
    }

    /// A search that was saved, with the restriction that the client says it has.
    pub(crate) fn saved(
        &self,
        id: Option<&ResultId>,
        place: &str,
        asserted: Option<&BTreeMap<String, Vec<String>>>,
    ) -> Result<SavedSearch, Refusal> {
        let saved =
            id.and_then(|id| self.saved.searches.get(id, clock::now())).ok_or_else(|| {
                let words =
                    "there is no such search, or it is more than two days old: search again";
                Refusal::at(Status::NotFound, Fault::new(Code::DoesNotExist, place, words))
            })?;
        match asserted {
            Some(asserted) if *asserted != saved.search.restriction => {
                let place = "/assert_search_restriction";
                Err(Fault::new(Code::InvalidConst, place, "the search had another restriction")
                    .into())
            }
            _ => Ok(saved),
        }
    }

    /// The first leaf that the index does not know; it is given a moment to know all that is sealed.
    async fn indexed(&self) -> u64 {
        let size = self.ledger.size();
        let mut indexed = self.indexed.clone();
        let caught_up = indexed.wait_for(|indexed| indexed.next_leaf >= size);
        // Late or not, the answer is of what is indexed now.
        let _late = timeout(INDEX_TIMEOUT, caught_up).await;
        self.indexed.borrow().next_leaf
    }

    async fn page(
        self: &Arc<Self>,
        call: &Call,
        saved: SavedSearch,
        offset: u64,
        limit: u64,
    ) -> Result<Said, Refusal> {
        self.place_for_a_page(call).await;
        let (verbose, order_by) = (saved.verbose, saved.search.order_by.clone());
        let Matches { leaves, count, more } =
            self.blocking(call, move |api| api.find(&saved, offset, limit)).await?;
        let summary = summary(&order_by, count, more);
        let covered = leaves.iter().max().map_or(0, |leaf| leaf + 1);
        let size = self.cover(covered).await?;
        let asked = call.clone();
        let show = move |api: &Self| api.show(&asked, &leaves, count, verbose, size);
        Ok((self.blocking(call, show).await?, summary))
    }

    /// The leaves of one page. The index knows the order in which events were received; for another, the newest that are found are read and sorted.
    fn find(&self, saved: &SavedSearch, offset: u64, limit: u64) -> Result<Matches, Refusal> {
        let search = &saved.search;
        let results_max = search.results_max.min(RESULTS_MAX);
        if search.order_by == RECEIVED_AT {
            let limit = limit.min(results_max.saturating_sub(offset));
            let mut found = self.look_up(saved, offset, limit)?;
            if found.more && found.count < results_max {
                // The index stopped to count. Clients ask for pages until they have as many as were counted: all are found, or the search is too broad.
                found.count = self.look_up(saved, 0, results_max)?.count;
            }
            found.count = found.count.min(results_max);
            return Ok(found);
        }
        let Matches { leaves, count, more } = self.look_up(saved, 0, results_max)?;
        let mut keyed = Vec::with_capacity(leaves.len());
        self.read(&leaves, |leaf, bytes| {
            let event = bytes.and_then(|bytes| Envelope::parse(&bytes).ok());
            keyed.extend(event.map(|envelope| (sort_key(&envelope.event, &search.order_by), leaf)));
            Ok(())
        })?;
        keyed.sort();
        if search.order == Order::Descending {
            keyed.reverse();
        }
        let (offset, limit) = (index_of(offset), index_of(limit));
        let leaves = keyed.into_iter().skip(offset).take(limit).map(|(_, leaf)| leaf).collect();
        Ok(Matches { leaves, count: count.min(results_max), more })
    }

    /// All that a search finds, in its order.
    pub(crate) async fn found(
        self: &Arc<Self>,
        call: &Call,
        saved: SavedSearch,
    ) -> Result<Vec<u64>, Refusal> {
        self.place_for_a_page(call).await;
        self.blocking(call, move |api| Ok(api.find(&saved, 0, RESULTS_MAX)?.leaves)).await
    }

    /// Asks the index.
    fn look_up(&self, saved: &SavedSearch, offset: u64, limit: u64) -> Result<Matches, Refusal> {
        let search = &saved.search;
        let query = index::Query::parse(&search.query, |name| self.schema.has_custom(name))
            .map_err(|error| Fault::new(Code::BadFormat, "/query", error.to_string()))?;
        let restriction = search.restriction.iter();
        let search = index::Search {
            query,
            // The contract's names are the index's.
            restriction: restriction
                .map(|(name, values)| (name.clone().into(), values.clone()))
                .collect(),
            window: (Some(search.start), search.end),
            order: match (&*search.order_by, search.order) {
                (RECEIVED_AT, Order::Ascending) => index::Order::OldestFirst,
                // What is sorted by another field is the newest, whichever comes first then.
                _ => index::Order::NewestFirst,
            },
            end: saved.end_leaf,
            results_max: u32::try_from(search.results_max.min(RESULTS_MAX)).unwrap_or(u32::MAX),
            ..index::Search::default()
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let mut log = Events::of(&self.ledger);
        let found = self.index.search(&search, offset, limit, &mut |leaf| log.read(leaf));
        let found = found.map_err(|error| match error {
            SearchError::TooBroad => Fault::new(Code::IsTooBig, "/query", error.to_string()).into(),
            SearchError::Index(_) | SearchError::Log(_) => failed(&error),
        })?;
        let more = found.count_is_lower_bound;
        Ok(Matches { leaves: found.leaves, count: found.count, more })
    }

    /// A page as it is sent, under the tree of `size` leaves.
    fn show(
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
        self.read(leaves, |leaf, bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            if bytes.len() > bytes_left && !shown.is_empty() {
                let words =
                    format!("the page has more than {PAGE_BYTES_MAX} bytes: ask for fewer events");
                return Err(Fault::new(Code::IsTooBig, "/limit", words).into());
            }
            bytes_left = bytes_left.saturating_sub(bytes.len());
            let hash = trees::hex(&tlog::Hash::sha256(&bytes));
            let Some(seen) = call.view.show(&bytes, &self.schema) else { return Ok(()) };
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
        // Erased since the index was asked.
        count = count.saturating_sub((leaves.len() - shown.len()) as u64);
        let root = |base| self.trees.root(size, base).map_err(unreadable);
        Ok(Page {
            count,
            events: leaves.iter().filter_map(|leaf| shown.remove(leaf)).collect(),
            root: (verbose && is_published).then(|| root(Some(&call.base))).transpose()?,
            unpublished_root: verbose.then(|| root(None)).transpose()?,
        })
    }

    /// Reads leaves in the log's order, whatever theirs is; no bytes where an envelope was erased.
    pub(crate) fn read(
        &self,
        leaves: &[u64],
        mut take: impl FnMut(u64, Option<Vec<u8>>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut sorted = leaves.to_vec();
        sorted.sort_unstable();
        let mut wanted = sorted.as_slice();
        while let Some((&first, others)) = wanted.split_first() {
            // Neighbours lie in the same block, which is unpacked once.
            let near = others.iter().copied().take_while(|leaf| leaf - first < READ_LEAVES);
            let count = near.last().map_or(1, |last| index_of(last - first) + 1);
            let read: Result<_, ReadError> = self.ledger.envelopes(first, count, READ_BYTES_MAX);
            for stored in read.map_err(unreadable)? {
                if let Some((&leaf, others)) = wanted.split_first()
                    && leaf == stored.leaf
                {
                    wanted = others;
                    take(leaf, stored.bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// What is said of a page: where not everything was sorted that was found, that.
fn summary(order_by: &str, count: u64, more: bool) -> Cow<'static, str> {
    if !more || order_by == RECEIVED_AT {
        return "Found events".into();
    }
    format!(
        "Found events: the newest {count}, sorted by {order_by}. There may be more, which are not among them: narrow the search to have all sorted"
    )
    .into()
}

/// By what events are sorted: those without the field first, numbers by their value, all else as text, of which the beginning counts.
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
