//! The witness over HTTP/1.1: C2SP tlog-witness with add-checkpoint and the checkpoints for
//! monitors.
//!
//! [`http_server`] limits connections, head sizes and idle times; this module limits bodies.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_server::Places;
use model::error_chain;
use tlog::{PosixTime, RefuseError, add_checkpoint::REQUEST_BYTES_MAX};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use work::Room;

use crate::witness::{Refusal, Witness};

/// Number of requests that use the disk at the same time; further ones wait.
const WORK_AT_ONCE_MAX: usize = 64;
/// Most files that a witness has open: its connections, two for each request that uses the disk,
/// and some hundreds for everything else in the process.
pub const FILES_MAX: u64 = Places::MANY.files_max() + 1_024;
/// Time limit for receiving a whole body: enough for the largest body at 212 kbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that running requests have when the witness stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Shared {
    witness: Arc<Witness>,
    work: Room,
}

/// Serves until `shutdown`, then finishes the running requests.
pub async fn serve(listener: TcpListener, witness: Arc<Witness>, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/vkey", get(vkey))
        .route("/{origin_hash}/checkpoint", get(checkpoint))
        .fallback(|| async {
            let there =
                "there is POST /add-checkpoint, GET /<SHA-256 of an origin>/checkpoint and GET /vkey";
            (StatusCode::NOT_FOUND, format!("{there}\n"))
        })
        .with_state(Shared { witness, work: Room::of(WORK_AT_ONCE_MAX) });
    let stopped = shutdown.clone();
    let serving = http_server::serve(Places::MANY, listener, router, no_room, shutdown);
    let late = async {
        stopped.cancelled().await;
        sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        () = serving => {}
        () = late => warn!("stopping with unanswered requests"),
    }
}

fn no_room() -> Response {
    let soon = [(header::RETRY_AFTER, "1")];
    (soon, plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", http_server::NO_ROOM)))
        .into_response()
}

async fn vkey(State(Shared { witness, .. }): State<Shared>) -> String {
    format!("{}\n", witness.vkey())
}

async fn checkpoint(
    State(Shared { witness, work }): State<Shared>,
    Path(origin_hash): Path<String>,
) -> Response {
    // Another request may hold the lock while it writes a record.
    match work.blocking((), move || witness.checkpoint(&origin_hash)).await {
        Ok(Some(note)) => plain(StatusCode::OK, note),
        Ok(None) => plain(
            StatusCode::NOT_FOUND,
            "this witness has cosigned no checkpoint of that log\n".into(),
        ),
        Err(panic) => failed(&panic),
    }
}

async fn add_checkpoint(
    State(Shared { witness, work }): State<Shared>,
    request: Request,
) -> Response {
    let body = match read_body(request.into_body()).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let Some(at) = PosixTime::new(since_1970.as_secs()) else {
        return failed(&io::Error::other("the clock is before 1970"));
    };
    let add = move || witness.add_checkpoint(&body, at, Instant::now());
    match work.blocking((), add).await {
        Ok(Ok(lines)) => plain(StatusCode::OK, lines),
        Ok(Err(refusal)) => refuse(&refusal),
        Err(panic) => failed(&panic),
    }
}

async fn read_body(body: Body) -> Result<String, Response> {
    match timeout(BODY_TIMEOUT, to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(bytes)) => String::from_utf8(bytes.into()).map_err(|_not_text| {
            plain(StatusCode::BAD_REQUEST, "the request is not UTF-8\n".into())
        }),
        // The body is longer than allowed, or its connection broke; then nobody reads this answer.
        Ok(Err(_)) => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request is too large: at most {REQUEST_BYTES_MAX} bytes are read\n"),
        )),
        Err(_elapsed) => Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request did not arrive within {} s\n", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// Maps each refusal to the status that the specification gives, or else to HTTP's own.
fn refuse(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Request(_)
        | Refusal::Text(_)
        | Refusal::NoRoom
        | Refusal::Checkpoint(RefuseError::Shrunk(_)) => StatusCode::BAD_REQUEST,
        Refusal::UnknownLog => StatusCode::NOT_FOUND,
        Refusal::Signature(_) => StatusCode::FORBIDDEN,
        Refusal::Checkpoint(RefuseError::Conflict { recorded, .. }) => {
            debug!(%refusal, "refused");
            let headers = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            return (StatusCode::CONFLICT, headers, format!("{recorded}\n")).into_response();
        }
        Refusal::Checkpoint(RefuseError::EmptyTree { .. } | RefuseError::Inconsistent(_)) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::TooMany { retry_after } => {
            let seconds = retry_after.as_secs() + 1;
            let headers = [(header::RETRY_AFTER, seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, headers, format!("{refusal}\n"))
                .into_response();
        }
        Refusal::Storage => StatusCode::INTERNAL_SERVER_ERROR,
    };
    debug!(%refusal, source = std::error::Error::source(refusal), status = status.as_u16(), "refused");
    plain(status, format!("{}\n", error_chain(refusal)))
}

fn failed(failure: &dyn std::error::Error) -> Response {
    error!(%failure, "cannot answer a request");
    let words = "the witness could not answer; its program log says why\n";
    plain(StatusCode::INTERNAL_SERVER_ERROR, words.into())
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
