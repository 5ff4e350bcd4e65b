//! Lets people and programs from other machines in: a sign-in form for people, tokens for programs.
//! [`Gate`] decides who may pass; this module speaks HTTP with them and seals what happened.
//!
//! A browser sends its cookie with whatever any page makes it ask. So a request with a cookie that
//! changes something must show that it comes from the page itself: see [`is_from_own_page`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    task::{Context, Poll},
};

use access::{Caller, Gate, REFUSALS_PERIOD, Refusal};
use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http_server::{Peer, problem};
use hyper::body::{Frame, SizeHint};
use ledger::{Batch, Ledger};
use model::{Event, action};
use tracing::warn;

/// Largest body of the form in bytes; a token has 36.
const FORM_BYTES_MAX: usize = 4 << 10;
/// Path of the form.
const SIGN_IN: &str = "/sign-in";
/// Name of this part of the site in events.
const SOURCE: &str = "page";
/// The form needs its own style and nothing else.
const FORM_POLICY: (HeaderName, HeaderValue) = (
    header::CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
);

/// Where people and programs from other machines come in.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Decides who may pass.
    pub gate: Gate,
    /// Where sign-ins are sealed.
    pub ledger: Ledger,
}

impl Entrance {
    /// Routes that need no token.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route(SIGN_IN, get(form).post(sign_in))
            .route("/sign-out", post(sign_out))
            .with_state(self)
    }

    async fn seal(&self, action: &str, name: &str, message: String) -> Result<(), Response> {
        let event = Event {
            actor: Some(name.to_owned()),
            ..Event::site(action, SOURCE, message, clock::now())
        };
        self.ledger.append(Batch::of(vec![event])).await.map(drop).map_err(|failure| {
            warn!(%failure, action, "cannot seal an event of the page's port");
            problem(StatusCode::SERVICE_UNAVAILABLE, "the log takes no events: try again shortly")
        })
    }
}

/// Answers only who may pass, and only for as long.
pub(crate) async fn only_for_callers(
    State(Entrance { gate, .. }): State<Entrance>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match gate.admit(request.headers(), address_of(&request)) {
        Ok(caller) => caller,
        Err(refusal) => return refused(refusal, &request),
    };
    if caller.is_browser() && !is_safe(request.method()) && !is_from_own_page(request.headers()) {
        return not_from_own_page();
    }
    request.extensions_mut().insert(caller.clone());
    let mut answer = next.run(request).await;
    // What one caller may see, no cache shows another.
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("cookie, authorization"));
    answer.map(|body| Body::new(Standing { body, gate, caller }))
}

/// The address of a request's client.
pub(crate) fn address_of(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip())
}

const fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a browser says that the page itself asks. `Names::admit` has compared the origin with
/// the page's names, but lets requests without an origin pass, because programs send none.
fn is_from_own_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text("origin")) {
        // A form of a page that names no referrer has the origin `null`.
        (Some(site), origin) => {
            let is_ours = |origin: &str| origin == "null" || origin.starts_with("https://");
            site == "same-origin" && origin.is_none_or(is_ours)
        }
        (None, Some(origin)) => origin.starts_with("https://"),
        (None, None) => false,
    }
}

fn not_from_own_page() -> Response {
    problem(
        StatusCode::FORBIDDEN,
        "the request does not show that it comes from the page itself; a program sends a token, not a cookie",
    )
}

pub(crate) fn refused(refusal: Refusal, request: &Request) -> Response {
    let path = request.uri().path();
    let is_of_the_page = is_safe(request.method())
        && !["/api", "/live", "/logs", "/session"].iter().any(|part| {
            path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    if is_of_the_page && refusal == Refusal::Unknown {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, SIGN_IN)]).into_response();
    }
    with_reason(problem(status(refusal), &refusal.to_string()), refusal)
}

const fn status(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Unknown | Refusal::Wrong => StatusCode::UNAUTHORIZED,
        Refusal::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Full => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn with_reason(mut answer: Response, refusal: Refusal) -> Response {
    let headers = answer.headers_mut();
    match refusal {
        Refusal::Unknown | Refusal::Wrong => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::TooMany | Refusal::Full => {
            headers.insert(header::RETRY_AFTER, REFUSALS_PERIOD.as_secs().into());
        }
    }
    answer
}

async fn form() -> Response {
    form_that_says(StatusCode::OK, "")
}

/// The form, with a message above it. No text from outside is in it.
fn form_that_says(status: StatusCode, message: &str) -> Response {
    let message = match message {
        "" => String::new(),
        words => format!("<p role=\"alert\">{words}</p>"),
    };
    let html = include_str!("sign_in.html").replace("<!-- message -->", &message);
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, [FORM_POLICY], html).into_response()
}

async fn sign_in(State(entrance): State<Entrance>, request: Request) -> Response {
    if !is_from_own_page(request.headers()) {
        return not_from_own_page();
    }
    let address = address_of(&request);
    let Ok(body) = to_bytes(request.into_body(), FORM_BYTES_MAX).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the form has a token and nothing else");
    };
    let mut fields = form_urlencoded::parse(&body);
    let offered = fields.find(|(name, _)| name == "token").map(|(_, token)| token.into_owned());
    let offered = offered.unwrap_or_default();
    let begun = entrance.gate.token(offered.trim(), address).and_then(|token| {
        let name = token.name.clone();
        Ok((name, entrance.gate.sign_in(token)?))
    });
    let (name, cookie) = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            let form = form_that_says(status(refusal), &refusal.to_string());
            return with_reason(form, refusal);
        }
    };
    // The browser gets the session's id only once the log has the sign-in.
    let message = format!("{} signed in from {address}", name.as_str());
    if let Err(failure) = entrance.seal(action::SIGNED_IN, name.as_str(), message).await {
        return failure;
    }
    go("/", cookie)
}

async fn sign_out(State(entrance): State<Entrance>, request: Request) -> Response {
    if !is_from_own_page(request.headers()) {
        return not_from_own_page();
    }
    if let Some(name) = entrance.gate.sign_out(request.headers()) {
        let message = format!("{} signed out", name.as_str());
        if let Err(failure) = entrance.seal(action::SIGNED_OUT, name.as_str(), message).await {
            return failure;
        }
    }
    go(SIGN_IN, Gate::no_cookie())
}

fn go(path: &'static str, cookie: HeaderValue) -> Response {
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response();
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    answer
}

/// An answer that ends when its caller may see no more: the live feed has no end of its own.
struct Standing {
    body: Body,
    gate: Gate,
    caller: Caller,
}

impl HttpBody for Standing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() && !self.gate.stands(&self.caller) {
            let ended = io::Error::other("the session or its token has ended");
            return Poll::Ready(Some(Err(axum::Error::new(ended))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_itself_changes_something() {
        let asks = |headers: &[(&'static str, &'static str)]| {
            let one = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            is_from_own_page(&headers.iter().map(one).collect())
        };
        let (site, origin) = ("sec-fetch-site", "origin");
        assert!(asks(&[(site, "same-origin")]));
        assert!(asks(&[(origin, "https://plant.example:8080")]));
        assert!(asks(&[(site, "same-origin"), (origin, "https://plant.example")]));
        assert!(asks(&[(site, "same-origin"), (origin, "null")]));
        for headers in [
            &[][..],
            &[(site, "none")],
            &[(site, "same-site"), (origin, "https://plant.example")],
            &[(site, "cross-site")],
            &[(origin, "null")],
            &[(site, "same-site"), (origin, "null")],
            // The same host without encryption, where anyone on the way can speak for it.
            &[(origin, "http://plant.example:8080")],
            &[(site, "same-origin"), (origin, "http://plant.example:8080")],
        ] {
            assert!(!asks(headers), "{headers:?}");
        }
    }
}
