//! The Polling interface over HTTP, and who asks. The site itself answers both, because components
//! get no tokens.
//!
//! An order needs an API token that may operate, on loopback too: the log names who gave it. Where
//! other machines reach the port, the [entrance](crate::Entrance) has admitted the caller before.

use access::{Caller, Scope, bearer};
use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use http_server::problem;
use orders::{
    Operator,
    polling::{Endpoint, Refusal},
};
use serde_json::json;

use crate::body::taken;

/// The routes of the Polling interface, and `/session`.
pub fn polling(operator: Operator) -> Router {
    Router::new()
        .route("/api/polling/{endpoint}", any(order))
        .route("/session", get(session))
        .with_state(operator)
}

/// Who asks, and whether they may give orders: the caller whom the entrance admitted, or on
/// loopback who sends a token. Without one, nobody is named.
async fn session(
    State(operator): State<Operator>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Response {
    let token = match (caller, bearer(&headers)) {
        (Some(Extension(caller)), _) => Some(caller.token),
        (None, Some(offered)) => match operator.tokens().admit(offered) {
            Some(token) => Some(token),
            None => return problem(StatusCode::UNAUTHORIZED, "the site knows no such token"),
        },
        (None, None) => None,
    };
    let name = token.as_ref().map(|token| token.name.as_str());
    let operates = token.as_ref().is_some_and(|token| token.scope.contains(&Scope::Operate));
    let json = json!({ "name": name, "operates": operates }).to_string();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, json).into_response()
}

async fn order(
    State(operator): State<Operator>,
    Path(name): Path<String>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Response {
    let Some(endpoint) = Endpoint::of_name(&name) else {
        let names = Endpoint::ALL.map(Endpoint::name).join(", ");
        let words = format!("there is no such order; /api/polling has {names}");
        return problem(StatusCode::NOT_FOUND, &words);
    };
    if request.method() != Method::POST {
        let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "an order is sent with POST");
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return answer;
    }
    let (head, body) = match taken(request).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    let done = match &caller {
        Some(Extension(caller)) => operator.request_of(endpoint, &caller.token, &body).await,
        None => operator.request(endpoint, bearer(&head.headers), &body).await,
    };
    match done {
        Ok(json) => {
            let headers =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (headers, json).into_response()
        }
        Err(Refusal { code, words }) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            problem(status, &words)
        }
    }
}
