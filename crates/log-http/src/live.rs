//! The live feed: the end of the log as server-sent events, from the client's position on.
//!
//! The port that offers the feed decides who may follow it: the log port requires a token, and the
//! page's port answers only its own page.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::get,
};
use futures::{Stream, stream};
use http_server::problem;
use ledger::Ledger;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use services::log_reading::{Content, read_leaves};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::error;
use work::Room;

/// Most clients of one port's feed at once.
const CLIENTS_MAX: usize = 256;
/// Most leaves that a client may be behind. It asks the gateway for older ones.
const BACKLOG_MAX: u64 = 1_000;
/// Most envelopes read at once for one client.
const BATCH_MAX: usize = 200;
/// Most bytes of these envelopes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Most batches read at once for all clients; further reads wait.
const READS_AT_ONCE_MAX: usize = 16;
/// Interval of keep-alive comments on an idle feed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Asks a proxy not to buffer the feed until it ends, because it never ends. nginx and other
/// proxies honour this header.
const NOT_BUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// The live feed of one port.
#[derive(Clone, Debug)]
pub struct LiveFeed {
    ledger: Ledger,
    clients: Arc<Semaphore>,
    reads: Room,
    shutdown: CancellationToken,
}

/// A client's position in the log. It reads only when the client takes more. So a slow client costs
/// no memory, and the feed tells it which leaves it missed.
struct Follower {
    ledger: Ledger,
    next_leaf: u64,
    waiting: std::vec::IntoIter<(u64, Content)>,
    reads: Room,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl LiveFeed {
    /// Routes of the feed at `/live`, without a token, for every client that reaches the port.
    pub fn for_anyone(self) -> Router {
        Router::new().route("/live", get(follow)).with_state(self)
    }

    /// The feed of `ledger`. Its streams end at `shutdown`.
    pub fn new(ledger: Ledger, shutdown: CancellationToken) -> Self {
        let (clients, reads) = (Arc::new(Semaphore::new(CLIENTS_MAX)), Room::of(READS_AT_ONCE_MAX));
        Self { ledger, clients, reads, shutdown }
    }

    /// Follows the end of the log. It starts after the leaf that a reconnecting client names, else
    /// at the leaf `from`, else at the next new leaf.
    pub fn follow(&self, from: Option<u64>, headers: &HeaderMap) -> Response {
        let Ok(permit) = Arc::clone(&self.clients).try_acquire_owned() else {
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the live feed has its maximum number of clients: try again later",
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

    /// The next event; `None` if the site stops or the log cannot be read.
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some((leaf, content)) = self.waiting.next() {
            return told(leaf, &content);
        }
        let mut size = self.ledger.watch_size();
        let grown = size.wait_for(|size| *size > self.next_leaf);
        let size = *self.shutdown.run_until_cancelled(grown).await?.ok()?;
        let oldest = size.saturating_sub(BACKLOG_MAX);
        if self.next_leaf < oldest {
            let from = std::mem::replace(&mut self.next_leaf, oldest);
            return Some(missed(from, oldest));
        }
        let (ledger, from) = (self.ledger.clone(), self.next_leaf);
        let read = move || read_leaves(&ledger, from, BATCH_MAX, BATCH_BYTES_MAX);
        let contents = self
            .reads
            .blocking((), read)
            .await
            .ok()?
            .inspect_err(|failure| error!(%failure, "the live feed cannot read the log"))
            .ok()?;
        self.next_leaf += contents.len() as u64;
        self.waiting = (from..).zip(contents).collect::<Vec<_>>().into_iter();
        let (leaf, content) = self.waiting.next()?;
        told(leaf, &content)
    }
}

fn told(leaf: u64, content: &Content) -> Option<sse::Event> {
    let (name, bytes) = match content {
        Content::Envelope(bytes) => ("sealed", Some(bytes.as_slice())),
        Content::Erased => ("erased", None),
        // The site's own log names the unreadable leaf. It must not keep the leaves after it from
        // clients.
        Content::Unreadable(_) => return Some(missed(leaf, leaf + 1)),
    };
    let event = sse::Event::default().id(leaf.to_string()).event(name);
    Some(event.data(leaf_json(leaf, bytes)?))
}

/// Tells a client that it missed the leaves from `from` up to `to` (excluded).
fn missed(from: u64, to: u64) -> sse::Event {
    sse::Event::default().event("missed").data(json!({ "from": from, "to": to }).to_string())
}

/// JSON of a leaf with its envelope, byte for byte. Without an envelope if it was erased.
pub(crate) fn leaf_json(leaf: u64, envelope: Option<&[u8]>) -> Option<String> {
    Some(match envelope {
        Some(bytes) => {
            let envelope: &RawValue = serde_json::from_slice(bytes).ok()?;
            format!(r#"{{"leaf":{leaf},"envelope":{}}}"#, envelope.get())
        }
        None => format!(r#"{{"leaf":{leaf}}}"#),
    })
}

/// Query parameters of `/live`.
#[derive(Deserialize)]
struct Begin {
    from: Option<u64>,
}

/// Serves the live feed without a token: anyone who may open the page may read every envelope on
/// it.
async fn follow(
    State(live): State<LiveFeed>,
    begin: Result<Query<Begin>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    match begin {
        Ok(Query(Begin { from })) => live.follow(from, &headers),
        Err(rejection) => problem(
            StatusCode::BAD_REQUEST,
            &format!("`from` must be a leaf: {}", rejection.body_text()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures::StreamExt as _;
    use ledger::Batch;
    use model::{Event, Timestamp};
    use tlog::{KeyName, Signer};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leaf_that_cannot_be_read_is_missed_and_those_behind_it_come() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let segments = fs::read_dir(folder.path().join("segments")).unwrap();
        let segment = segments.map(|entry| entry.unwrap().path()).next().unwrap();
        let mut ends = Vec::new();
        for words in ["before", "lost", "behind"] {
            let event = Event::site("TEST", "test", words.into(), Timestamp::from_unix_micros(0));
            ledger.append(Batch::of(vec![event])).await.unwrap();
            ends.push(fs::read(&segment).unwrap().len());
        }
        let mut damaged = fs::read(&segment).unwrap();
        damaged[ends[0] + 60..ends[1]].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&segment, damaged).unwrap();

        let feed = LiveFeed::new(ledger, CancellationToken::new());
        let mut sent = feed.follow(Some(1), &HeaderMap::new()).into_body().into_data_stream();
        let mut told = String::new();
        while !told.contains("behind") {
            let part = timeout(Duration::from_secs(60), sent.next()).await.unwrap();
            told.push_str(str::from_utf8(&part.expect("the feed goes on").unwrap()).unwrap());
        }
        assert!(told.contains("before") && !told.contains("lost"), "{told}");
        assert!(told.contains(r#"{"from":2,"to":3}"#), "{told}");
        writer.close().await.unwrap();
    }
}
