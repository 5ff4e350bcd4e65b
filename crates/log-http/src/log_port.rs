//! The log port. It serves the public files of the log in the layout of C2SP tlog-tiles to anyone,
//! envelopes and the live feed to clients with the access token, and Pangea's API to programs with
//! one of its API tokens.
//!
//! It answers only requests whose Host header names this machine, so that a web page from elsewhere
//! cannot reach the port under a name of its own (DNS rebinding). Where other machines reach the
//! port, these names are those of the site's certificate too, `/metrics` needs a token, and wrong
//! tokens are counted as on the page's port.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use access::{AccessToken, Gate, REFUSALS_PERIOD, Refusal, bearer, sensors::SensorCredentials};
use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http_server::{Answers, Listener, Peer, Places, is_this_machine, is_under, problem};
use ledger::{Ledger, ReadError, StoredEnvelope};
use poll::Counters;
use prometheus::Histogram;
use serde::Deserialize;
use services::{
    applications, lag::Lag, mirroring::MirrorProgress, pipeline::Meters, progress::Progress,
    site_clock::SiteClock,
};
use tls::{Health, Served};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use work::{Room, Service};

use crate::{
    internal::internal,
    live::{LiveFeed, leaf_json},
    metrics::Exposition,
    public_log::{PublicLog, log_path},
};

/// Most envelopes in one answer to `/envelopes`. For more, a client asks again from the leaf after
/// the last one.
const ENVELOPES_MAX: usize = 1_000;
/// Most bytes of these envelopes. The answer always has the first one.
const ENVELOPES_BYTES_MAX: usize = 4 << 20;
/// Most answers with envelopes that are being made or wait for memory; further requests wait.
const ENVELOPES_AT_ONCE_MAX: usize = 8;
/// Most bytes of large answers with envelopes that are being sent: as many as the largest possible
/// answers made at once have.
const ANSWERS_BYTES_MAX: usize = ENVELOPES_AT_ONCE_MAX * ENVELOPES_BYTES_MAX;
/// Everything that the log port serves.
#[derive(Debug)]
pub struct LogPort {
    /// Where clients connect.
    pub listener: Listener,
    /// The certificate that the port shows where other machines reach it. The port's names besides
    /// the machine's own are those in it.
    pub served: Option<Served>,
    /// Whether other machines reach the port. Then `/metrics` needs a token too, and wrong tokens
    /// are counted.
    pub is_open: bool,
    /// Counts wrong tokens, and knows those that may read `/metrics`.
    pub gate: Gate,
    /// Counts what devices were refused, for `/metrics`.
    pub credentials: SensorCredentials,
    /// How the certificate of the site's ports is, if it has one.
    pub certificate: Option<watch::Receiver<Health>>,
    /// The public files, served without a token.
    pub log: PublicLog,
    /// Token that gives access to envelopes.
    pub access_token: AccessToken,
    /// The poller's counters, for `/metrics`.
    pub counters: watch::Receiver<Counters>,
    /// Counters of what devices report by themselves, for `/metrics`.
    pub pushed: watch::Receiver<pushed::Counters>,
    /// Starts of components that were forbidden.
    pub forbidden: Arc<AtomicU64>,
    /// What has become of events that applications handed in.
    pub applications: Arc<applications::Counters>,
    /// Messages of the message bus that were dropped, for `/metrics`.
    pub dropped: Arc<AtomicU64>,
    /// Progress of the index.
    pub progress: Progress,
    /// How far those who follow the log are behind.
    pub lags: watch::Receiver<Vec<Lag>>,
    /// How far the mirror is, if there is one.
    pub mirror: Option<watch::Receiver<MirrorProgress>>,
    /// The machine's clock, for `/metrics`.
    pub clock: SiteClock,
    /// What the services have timed.
    pub timings: Vec<Histogram>,
    /// What is known of the questions to components.
    pub pipeline: Meters,
    /// Further routes of the port.
    pub others: Router,
    /// Makes the answer to a client when the port has no room for it.
    pub no_room: fn() -> Response,
    /// Makes the answer to a client from whose network too many wrong tokens came.
    pub too_many_wrong_tokens: fn() -> Response,
}

#[derive(Clone)]
struct Shared {
    ledger: Ledger,
    access_token: AccessToken,
    is_open: bool,
    gate: Gate,
    credentials: SensorCredentials,
    certificate: Option<watch::Receiver<Health>>,
    counters: watch::Receiver<Counters>,
    pushed: watch::Receiver<pushed::Counters>,
    forbidden: Arc<AtomicU64>,
    applications: Arc<applications::Counters>,
    dropped: Arc<AtomicU64>,
    progress: Progress,
    lags: watch::Receiver<Vec<Lag>>,
    mirror: Option<watch::Receiver<MirrorProgress>>,
    clock: SiteClock,
    timings: Vec<Histogram>,
    pipeline: Meters,
    live: LiveFeed,
    envelopes: Envelopes,
}

impl Service for LogPort {
    const NAME: &'static str = "the log port";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let ledger = self.log.ledger.clone();
        let shared = Shared {
            live: LiveFeed::new(ledger.clone(), shutdown.clone()),
            ledger,
            access_token: self.access_token,
            is_open: self.is_open,
            gate: self.gate.clone(),
            credentials: self.credentials,
            certificate: self.certificate,
            counters: self.counters,
            pushed: self.pushed,
            forbidden: self.forbidden,
            applications: self.applications,
            dropped: self.dropped,
            progress: self.progress,
            lags: self.lags,
            mirror: self.mirror,
            clock: self.clock,
            timings: self.timings,
            pipeline: self.pipeline,
            envelopes: Envelopes::new(),
        };
        // The log's own addresses, and the same below its id.
        let log_path = log_path(self.log.ledger.log_id());
        let log = Router::new()
            .route("/envelopes", get(envelopes))
            .route("/live", get(live))
            .with_state(shared.clone())
            .merge(self.log.router());
        let router = Router::new()
        .route("/metrics", get(metrics))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "no such path; there are /checkpoint, /checkpoint/unwitnessed, /tile/..., /vkey, \
                 /keys, /envelopes and /live, the same under /logs/<id of the log>, /metrics, and \
                 Pangea's API under /v1 and /v2",
            )
        })
        .with_state(shared)
        .nest(&log_path, log.clone())
        .merge(log)
        .merge(self.others);
        let counting = (self.gate, self.too_many_wrong_tokens);
        let counted = middleware::from_fn_with_state(counting, count_wrong_tokens);
        let router = if self.is_open { router.layer(counted) } else { router };
        let router =
            router.layer(middleware::from_fn_with_state(self.served, only_under_its_names));
        http_server::serve(Places::MANY, self.listener, router, self.no_room, shutdown).await;
        Ok(())
    }
}

/// Refuses a browser that was led here under a foreign name: its Host header holds that name.
async fn only_under_its_names(
    State(served): State<Option<Served>>,
    request: Request,
    next: Next,
) -> Response {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // Those of now: the certificate may have been replaced.
    let names = served.map(|served| served.names()).unwrap_or_default();
    let is_a_name = || names.iter().any(|name| is_under(&host.to_ascii_lowercase(), name));
    if is_this_machine(host) || is_a_name() {
        return next.run(request).await;
    }
    let others: String = names.iter().map(|name| format!(", {name}")).collect();
    problem(
        StatusCode::MISDIRECTED_REQUEST,
        &format!("this port answers only as localhost, 127.0.0.1, [::1]{others}"),
    )
}

/// Counts the requests that are refused for their token. Those that offer none are not counted.
async fn count_wrong_tokens(
    State((gate, too_many)): State<(Gate, fn() -> Response)>,
    request: Request,
    next: Next,
) -> Response {
    let is_in_address =
        |query: &str| query.split('&').any(|parameter| parameter.starts_with("token="));
    let offers =
        bearer(request.headers()).is_some() || request.uri().query().is_some_and(is_in_address);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let answer = next.run(request).await;
    let (Some(address), true, StatusCode::UNAUTHORIZED) = (peer, offers, answer.status()) else {
        return answer;
    };
    match gate.turn_away(address) {
        Refusal::TooMany => {
            let mut answer = too_many();
            answer.headers_mut().insert(header::RETRY_AFTER, REFUSALS_PERIOD.as_secs().into());
            answer
        }
        Refusal::Unknown | Refusal::Wrong | Refusal::Full => answer,
    }
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if shared.is_open {
        let reader = bearer(&headers).and_then(|offered| shared.gate.reader(offered));
        if reader.is_none() && !shared.access_token.is_in(&headers) {
            return unauthorized("to read metrics here, send an API token that may read");
        }
    }
    let Shared {
        ledger,
        counters,
        pushed,
        forbidden,
        applications,
        dropped,
        progress,
        lags,
        mirror,
        clock,
        timings,
        pipeline,
        certificate,
        gate,
        credentials,
        ..
    } = shared;
    let mut metrics = Exposition::default();
    metrics.counters(&counters.borrow(), dropped.load(Ordering::Relaxed));
    metrics.pushed(&pushed.borrow());
    metrics.applications(&applications);
    metrics.forbidden(forbidden.load(Ordering::Relaxed));
    metrics.refusals(credentials.refused_total(), gate.refused_total());
    metrics.log(ledger.size(), progress.now().passed_over);
    metrics.followers(&lags.borrow());
    if let Some(mirror) = mirror {
        metrics.mirror(&mirror.borrow(), ledger.size());
    }
    metrics.clock(&clock.quality());
    metrics.pipeline(&pipeline);
    metrics.histograms(&ledger, &timings);
    if let Some(certificate) = certificate {
        metrics.certificate(&certificate.borrow());
    }
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(failure) => internal(&failure),
    }
}

/// Query parameters of `/envelopes` and `/live`: the first leaf, and the number of envelopes.
#[derive(Deserialize)]
struct Span {
    from: Option<u64>,
    count: Option<usize>,
    /// Access token for an `EventSource`, which cannot send headers.
    token: Option<String>,
}

/// Admits only requests with the access token.
impl FromRequestParts<Shared> for Span {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        let Query(span) = Query::<Self>::try_from_uri(&parts.uri).map_err(|rejection| {
            let words =
                format!("`from` must be a leaf and `count` a number: {}", rejection.body_text());
            problem(StatusCode::BAD_REQUEST, &words)
        })?;
        let offered = span.token.as_deref().is_some_and(|token| shared.access_token.is(token));
        if offered || shared.access_token.is_in(&parts.headers) {
            Ok(span)
        } else {
            let words = "to read envelopes, send the token from the file `access-token` in the data directory";
            Err(unauthorized(words))
        }
    }
}

fn unauthorized(detail: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Serves envelopes from a leaf on, one line of JSON for each.
async fn envelopes(State(shared): State<Shared>, span: Span) -> Response {
    let (from, size) = (span.from.unwrap_or(0), shared.ledger.size());
    if from > size {
        let words = format!("the log has {size} leaves: ask for a smaller leaf");
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

/// Makes answers with envelopes, within limits on their number and on the bytes still being sent.
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
        // Held until there is memory for the answer, which limits the number of answers that wait
        // for memory.
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
            let words = "other clients are reading their envelopes slowly, so there is no room for more: try again shortly";
            problem(StatusCode::SERVICE_UNAVAILABLE, words)
        })
    }
}

/// Serves the live feed from the client's position on, or from the next new leaf.
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
        // Many requests at once wait for memory before their answers are made.
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
