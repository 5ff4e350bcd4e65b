//! How far the log is mirrored, as the API shows it, and what its copy holds.

use std::{sync::Arc, time::Duration};

use model::{
    mirror::{Call, Question},
    query::{MirrorSearchQuery, QueryError},
};
use pangea::found::{Found, NotSearched, search_request};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::failure::{Failure, internal};
use crate::mirroring::{Answered, Caller, MirrorProgress, ParkedLeaf};

/// Time for a search of the copy. The gateway waits five seconds for the site.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(4_500);

/// A mirror that can be asked.
#[derive(Clone, Debug)]
pub struct MirrorQueries {
    /// How far it is.
    pub progress: watch::Receiver<MirrorProgress>,
    /// The component that calls its server.
    pub caller: Caller,
}

impl MirrorQueries {
    /// Searches the copy, and checks what the server shows.
    pub(super) async fn search(
        &self,
        query: &MirrorSearchQuery,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Found, Failure> {
        let body = search_request(self.caller.log.as_ref(), &query.query, query.limit);
        let question = Question { call: Call::Search, body };
        let unavailable =
            |words: String| Failure::Query(QueryError::Unavailable(format!("the mirror: {words}")));
        let answered = self.caller.call(&question, SEARCH_TIMEOUT).await;
        let Answered { status, body, .. } =
            answered.map_err(|silence| unavailable(silence.to_string()))?;
        let found = work::blocking(place, move || Found::of(status, &body)).await;
        found.map_err(internal)?.map_err(|refusal| match refusal {
            NotSearched::Query(words) => Failure::Query(QueryError::Invalid(words)),
            NotSearched::Server(words) => unavailable(words),
        })
    }
}

/// Parked leaves in an answer. A search finds the others.
const PARKED_SHOWN_MAX: usize = 100;

/// Answer to `/api/mirror`.
#[derive(Debug, Serialize)]
pub(super) struct Mirrored {
    server: String,
    /// Number of leaves of the log.
    leaves: u64,
    /// The first leaf that is not mirrored.
    next_leaf: u64,
    lag_leaves: u64,
    /// Events that the server has taken since the site started.
    taken: u64,
    /// Number of leaves that the server refused.
    parked: u64,
    /// The newest of them, newest first.
    newest_parked: Vec<ParkedLeaf>,
    /// Why the last call led to nothing; `null` while all is well.
    trouble: Option<String>,
}

impl Mirrored {
    pub(super) fn of(progress: &MirrorProgress, leaves: u64) -> Self {
        let MirrorProgress { server, next_leaf, taken, parked, trouble } = progress;
        Self {
            server: server.clone(),
            leaves,
            next_leaf: *next_leaf,
            lag_leaves: leaves.saturating_sub(*next_leaf),
            taken: *taken,
            parked: parked.count,
            newest_parked: parked.newest.iter().rev().take(PARKED_SHOWN_MAX).cloned().collect(),
            trouble: trouble.clone(),
        }
    }
}
