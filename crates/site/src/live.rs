//! The live feed: the log's tail as server-sent events, from a client's place on.
//!
//! Who may follow it is for the port that offers it: the log port asks for a token, the page's port answers its own page.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use ledger::{Ledger, StoredEnvelope};
use serde_json::{json, value::RawValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::error;
use work::Room;

use crate::problem::problem;

/// Clients of one port's feed at once.
const CLIENTS_MAX: usize = 256;
/// How many leaves back a client may go on; what lies further back it asks the gateway for.
const BACKLOG_MAX: u64 = 1_000;
/// Envelopes read at once for one client.
const BATCH_MAX: usize = 200;
/// Bytes of them.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Parts that are read at once for all clients; further ones wait.
const READS_AT_ONCE_MAX: usize = 16;
/// A sign of life on the feed while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Asks a proxy not to hold the feed back until it ends, which it never does. nginx reads it, and others do.
const NOT_BUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// The feed of one port.
#[derive(Clone, Debug)]
pub(crate) struct LiveFeed {
    ledger: Ledger,
    clients: Arc<Semaphore>,
    reads: Room,
    shutdown: CancellationToken,
}

/// One client's place in the log. It reads only when the client takes more, so a slow client costs nothing and is told what it missed.
struct Follower {
    ledger: Ledger,
    next_leaf: u64,
    waiting: std::vec::IntoIter<StoredEnvelope>,
    reads: Room,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl LiveFeed {
    pub(crate) fn new(ledger: Ledger, shutdown: CancellationToken) -> Self {
        let (clients, reads) = (Arc::new(Semaphore::new(CLIENTS_MAX)), Room::of(READS_AT_ONCE_MAX));
        Self { ledger, clients, reads, shutdown }
    }

    /// The log's tail: from where a client that reconnects had come to, else from this leaf on, else from now on.
    pub(crate) fn follow(&self, from: Option<u64>, headers: &HeaderMap) -> Response {
        let Ok(permit) = Arc::clone(&self.clients).try_acquire_owned() else {
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the live feed has as many clients as it takes; try again later",
            );
        };
        let last_seen =
            headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
        let from = last_seen.map(|leaf| leaf.saturating_add(1)).or(from);
        let follower = Follower {
            ledger: self.ledger.clone(),
            next_leaf: from.unwrap_or(u64::MAX).min(self.ledger.size()),
            waiting: Vec::new().into_iter(),
            reads: self.reads.clone(),
            shutdown: self.shutdown.clone(),
            _permit: permit,
        };
        let events = Sse::new(follower.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
        ([NOT_BUFFERED], events).into_response()
    }
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; `None` when the site stops or the log cannot be read.
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some(stored) = self.waiting.next() {
            return sealed(&stored);
        }
        let mut size = self.ledger.watch_size();
        let grown = size.wait_for(|size| *size > self.next_leaf);
        let size = *self.shutdown.run_until_cancelled(grown).await?.ok()?;
        let oldest = size.saturating_sub(BACKLOG_MAX);
        if self.next_leaf < oldest {
            let missed = json!({ "from": self.next_leaf, "to": oldest });
            self.next_leaf = oldest;
            return Some(sse::Event::default().event("missed").data(missed.to_string()));
        }
        let (ledger, from) = (self.ledger.clone(), self.next_leaf);
        let read = move || ledger.envelopes(from, BATCH_MAX, BATCH_BYTES_MAX);
        let envelopes = self
            .reads
            .blocking((), read)
            .await
            .ok()?
            .inspect_err(|failure| error!(%failure, "the live feed cannot read the log"))
            .ok()?;
        self.next_leaf = envelopes.last()?.leaf + 1;
        self.waiting = envelopes.into_iter();
        sealed(&self.waiting.next()?)
    }
}

fn sealed(stored: &StoredEnvelope) -> Option<sse::Event> {
    let name = if stored.bytes.is_some() { "sealed" } else { "erased" };
    let event = sse::Event::default().id(stored.leaf.to_string()).event(name);
    Some(event.data(leaf_json(stored)?))
}

/// A leaf with its envelope, byte for byte; the leaf alone where the envelope was erased.
pub(crate) fn leaf_json(stored: &StoredEnvelope) -> Option<String> {
    let leaf = stored.leaf;
    Some(match &stored.bytes {
        Some(bytes) => {
            let envelope: &RawValue = serde_json::from_slice(bytes).ok()?;
            format!(r#"{{"leaf":{leaf},"envelope":{}}}"#, envelope.get())
        }
        None => format!(r#"{{"leaf":{leaf}}}"#),
    })
}
