//! The page's port. The components on the host serve the page and its API; the site itself serves
//! the live feed and the public files of the log.
//!
//! All of this is one origin. So the page needs no address and no token of another port, and it
//! works wherever it can be opened: through a tunnel from another port, or behind a proxy under
//! another name. [`visitors`](crate::visitors) decides who may ask; [`host`] passes requests to the
//! components.
//!
//! On loopback that is all. Where other machines reach the port, [`sign_in`](crate::sign_in) asks
//! for a token first; the public files of the log stay public.
//!
//! The port reads a whole request, within limits of size and time, before it asks the host.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    handler::Handler as _,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::any,
};
use http_server::{Listener, Places, problem};
use model::error_chain;
use tls::Served;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use work::Service;

use crate::{
    body::{BODY_BYTES_MAX, taken},
    events::Events,
    host::{self, Host},
    sign_in::{Entrance, only_for_callers},
    visitors::{Names, PageHost, Stranger},
};

/// Connections of the port. Half of them may be live feeds.
pub const PLACES: Places = Places { connections: 512, refusals: 256 };
/// Most files that the port has open, connections to the host included.
pub const FILES_MAX: u64 = PLACES.files_max() + host::CALLS_MAX as u64;

/// Keeps other sites from embedding these resources.
const CORP: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderValue::from_static("same-origin"),
);

/// Everything that the page's port serves.
#[derive(Debug)]
pub struct PagePort {
    /// Where clients connect.
    pub listener: Listener,
    /// Where other machines come in. Without it, everyone who can open the port may pass.
    pub entrance: Option<Entrance>,
    /// Routes of `/live`.
    pub live: Router,
    /// Routes of the log's public files. They appear under `/log`.
    pub log: Router,
    /// Path of the log. The public files and the live feed appear under it too.
    pub log_path: String,
    /// Routes of the Polling interface, and of who asks.
    pub polling: Router,
    /// Takes events of applications.
    pub events: Events,
    /// The components' host, which serves all other paths.
    pub host: Host,
    /// Names of the page besides the machine's own and those of its certificate.
    pub names: Vec<PageHost>,
    /// The certificate that the port shows where other machines reach it.
    pub served: Option<Served>,
}

impl Service for PagePort {
    const NAME: &'static str = "the page's port";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let tasks = self.host.tasks.clone();
        let log = self.log.fallback(|| async {
        problem(StatusCode::NOT_FOUND, "no such path; the log has /log/checkpoint, /log/checkpoint/unwitnessed, /log/tile/..., /log/vkey and /log/keys here")
    });
        let guarded = |router: Router| match &self.entrance {
            Some(entrance) => {
                let entrance = entrance.clone();
                router.layer(middleware::from_fn_with_state(entrance, only_for_callers))
            }
            None => router,
        };
        let live = guarded(self.live);
        // Whoever may only write passes here and nowhere else.
        let events = self.events.router(self.entrance.clone(), self.host.clone());
        let page =
            Router::new().merge(self.polling).fallback_service(forward.with_state(self.host));
        let entrance = self.entrance.clone().map(Entrance::router).unwrap_or_default();
        let router = guarded(page)
            .merge(live.clone())
            .merge(entrance)
            .merge(events)
            .nest("/log", log.clone())
            .nest(&self.log_path, log.merge(live))
            .route("/logs/{*path}", any(no_such_log))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(
                Arc::new(Names { given: self.names, served: self.served }),
                only_for_its_visitors,
            ));
        http_server::serve(PLACES, self.listener, router, no_room, shutdown).await;
        tasks.ended().await;
        Ok(())
    }
}

/// The host answers unknown paths with the page itself, which is not what a verifier asks for.
async fn no_such_log() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such log here; /api/logs lists all logs")
}

/// Answer to a client when the port has no room for it.
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
            "the request comes from another web site's page, but this port answers only its own page",
        ),
    };
    let headers = answer.headers_mut();
    headers.extend([CORP]);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Forwards every other request to the components.
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

#[cfg(test)]
mod tests;
