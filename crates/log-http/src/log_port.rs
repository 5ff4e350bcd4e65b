//! The log port: the log as C2SP tlog-tiles lays it out for anyone; envelopes and the live feed for
//! who has the access token; Pangea's API for programs that have one of its tokens.
//!
//! Only requests that name the machine itself are answered, so that a page from elsewhere cannot
//! reach the port under a name of its own.

use std::{fmt::Write as _, sync::Arc, sync::atomic::Ordering};

use access::AccessToken;
use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http_server::Places;
use http_server::{Answers, is_this_machine, problem};
use ledger::{Ledger, ReadError, StoredEnvelope};
use poll::Counters;
use serde::Deserialize;
use services::{
    bus::Connection,
    cosigning::{WatchWitnessed, witnessed_leaves},
    indexing::Indexed,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use work::Room;

use crate::{
    internal::internal,
    live::{LiveFeed, leaf_json},
    public_log::PublicLog,
};

/// Envelopes in one answer to `/envelopes`; whoever wants more asks again from the leaf after the
/// last.
const ENVELOPES_MAX: usize = 1_000;
/// Bytes of them; the first is always there.
const ENVELOPES_BYTES_MAX: usize = 4 << 20;
/// Answers with envelopes that are made at once, or wait for memory; further ones wait.
const ENVELOPES_AT_ONCE_MAX: usize = 8;
/// Bytes of all larger answers with envelopes that are on their way: those of as many of the
/// largest as are made at once.
const ANSWERS_BYTES_MAX: usize = ENVELOPES_AT_ONCE_MAX * ENVELOPES_BYTES_MAX;
/// What the log port shows.
#[derive(Debug)]
pub struct LogPort {
    pub log: PublicLog,
    /// Lets whoever may read envelopes in.
    pub access_token: AccessToken,
    pub counters: watch::Receiver<Counters>,
    pub connection: Connection,
    /// How far the index is.
    pub indexed: watch::Receiver<Indexed>,
    /// What else answers on the port.
    pub others: Router,
    /// What a client is told for whom the port has no room.
    pub no_room: fn() -> Response,
}

#[derive(Clone)]
struct Shared {
    ledger: Ledger,
    access_token: AccessToken,
    counters: watch::Receiver<Counters>,
    connection: Connection,
    witnessed: Option<WatchWitnessed>,
    indexed: watch::Receiver<Indexed>,
    live: LiveFeed,
    envelopes: Envelopes,
}

/// Answers until `shutdown`.
pub async fn serve(listener: TcpListener, served: LogPort, shutdown: CancellationToken) {
    let PublicLog { ledger, witnessed } = served.log.clone();
    let shared = Shared {
        live: LiveFeed::new(ledger.clone(), shutdown.clone()),
        ledger,
        access_token: served.access_token,
        counters: served.counters,
        connection: served.connection,
        witnessed,
        indexed: served.indexed,
        envelopes: Envelopes::new(),
    };
    let router = Router::new()
        .route("/envelopes", get(envelopes))
        .route("/live", get(live))
        .route("/metrics", get(metrics))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "there is /checkpoint, /checkpoint/unwitnessed, /tile/..., /vkey, /keys, /envelopes, /live, /metrics, \
                 and Pangea's API under /v1 and /v2",
            )
        })
        .with_state(shared)
        .merge(served.log.router())
        .merge(served.others)
        .layer(middleware::from_fn(only_for_this_machine));
    http_server::serve(Places::MANY, listener, router, served.no_room, shutdown).await;
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
    let Indexed { next_leaf, passed_over } = *shared.indexed.borrow();
    line(&mut text, "sealwire_index_leaves", "gauge", next_leaf);
    let lag = shared.ledger.size().saturating_sub(next_leaf);
    line(&mut text, "sealwire_index_lag_leaves", "gauge", lag);
    line(&mut text, "sealwire_index_passed_over_leaves", "gauge", passed_over);
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
    match shared.envelopes.answer(shared.ledger, from, count).await {
        Ok(body) => {
            let headers =
                [(header::CONTENT_TYPE, "application/jsonl"), (header::CACHE_CONTROL, "no-store")];
            (headers, body).into_response()
        }
        Err(refusal) => refusal,
    }
}

/// Makes answers with envelopes: so many at once, and of so many bytes until they are sent.
#[derive(Clone)]
struct Envelopes {
    at_once: Room,
    answers: Answers,
}

impl Envelopes {
    fn new() -> Self {
        let (at_once, answers) = (Room::of(ENVELOPES_AT_ONCE_MAX), Answers::of(ANSWERS_BYTES_MAX));
        Self { at_once, answers }
    }

    async fn answer(&self, ledger: Ledger, from: u64, count: usize) -> Result<Body, Response> {
        // Held until there is memory for the answer, so that no more of them wait for that.
        let place = Arc::new(self.at_once.place().await);
        let make = move || {
            let stored = ledger.envelopes(from, count, ENVELOPES_BYTES_MAX)?;
            let mut lines = String::new();
            let line = |it: &StoredEnvelope| leaf_json(it.leaf, it.bytes.as_deref());
            for line in stored.iter().filter_map(line) {
                lines.push_str(&line);
                lines.push('\n');
            }
            Ok::<_, ReadError>(lines)
        };
        let lines = match work::blocking(Arc::clone(&place), make).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(failure)) => return Err(internal(&failure)),
            Err(panic) => return Err(internal(&panic)),
        };
        self.answers.body(lines.into_bytes()).await.ok_or_else(|| {
            let words = "other clients take their envelopes slowly, and there is no room for more: try again in a moment";
            problem(StatusCode::SERVICE_UNAVAILABLE, words)
        })
    }
}

/// The live feed: the log's tail from the client's place on, or from now on.
async fn live(State(shared): State<Shared>, span: Span, headers: HeaderMap) -> Response {
    shared.live.follow(span.from, &headers)
}

#[cfg(test)]
mod tests {
    use ledger::Batch;
    use model::{Event, Timestamp};
    use tlog::{KeyName, Signer};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_readers_of_envelopes_hold_a_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let event = |_| Event::site("TEST", "test", "x".repeat(30_000), at);
        for _batch in 0..2 {
            ledger.append(Batch::of((0..100).map(event).collect())).await.unwrap();
        }
        let envelopes = Envelopes::new();
        let ask = || envelopes.answer(ledger.clone(), 0, ENVELOPES_MAX);
        let mut bodies = Vec::new();
        let refusal = loop {
            match ask().await {
                Ok(body) => bodies.push(body),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
        let sizes = bodies.iter().map(http_body_len);
        let held: u64 = sizes.sum();
        assert!(
            held <= ANSWERS_BYTES_MAX as u64 && bodies.len() >= ENVELOPES_AT_ONCE_MAX,
            "{held}"
        );
        bodies.pop();
        bodies.push(ask().await.unwrap());
        // Many at once are not all made before there is memory for them.
        let asking = futures::future::join_all((0..100).map(|_| ask()));
        assert!(asking.await.iter().all(Result::is_err));
        drop(bodies);
        drop(ask().await.unwrap());
        writer.close().await.unwrap();
    }

    fn http_body_len(body: &Body) -> u64 {
        use axum::body::HttpBody as _;
        body.size_hint().exact().unwrap()
    }

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
