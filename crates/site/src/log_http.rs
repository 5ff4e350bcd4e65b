//! The log port: the log as C2SP tlog-tiles lays it out for anyone; envelopes and the live feed for who has the access token; orders for the operator;
//! Pangea's API for programs that have one of its tokens.
//!
//! Only requests that name the machine itself are answered, so that a page from elsewhere cannot reach the port under a name of its own.

use std::{
    convert::Infallible, fmt::Write as _, sync::Arc, sync::atomic::Ordering, time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::{get, post},
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

use crate::{
    AccessToken,
    bus::Connection,
    cosigning::{WatchWitnessed, witnessed_leaves},
    error_chain::chain,
    operator::{Operator, Order},
    pangea_http,
};

/// Clients of the live feed at once.
const LIVE_CLIENTS_MAX: usize = 256;
/// How many leaves back a client of the live feed may go on; what lies further back it asks the gateway for.
const LIVE_BACKLOG_MAX: u64 = 1_000;
/// Envelopes read at once for one client.
const LIVE_BATCH_MAX: usize = 200;
/// Bytes of them.
const LIVE_BATCH_BYTES_MAX: usize = 1 << 20;
/// Envelopes in one answer to `/envelopes`; whoever wants more asks again from the leaf after the last.
const ENVELOPES_MAX: usize = 1_000;
/// Bytes of them; the first is always there.
const ENVELOPES_BYTES_MAX: usize = 4 << 20;
/// Answers with envelopes that are made at once; further ones wait.
const ENVELOPES_AT_ONCE_MAX: usize = 8;
/// A sign of life on the feed while nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the log port shows.
pub(crate) struct LogHttp {
    pub(crate) ledger: Ledger,
    pub(crate) operator: Operator,
    /// Lets the operator in.
    pub(crate) operator_token: AccessToken,
    /// Lets whoever may read envelopes in.
    pub(crate) access_token: AccessToken,
    pub(crate) counters: watch::Receiver<Counters>,
    pub(crate) connection: Connection,
    /// What satisfies the site's policy, where it has one.
    pub(crate) witnessed: Option<WatchWitnessed>,
    /// The first leaf that is not indexed.
    pub(crate) indexed: watch::Receiver<u64>,
    /// Origins of the page, which may read from here.
    pub(crate) page_origins: Vec<HeaderValue>,
    pub(crate) pangea: pangea_http::Api,
}

#[derive(Clone)]
struct Shared {
    ledger: Ledger,
    operator: Operator,
    operator_token: AccessToken,
    access_token: AccessToken,
    counters: watch::Receiver<Counters>,
    connection: Connection,
    witnessed: Option<WatchWitnessed>,
    indexed: watch::Receiver<u64>,
    live_clients: Arc<Semaphore>,
    envelopes_at_once: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Answers until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, log: LogHttp, shutdown: CancellationToken) {
    let shared = Shared {
        ledger: log.ledger,
        operator: log.operator,
        operator_token: log.operator_token,
        access_token: log.access_token,
        counters: log.counters,
        connection: log.connection,
        witnessed: log.witnessed,
        indexed: log.indexed,
        live_clients: Arc::new(Semaphore::new(LIVE_CLIENTS_MAX)),
        envelopes_at_once: Arc::new(Semaphore::new(ENVELOPES_AT_ONCE_MAX)),
        shutdown: shutdown.clone(),
    };
    let router = Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/checkpoint/unwitnessed", get(unwitnessed))
        .route("/vkey", get(vkey))
        .route("/keys", get(keys))
        .route("/tile/{*path}", get(tile))
        .route("/envelopes", get(envelopes))
        .route("/live", get(live))
        .route("/metrics", get(metrics))
        .route("/operator", post(operator))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "there is /checkpoint, /checkpoint/unwitnessed, /tile/..., /vkey, /keys, /envelopes, /live, /metrics, /operator, \
                 and Pangea's API under /v1 and /v2",
            )
        })
        .layer(CorsLayer::new().allow_origin(log.page_origins))
        .with_state(shared)
        // Programs call it, not pages: it has no word for other origins.
        .merge(log.pangea.router())
        .layer(middleware::from_fn(only_for_this_machine));
    http_server::serve(listener, router, pangea_http::no_room, shutdown).await;
}

/// A browser that was led here by a name of someone else's says that name.
async fn only_for_this_machine(request: Request, next: Next) -> Response {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_this_machine(host) {
        next.run(request).await
    } else {
        problem(
            StatusCode::MISDIRECTED_REQUEST,
            "this port answers to localhost, 127.0.0.1 and [::1] only",
        )
    }
}

/// Whether a Host header has one of the machine's own names, and behind it a port or nothing: Pangea's API makes addresses of it.
fn is_this_machine(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    })
}

/// The newest checkpoint that satisfies the site's policy; where it has none, the newest one.
async fn checkpoint(State(shared): State<Shared>) -> Response {
    let Some(witnessed) = &shared.witnessed else { return unwitnessed(State(shared)).await };
    let witnessed = witnessed.borrow().clone();
    witnessed.map_or_else(
        || {
            problem(
                StatusCode::NOT_FOUND,
                "the site's witnesses have cosigned no checkpoint yet; the log's own is at /checkpoint/unwitnessed",
            )
        },
        |witnessed| note(witnessed.note.to_string()),
    )
}

/// The newest checkpoint, signed by the log alone.
async fn unwitnessed(State(shared): State<Shared>) -> Response {
    note(shared.ledger.published().note.clone())
}

fn note(text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
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
    if let Some(leaves) = witnessed_leaves(shared.witnessed.as_ref()) {
        line(&mut text, "sealwire_witnessed_leaves", "gauge", leaves);
    }
    let indexed = *shared.indexed.borrow();
    line(&mut text, "sealwire_index_leaves", "gauge", indexed);
    let lag = shared.ledger.size().saturating_sub(indexed);
    line(&mut text, "sealwire_index_lag_leaves", "gauge", lag);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn line(text: &mut String, name: &str, kind: &str, value: u64) {
    writeln!(text, "# TYPE {name} {kind}\n{name} {value}")
        .expect("writing to a string cannot fail");
}

/// From which leaf on, and how many.
#[derive(Deserialize)]
struct Span {
    from: Option<u64>,
    count: Option<usize>,
    /// The access token, for an `EventSource`, which cannot send headers.
    token: Option<String>,
}

/// Whoever sends the access token may ask for envelopes.
impl FromRequestParts<Shared> for Span {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        let Query(span) = Query::<Self>::try_from_uri(&parts.uri).map_err(|rejection| {
            let words = format!("`from` is a leaf and `count` a number: {}", rejection.body_text());
            problem(StatusCode::BAD_REQUEST, &words)
        })?;
        let offered = span.token.as_deref().is_some_and(|token| shared.access_token.is(token));
        if offered || shared.access_token.is_in(&parts.headers) {
            Ok(span)
        } else {
            let words = "envelopes need the token in the data directory's file `access-token`";
            Err(unauthorized(words))
        }
    }
}

fn unauthorized(detail: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Envelopes from a leaf on, a line of JSON each.
async fn envelopes(State(shared): State<Shared>, span: Span) -> Response {
    let (from, size) = (span.from.unwrap_or(0), shared.ledger.size());
    if from > size {
        let words = format!("the log has {size} leaves: ask for one of them");
        return problem(StatusCode::NOT_FOUND, &words);
    }
    let count = span.count.unwrap_or(ENVELOPES_MAX).min(ENVELOPES_MAX);
    let _room = shared.envelopes_at_once.acquire().await.expect("nobody closes the semaphore");
    let ledger = shared.ledger.clone();
    let read = spawn_blocking(move || ledger.envelopes(from, count, ENVELOPES_BYTES_MAX));
    match read.await {
        Ok(Ok(stored)) => {
            let mut lines = String::new();
            for line in stored.iter().filter_map(leaf_json) {
                lines.push_str(&line);
                lines.push('\n');
            }
            let headers =
                [(header::CONTENT_TYPE, "application/jsonl"), (header::CACHE_CONTROL, "no-store")];
            (headers, lines).into_response()
        }
        Ok(Err(failure)) => internal(&failure),
        Err(panic) => internal(&panic),
    }
}

/// Carries out what the operator orders.
async fn operator(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !shared.operator_token.is_in(&headers) {
        return unauthorized("orders need the operator's token in the data directory's `run.json`");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, &format!("this is not an order: {error}"));
        }
    };
    match shared.operator.carry_out(order).await {
        Ok(done) => {
            let json = serde_json::to_string(&done).expect("what was done has only text keys");
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(failure) => {
            let status = if failure.is_refusal() {
                StatusCode::CONFLICT
            } else {
                error!(%failure, source = std::error::Error::source(&failure), "an order failed");
                StatusCode::INTERNAL_SERVER_ERROR
            };
            // The operator is told everything: it is their machine.
            problem(status, &chain(&failure))
        }
    }
}

/// The live feed: the log's tail from the client's place on, or from now on.
async fn live(State(shared): State<Shared>, span: Span, headers: HeaderMap) -> Response {
    let Ok(permit) = Arc::clone(&shared.live_clients).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the live feed has as many clients as it takes; try again later",
        );
    };
    let last_seen =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = last_seen.map(|leaf| leaf.saturating_add(1)).or(span.from);
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
    let name = if stored.bytes.is_some() { "sealed" } else { "erased" };
    let event = sse::Event::default().id(stored.leaf.to_string()).event(name);
    Some(event.data(leaf_json(stored)?))
}

/// A leaf with its envelope, byte for byte; the leaf alone where the envelope was erased.
fn leaf_json(stored: &StoredEnvelope) -> Option<String> {
    let leaf = stored.leaf;
    Some(match &stored.bytes {
        Some(bytes) => {
            let envelope: &RawValue = serde_json::from_slice(bytes).ok()?;
            format!(r#"{{"leaf":{leaf},"envelope":{}}}"#, envelope.get())
        }
        None => format!(r#"{{"leaf":{leaf}}}"#),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machines_own_names_are_answered() {
        for host in ["localhost", "localhost:8081", "127.0.0.1:8081", "[::1]", "[::1]:8081"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            ":8081",
            "::1",
            "[::1]8081",
            "localhost.evil.example",
            "evil.example:8081",
            "localhost:1@evil.example",
            "localhost:8081/",
            "127.0.0.1:80:81",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
