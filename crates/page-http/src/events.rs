//! Events of applications over HTTP: `POST /api/events`.
//!
//! The port itself checks the token, because components get no tokens, and passes the body on to
//! the gateway with a ticket. An API token that may write is needed, on loopback too: the log names
//! whose event it is. A browser's session does not count, so no other site's page can hand in
//! anything.

use std::{sync::Arc, time::Duration};

use access::{ApiTokens, Gate, Scope, TokenDescription, bearer};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::any,
};
use http_server::problem;
use model::{
    error_chain,
    submission::{BYTES_MAX, TICKET_HEADER},
};
use services::applications::Desk;
use tokio::{sync::Semaphore, time::timeout};
use tracing::debug;

use crate::{
    body::taken_up_to,
    host::Host,
    sign_in::{Entrance, address_of, refused},
};

/// Header with the idempotency key.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Submissions that are read and passed on at once: half of the calls of the host, so that the page
/// gets the others.
const SUBMISSIONS_MAX: usize = 8;
/// Longest time that a submission waits for a free place.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes events of applications. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    desk: Desk,
    tokens: ApiTokens,
    room: Arc<Semaphore>,
}

impl Events {
    /// Takes events to this desk, in the name of these tokens.
    #[must_use]
    pub fn new(desk: Desk, tokens: ApiTokens) -> Self {
        Self { desk, tokens, room: Arc::new(Semaphore::new(SUBMISSIONS_MAX)) }
    }

    /// The route. Where there is an entrance, wrong tokens are counted there.
    pub(crate) fn router(self, entrance: Option<Entrance>, host: Host) -> Router {
        let gate = entrance.map(|entrance| entrance.gate);
        Router::new()
            .route("/api/events", any(hand_in))
            .layer(DefaultBodyLimit::max(BYTES_MAX))
            .with_state((self, gate, host))
    }

    /// The token that a request shows, if it may write.
    fn admit(&self, headers: &HeaderMap) -> Option<TokenDescription> {
        let token = bearer(headers).and_then(|offered| self.tokens.admit(offered));
        token.filter(|token| token.scope.contains(&Scope::Write))
    }
}

async fn hand_in(
    State((events, gate, host)): State<(Events, Option<Gate>, Host)>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "events are handed in with POST");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    let Some(token) = events.admit(request.headers()) else {
        return match gate {
            Some(gate) if bearer(request.headers()).is_some() => {
                refused(gate.turn_away(address_of(&request)), &request)
            }
            _ => unauthorized(),
        };
    };
    let Ok(Ok(_place)) = timeout(PATIENCE, events.room.acquire()).await else {
        let words = "too many events are handed in at once: hand this in again shortly";
        return problem(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    let (mut head, body) = match taken_up_to(request, BYTES_MAX).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let key = match head.headers.get(KEY).map(HeaderValue::to_str).transpose() {
        Ok(key) => key.map(str::to_owned),
        Err(_) => {
            let words = "an idempotency key has printable characters of ASCII";
            return problem(StatusCode::BAD_REQUEST, words);
        }
    };
    // It ends with this request, whether or not the gateway used it.
    let ticket = events.desk.ticket(token, key);
    let text = HeaderValue::from_str(ticket.as_str()).expect("a ticket has hex digits");
    head.headers.insert(TICKET_HEADER, text);
    match host.call(&head, body).await {
        Ok(answer) => answer,
        Err(failure) => {
            debug!(failure = error_chain(&failure), "the gateway forwards no events");
            let words = format!("{failure}; hand this in again with its key");
            problem(failure.status(), &words)
        }
    }
}

fn unauthorized() -> Response {
    let words = "hand in events with an API token that may write (`Authorization: Bearer ...`): \
                 `sealwire token create --scope write` makes one";
    let mut answer = problem(StatusCode::UNAUTHORIZED, words);
    let headers = answer.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}
