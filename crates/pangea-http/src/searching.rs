//! `/v1/search` and `/v1/results`.
//!
//! A search is saved together with the log's size at that time, so its pages do not shift while
//! events arrive. Each page looks the leaves up again, so it neither shows nor counts what was
//! erased meanwhile.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use data_dir::saved_searches;
use pangea::{
    Code, Fault, Refusal, ResultId, Status,
    answer::{Page, SearchResult},
    request::{RECEIVED_AT, RESULTS_MAX, ResultsRequest, SearchRequest},
};
use services::progress::Progress;

use crate::{
    call::Call,
    finder::{Finder, Matches},
    refusals::failed,
    reply::Reply,
    rooms::Rooms,
    saved::{self, SavedSearch, SavedSearches},
    shown_log::ShownLog,
};

/// Time that a search waits for the index to catch up with what was sealed before.
const INDEX_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers searches.
#[derive(Debug)]
pub(crate) struct Searching {
    log: ShownLog,
    finder: Arc<Finder>,
    index: Progress,
    saved: Arc<SavedSearches>,
    rooms: Rooms,
}

/// A page and its summary.
type Said = (Page, Cow<'static, str>);

impl Searching {
    /// Creates the part for a log. Saved searches are deleted whenever envelopes of the log are
    /// erased.
    pub(crate) fn new(
        finder: Finder,
        index: Progress,
        saved: Arc<SavedSearches>,
        rooms: Rooms,
    ) -> Self {
        let (log, kept) = (finder.log.clone(), Arc::clone(&saved));
        // Their words may come from erased envelopes.
        let forget_words = move || saved_searches::warn_of_words_left(kept.forget_all());
        log.ledger.after_erasing(forget_words);
        Self { log, finder: Arc::new(finder), index, saved, rooms }
    }

    /// `/v1/search`.
    pub(crate) async fn search(&self, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        let request = SearchRequest::parse(body, &self.log.schema, call.began)?;
        self.log.check_config(request.config_id.as_deref())?;
        let SearchRequest { search, verbose, limit, .. } = request;
        let end_leaf = self.index.catch_up(self.log.ledger.size(), INDEX_TIMEOUT).await;
        let expires_at = call.after(saved::LIFETIME);
        let search = SavedSearch { search, end_leaf, verbose };
        let id = ResultId::new(call.began.unix_millis().unsigned_abs(), rand::random());
        let (page, summary) = self.page(call, search.clone(), 0, limit).await?;
        let (saved, named) = (Arc::clone(&self.saved), id.clone());
        let save = move || saved.save(&named, search, expires_at).map_err(|error| failed(&error));
        self.rooms.blocking(call, save).await?;
        let result = SearchResult::new(&id, expires_at, page);
        Ok(Reply::done(call, summary, &result))
    }

    /// `/v1/results`.
    pub(crate) async fn results(&self, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        let request = ResultsRequest::parse(body, &self.log.schema)?;
        self.log.check_config(request.config_id.as_deref())?;
        let search = self.saved(request.id.as_ref(), "/id", request.asserted.as_ref())?;
        let (page, summary) = self.page(call, search, request.offset, request.limit).await?;
        if request.offset > page.count {
            let fault = Fault::new(
                Code::IsTooBig,
                "/offset",
                format!("the search found only {} events", page.count),
            );
            return Err(Refusal::at(Status::BadOffset, fault));
        }
        Ok(Reply::done(call, summary, &page))
    }

    /// A saved search that has the restriction that the client asserts. `place` is the place in the
    /// request that names the search.
    pub(crate) fn saved(
        &self,
        id: Option<&ResultId>,
        place: &str,
        asserted: Option<&BTreeMap<String, Vec<String>>>,
    ) -> Result<SavedSearch, Refusal> {
        let saved = id.and_then(|id| self.saved.get(id, clock::now())).ok_or_else(|| {
            let words = "there is no such search, or it is more than two days old: search again";
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

    /// The leaves that a search finds on all its pages, in its order.
    pub(crate) async fn found(
        &self,
        call: &Call,
        search: SavedSearch,
    ) -> Result<Vec<u64>, Refusal> {
        self.rooms.place_for_a_page(call).await;
        let finder = Arc::clone(&self.finder);
        let find = move || Ok(finder.find(&search, 0, RESULTS_MAX)?.leaves);
        self.rooms.blocking(call, find).await
    }

    async fn page(
        &self,
        call: &Call,
        search: SavedSearch,
        offset: u64,
        limit: u64,
    ) -> Result<Said, Refusal> {
        self.rooms.place_for_a_page(call).await;
        let (verbose, order_by) = (search.verbose, search.search.order_by.clone());
        let finder = Arc::clone(&self.finder);
        let find = move || finder.find(&search, offset, limit);
        let Matches { leaves, count, more } = self.rooms.blocking(call, find).await?;
        let summary = summary(&order_by, count, more);
        let covered = leaves.iter().max().map_or(0, |leaf| leaf + 1);
        let size = self.log.cover(covered).await?;
        let (finder, asked) = (Arc::clone(&self.finder), call.clone());
        let show = move || finder.show(&asked, &leaves, count, verbose, size);
        Ok((self.rooms.blocking(call, show).await?, summary))
    }
}

/// The summary of a page. It says if only the newest of the possible matches were sorted.
fn summary(order_by: &str, count: u64, more: bool) -> Cow<'static, str> {
    if !more || order_by == RECEIVED_AT {
        return "Found events".into();
    }
    format!(
        "Found events: the newest {count}, sorted by {order_by}. There may be more events: narrow the search to sort all of them"
    )
    .into()
}
