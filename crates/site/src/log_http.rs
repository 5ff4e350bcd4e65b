//! The log port: the log as C2SP tlog-tiles lays it out, the live feed, and the counters.
//!
//! Only requests that name the machine itself are answered, so that a page from elsewhere cannot reach the port under a name of its own.

use std::{
    convert::Infallible, fmt::Write as _, io, sync::Arc, sync::atomic::Ordering, time::Duration,
};

use axum::{
    Router,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::get,
};
use futures::{Stream, stream};
use ledger::{Ledger, StoredEnvelope};
use poll::Counters;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tlog::TilePath;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;
use tracing::error;

use crate::bus::Connection;

/// Clients of the live feed at once.
const LIVE_CLIENTS_MAX: usize = 256;
/// How many leaves back a client of the live feed may go on; what lies further back it asks the gateway for.
const LIVE_BACKLOG_MAX: u64 = 1_000;
/// Envelopes read at once for one client.
const LIVE_BATCH_MAX: usize = 200;
/// Bytes of them.
const LIVE_BATCH_BYTES_MAX: usize = 1 << 20;
/// A sign of life on the feed while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the log port shows.
pub(crate) struct LogHttp {
    pub(crate) ledger: Ledger,
    pub(crate) counters: watch::Receiver<Counters>,
    pub(crate) connection: Connection,
    /// Origins of the page, which may read from here.
    pub(crate) page_origins: Vec<HeaderValue>,
}

#[derive(Clone)]
struct Shared {
    ledger: Ledger,
    counters: watch::Receiver<Counters>,
    connection: Connection,
    live_clients: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Answers until `shutdown`.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    log: LogHttp,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let shared = Shared {
        ledger: log.ledger,
        counters: log.counters,
        connection: log.connection,
        live_clients: Arc::new(Semaphore::new(LIVE_CLIENTS_MAX)),
        shutdown: shutdown.clone(),
    };
    let router = Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/vkey", get(vkey))
        .route("/keys", get(keys))
        .route("/tile/{*path}", get(tile))
        .route("/live", get(live))
        .route("/metrics", get(metrics))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "there is /checkpoint, /tile/..., /vkey, /keys, /live and /metrics",
            )
        })
        .layer(CorsLayer::new().allow_origin(log.page_origins))
        .layer(middleware::from_fn(only_for_this_machine))
        .with_state(shared);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// A browser that was led here by a name of someone else's says that name.
async fn only_for_this_machine(request: Request, next: Next) -> Response {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        next.run(request).await
    } else {
        problem(
            StatusCode::MISDIRECTED_REQUEST,
            "this port answers to localhost and 127.0.0.1 only",
        )
    }
}

async fn checkpoint(State(shared): State<Shared>) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, shared.ledger.published().note.clone()).into_response()
}

async fn vkey(State(shared): State<Shared>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, format!("{}\n", shared.ledger.vkey())).into_response()
}

/// The events that name the log's keys, as they were sealed.
async fn keys(State(shared): State<Shared>) -> Response {
    let ledger = shared.ledger;
    let read = spawn_blocking(move || {
        let keys = ledger.keys().into_iter();
        let stored = keys.map(|key| ledger.envelopes(key.leaf, 1, usize::MAX));
        stored.collect::<Result<Vec<_>, _>>()
    });
    match read.await {
        Ok(Ok(stored)) => {
            let key = |stored: StoredEnvelope| {
                let envelope = String::from_utf8(stored.bytes?).ok()?;
                Some(json!({ "leaf": stored.leaf, "envelope": envelope }))
            };
            let keys: Vec<_> = stored.into_iter().flatten().filter_map(key).collect();
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (headers, json!({ "keys": keys }).to_string()).into_response()
        }
        Ok(Err(failure)) => internal(&failure),
        Err(panic) => internal(&panic),
    }
}

async fn tile(State(shared): State<Shared>, Path(path): Path<String>) -> Response {
    let path = match TilePath::parse(&format!("tile/{path}")) {
        Ok(path) => path,
        Err(error) => return problem(StatusCode::NOT_FOUND, &error.to_string()),
    };
    let ledger = shared.ledger;
    match spawn_blocking(move || ledger.tile(&path)).await {
        Ok(Ok(Some(bytes))) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, bytes).into_response()
        }
        Ok(Ok(None)) => {
            problem(StatusCode::NOT_FOUND, "the newest checkpoint's tree has no such tile")
        }
        Ok(Err(failure)) => internal(&failure),
        Err(panic) => internal(&panic),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    let counters = shared.counters.borrow().named();
    let dropped = shared.connection.dropped.load(Ordering::Relaxed);
    for (name, count) in counters.into_iter().chain([("dropped", dropped)]) {
        line(&mut text, &format!("sealwire_{name}_total"), "counter", count);
    }
    line(&mut text, "sealwire_leaves", "gauge", shared.ledger.size());
    line(
        &mut text,
        "sealwire_checkpoint_leaves",
        "gauge",
        shared.ledger.published().checkpoint.size.get(),
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn line(text: &mut String, name: &str, kind: &str, value: u64) {
    writeln!(text, "# TYPE {name} {kind}\n{name} {value}")
        .expect("writing to a string cannot fail");
}

#[derive(Deserialize)]
struct LiveParameters {
    from: Option<u64>,
}

/// The live feed: the log's tail from the client's place on, or from now on.
async fn live(
    State(shared): State<Shared>,
    parameters: Result<Query<LiveParameters>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Query(parameters) = match parameters {
        Ok(parameters) => parameters,
        Err(rejection) => {
            return problem(
                StatusCode::BAD_REQUEST,
                &format!("`from` is a leaf: {}", rejection.body_text()),
            );
        }
    };
    let Ok(permit) = Arc::clone(&shared.live_clients).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the live feed has as many clients as it takes; try again later",
        );
    };
    let last_seen =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = last_seen.map(|leaf| leaf.saturating_add(1)).or(parameters.from);
    let next_leaf = from.unwrap_or(u64::MAX).min(shared.ledger.size());
    let feed = Feed {
        ledger: shared.ledger,
        next_leaf,
        waiting: Vec::new().into_iter(),
        shutdown: shared.shutdown,
        _permit: permit,
    };
    Sse::new(feed.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One client's place in the log. It reads only when the client takes more, so a slow client costs nothing and is told what it missed.
struct Feed {
    ledger: Ledger,
    next_leaf: u64,
    waiting: std::vec::IntoIter<StoredEnvelope>,
    shutdown: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(event), feed))
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
        let oldest = size.saturating_sub(LIVE_BACKLOG_MAX);
        if self.next_leaf < oldest {
            let missed = json!({ "from": self.next_leaf, "to": oldest });
            self.next_leaf = oldest;
            return Some(sse::Event::default().event("missed").data(missed.to_string()));
        }
        let (ledger, from) = (self.ledger.clone(), self.next_leaf);
        let read =
            spawn_blocking(move || ledger.envelopes(from, LIVE_BATCH_MAX, LIVE_BATCH_BYTES_MAX))
                .await;
        let envelopes = read
            .ok()?
            .inspect_err(|failure| error!(%failure, "the live feed cannot read the log"))
            .ok()?;
        self.next_leaf = envelopes.last()?.leaf + 1;
        self.waiting = envelopes.into_iter();
        sealed(&self.waiting.next()?)
    }
}

fn sealed(stored: &StoredEnvelope) -> Option<sse::Event> {
    let leaf = stored.leaf;
    let (name, data) = match &stored.bytes {
        Some(bytes) => {
            let envelope: &RawValue = serde_json::from_slice(bytes).ok()?;
            ("sealed", format!(r#"{{"leaf":{leaf},"envelope":{}}}"#, envelope.get()))
        }
        None => ("erased", format!(r#"{{"leaf":{leaf}}}"#)),
    };
    Some(sse::Event::default().id(leaf.to_string()).event(name).data(data))
}

fn internal(failure: &dyn std::error::Error) -> Response {
    error!(%failure, source = failure.source(), "a request to the log port failed");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the site could not read its log; its own log says why",
    )
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string())
        .into_response()
}
