//! The page's port: the page and its API from the components on the host, the live feed and the
//! log's public part from the site itself.
//!
//! All of it is one origin, so the page needs no address and no token of another port, and works
//! wherever it can be opened: through a tunnel from another port, or behind a proxy under another
//! name. Who may ask is in [`visitors`](crate::visitors), the way to the components in [`host`].
//!
//! A request is taken whole, within limits of size and time, before anything is asked of the host.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Request, State},
    handler::Handler as _,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::Response,
};
use http_server::Places;
use http_server::problem;
use model::error_chain;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    host::{self, Host},
    visitors::{Names, PageHost, Stranger},
};

/// Connections of the port: half of them may be live feeds.
pub const PLACES: Places = Places { connections: 512, refusals: 256 };
/// Bytes of a body: a search has a handful of short fields. The gateway takes no more either.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Time for a whole body: the largest one at 52 kbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Files that the port has open at most, connections to the host among them.
pub const FILES_MAX: u64 = PLACES.files_max() + host::CALLS_MAX as u64;

/// Other pages may neither embed what is here nor guess at its type.
const CORP: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderValue::from_static("same-origin"),
);

/// What the port shows.
#[derive(Debug)]
pub struct PagePort {
    /// Answers `/live`.
    pub live: Router,
    /// The log's public files, which are below `/log`.
    pub log: Router,
    pub host: Host,
    /// Names beside the machine's own.
    pub names: Vec<PageHost>,
}

/// Answers until `shutdown`.
pub async fn serve(listener: TcpListener, page: PagePort, shutdown: CancellationToken) {
    let tasks = page.host.tasks.clone();
    let log = page.log.fallback(|| async {
        problem(StatusCode::NOT_FOUND, "of the log there is /log/checkpoint, /log/checkpoint/unwitnessed, /log/tile/..., /log/vkey and /log/keys here")
    });
    let router = page
        .live
        .nest("/log", log)
        .fallback_service(forward.with_state(page.host))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(Names(page.names)), only_for_its_visitors));
    http_server::serve(PLACES, listener, router, no_room, shutdown).await;
    tasks.ended().await;
}

/// What a client is told for whom the port has no room.
pub fn no_room() -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, http_server::NO_ROOM)
}

async fn only_for_its_visitors(
    State(names): State<Arc<Names>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let mut answer = match names.admit(&head) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(Stranger::Name(name)) => {
            problem(StatusCode::MISDIRECTED_REQUEST, &names.refusal(&name))
        }
        Err(Stranger::Site) => problem(
            StatusCode::FORBIDDEN,
            "another web site's page asks, and this port answers its own page only",
        ),
    };
    let headers = answer.headers_mut();
    headers.extend([CORP]);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Everything else is the components'.
async fn forward(State(host): State<Host>, request: Request) -> Response {
    let (head, body) = match taken(request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    match host.call(&head, body).await {
        Ok(answer) => answer,
        Err(failure) => {
            debug!(
                failure = error_chain(&failure),
                path = head.uri.path(),
                "no answer of the components"
            );
            problem(failure.status(), &failure.to_string())
        }
    }
}

/// A request with its whole body.
async fn taken(request: Request) -> Result<(Parts, Bytes), Response> {
    let (head, body) = request.into_parts();
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_large = || {
        problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("a body has at most {BODY_BYTES_MAX} bytes"),
        )
    };
    if announced.is_some_and(|announced| announced > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let read = Bytes::from_request(Request::from_parts(head.clone(), body), &());
    match timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok((head, body)),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(too_large())
        }
        // A pause that was too long, or a connection that ended: then nobody hears this.
        Ok(Err(_)) | Err(_) => {
            let words = format!("the body did not come whole within {} s", BODY_TIMEOUT.as_secs());
            Err(problem(StatusCode::REQUEST_TIMEOUT, &words))
        }
    }
}

#[cfg(test)]
mod tests;
