//! Error answers in the form of the distribution specification.

use access::REFUSALS_PERIOD;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{name::InvalidName, target::NoTarget};

/// An error answer. `message` says what was wrong and what is allowed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Code of the specification.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// There is no such thing.
    pub(crate) fn unknown(code: &'static str, what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no {what}"))
    }

    /// There is such a thing, but not this method for it.
    pub(crate) fn method(allowed: &str) -> Self {
        let message = format!("this path takes {allowed} alone");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }
}

impl From<InvalidName> for Refusal {
    fn from(error: InvalidName) -> Self {
        let code = match error {
            InvalidName::Repository => "NAME_INVALID",
            InvalidName::Tag => "MANIFEST_INVALID",
            InvalidName::Digest => "DIGEST_INVALID",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<NoTarget> for Refusal {
    fn from(error: NoTarget) -> Self {
        match error {
            NoTarget::Path => Self::unknown("UNSUPPORTED", "such path in a registry"),
            NoTarget::Name(error) => error.into(),
        }
    }
}

/// Why a caller may not come in. The status tells a client to come again with a token.
impl From<access::Refusal> for Refusal {
    fn from(refusal: access::Refusal) -> Self {
        let (status, code, message) = match refusal {
            access::Refusal::Unknown => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "send an API token, as the password of any user or as a bearer token",
            ),
            access::Refusal::Wrong | access::Refusal::Full => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "there is no such API token: `sealwire token create` makes one",
            ),
            access::Refusal::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                "too many wrong tokens came from this network: try again in a minute",
            ),
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let mut answer = (self.status, headers, errors.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"sealwire\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers_mut().insert(header::RETRY_AFTER, REFUSALS_PERIOD.as_secs().into());
        }
        answer
    }
}

/// The answer to a client when the registry has no room for it.
#[must_use]
pub fn no_room() -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Refusal::new(status, "TOOMANYREQUESTS", http_server::NO_ROOM).into_response()
}
