//! The log port: the log as C2SP tlog-tiles lays it out for anyone; envelopes and the live feed for who has the access token; orders for the operator;
//! Pangea's API for programs that have one of its tokens.
//!
//! Only requests that name the machine itself are answered, so that a page from elsewhere cannot reach the port under a name of its own.

use std::{fmt::Write as _, sync::Arc, sync::atomic::Ordering};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_server::Places;
use ledger::{Ledger, StoredEnvelope};
use poll::Counters;
use serde::Deserialize;
use serde_json::json;
use tlog::TilePath;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
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
    live::{LiveFeed, leaf_json},
    operator::{Operator, Order},
    pangea_http,
    problem::problem,
};

/// Envelopes in one answer to `/envelopes`; whoever wants more asks again from the leaf after the last.
const ENVELOPES_MAX: usize = 1_000;
/// Bytes of them; the first is always there.
const ENVELOPES_BYTES_MAX: usize = 4 << 20;
/// Answers with envelopes that are made at once; further ones wait.
const ENVELOPES_AT_ONCE_MAX: usize = 8;

/// What a log shows to anyone, on whichever port.
#[derive(Clone, Debug)]
pub(crate) struct PublicLog {
    pub(crate) ledger: Ledger,
    /// What satisfies the site's policy, where it has one.
    pub(crate) witnessed: Option<WatchWitnessed>,
}

/// What the log port shows.
pub(crate) struct LogHttp {
    pub(crate) log: PublicLog,
    pub(crate) operator: Operator,
    /// Lets the operator in.
    pub(crate) operator_token: AccessToken,
    /// Lets whoever may read envelopes in.
    pub(crate) access_token: AccessToken,
    pub(crate) counters: watch::Receiver<Counters>,
    pub(crate) connection: Connection,
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
    live: LiveFeed,
    envelopes_at_once: Arc<Semaphore>,
}

/// Answers until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, served: LogHttp, shutdown: CancellationToken) {
    let PublicLog { ledger, witnessed } = served.log.clone();
    let shared = Shared {
        live: LiveFeed::new(ledger.clone(), shutdown.clone()),
        ledger,
        operator: served.operator,
        operator_token: served.operator_token,
        access_token: served.access_token,
        counters: served.counters,
        connection: served.connection,
        witnessed,
        indexed: served.indexed,
        envelopes_at_once: Arc::new(Semaphore::new(ENVELOPES_AT_ONCE_MAX)),
    };
    let router = Router::new()
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
        .with_state(shared)
        .merge(served.log.router())
        .layer(CorsLayer::new().allow_origin(served.page_origins))
        // Programs call it, not pages: it has no word for other origins.
        .merge(served.pangea.router())
        .layer(middleware::from_fn(only_for_this_machine));
    http_server::serve(Places::MANY, listener, router, pangea_http::no_room, shutdown).await;
}

impl PublicLog {
    /// Checkpoints, keys and tiles.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/checkpoint", get(checkpoint))
            .route("/checkpoint/unwitnessed", get(unwitnessed))
            .route("/vkey", get(vkey))
            .route("/keys", get(keys))
            .route("/tile/{*path}", get(tile))
            .with_state(self)
    }
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
pub(crate) fn is_this_machine(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        host.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    })
}

/// The newest checkpoint that satisfies the site's policy; where it has none, the newest one.
async fn checkpoint(State(log): State<PublicLog>) -> Response {
    let Some(witnessed) = &log.witnessed else { return unwitnessed(State(log)).await };
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
async fn unwitnessed(State(log): State<PublicLog>) -> Response {
    note(log.ledger.published().note.clone())
}

fn note(text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

async fn vkey(State(log): State<PublicLog>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, format!("{}\n", log.ledger.vkey())).into_response()
}

/// The events that name the log's keys, as they were sealed.
async fn keys(State(log): State<PublicLog>) -> Response {
    let ledger = log.ledger;
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

async fn tile(State(log): State<PublicLog>, Path(path): Path<String>) -> Response {
    let path = match TilePath::parse(&format!("tile/{path}")) {
        Ok(path) => path,
        Err(error) => return problem(StatusCode::NOT_FOUND, &error.to_string()),
    };
    let ledger = log.ledger;
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
    shared.live.follow(span.from, &headers)
}

fn internal(failure: &dyn std::error::Error) -> Response {
    error!(%failure, source = failure.source(), "a request to the log port failed");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the site could not read its log; its own log says why",
    )
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
