//! The public files of the log in the layout of C2SP tlog-tiles: checkpoints, keys, tiles and
//! entries.

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http_server::problem;
use ledger::{Ledger, LogKey, ReadError};
use model::LogId;
use serde_json::{Value, json};
use services::cosigning::WatchWitnessed;
use tlog::TilePath;
use work::Room;

use crate::internal::internal;

/// Most tiles and keys that a port reads at once; further requests wait.
const READS_AT_ONCE_MAX: usize = 32;

/// Path of a log on a port: every address of the log is below it. The site's own log has short
/// addresses too.
#[must_use]
pub fn log_path(log: LogId) -> String {
    format!("/logs/{log}")
}

/// The part of a log that every port shows without a token.
#[derive(Clone, Debug)]
pub struct PublicLog {
    /// The log itself.
    pub ledger: Ledger,
    /// The newest checkpoint that satisfies the site's witness policy; `None` without a policy.
    pub witnessed: Option<WatchWitnessed>,
}

/// State of the handlers of one port.
#[derive(Clone)]
struct Shown {
    log: PublicLog,
    reads: Room,
}

impl PublicLog {
    /// Routes of checkpoints, keys and tiles.
    pub fn router(self) -> Router {
        Router::new()
            .route("/checkpoint", get(checkpoint))
            .route("/checkpoint/unwitnessed", get(unwitnessed))
            .route("/vkey", get(vkey))
            .route("/keys", get(keys))
            .route("/tile/{*path}", get(tile))
            .with_state(Shown { log: self, reads: Room::of(READS_AT_ONCE_MAX) })
    }
}

/// The newest checkpoint that satisfies the site's witness policy. Without a policy, the newest
/// checkpoint.
async fn checkpoint(State(Shown { log, .. }): State<Shown>) -> Response {
    let Some(witnessed) = &log.witnessed else { return note(log.ledger.published().note.clone()) };
    let witnessed = witnessed.borrow().clone();
    witnessed.map_or_else(
        || {
            problem(
                StatusCode::NOT_FOUND,
                "no checkpoint has satisfied the site's witness policy yet; the log's own checkpoint is at /checkpoint/unwitnessed",
            )
        },
        |witnessed| note(witnessed.note.to_string()),
    )
}

/// The newest checkpoint with the log's own signature alone.
async fn unwitnessed(State(Shown { log, .. }): State<Shown>) -> Response {
    note(log.ledger.published().note.clone())
}

fn note(text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

async fn vkey(State(Shown { log, .. }): State<Shown>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, format!("{}\n", log.ledger.vkey())).into_response()
}

/// The events that name the log's keys, each as sealed and with its proof.
async fn keys(State(Shown { log, reads }): State<Shown>) -> Response {
    match reads.blocking((), move || proved_keys(&log.ledger)).await {
        Ok(Ok(keys)) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (headers, json!({ "keys": keys }).to_string()).into_response()
        }
        Ok(Err(failure)) => internal(&failure),
        Err(panic) => internal(&panic),
    }
}

/// Leaves out a key whose event no checkpoint covers: it has signed nothing yet.
fn proved_keys(ledger: &Ledger) -> Result<Vec<Value>, ReadError> {
    let covered = ledger.published().checkpoint.size.get();
    let mut keys = Vec::new();
    for LogKey { leaf, .. } in ledger.keys().into_iter().take_while(|key| key.leaf < covered) {
        let stored = ledger.envelopes(leaf, 1, usize::MAX)?.pop();
        let envelope = stored.and_then(|stored| String::from_utf8(stored.bytes?).ok());
        if let Some((envelope, proof)) = envelope.zip(ledger.prove(leaf)?) {
            let proof = proof.to_string();
            keys.push(json!({ "leaf": leaf, "envelope": envelope, "proof": proof }));
        }
    }
    Ok(keys)
}

async fn tile(State(Shown { log, reads }): State<Shown>, Path(path): Path<String>) -> Response {
    let path = match TilePath::parse(&format!("tile/{path}")) {
        Ok(path) => path,
        Err(error) => return problem(StatusCode::NOT_FOUND, &error.to_string()),
    };
    let ledger = log.ledger;
    match reads.blocking((), move || ledger.tile(&path)).await {
        Ok(Ok(Some(bytes))) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, bytes).into_response()
        }
        Ok(Ok(None)) => {
            problem(StatusCode::NOT_FOUND, "the tree of the newest checkpoint has no such tile")
        }
        Ok(Err(failure)) => internal(&failure),
        Err(panic) => internal(&panic),
    }
}
