//! Answers: always JSON in Pangea's frame, with the header `x-request-id`. Only this module derives
//! the HTTP status from Pangea's status.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use pangea::{
    Refusal, RequestId, Status,
    answer::{Accepted, Answer, Errors},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{call::Call, saved};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The request that is answered, or the earlier one whose result is returned.
    of: RequestId,
    status: Status,
    summary: Cow<'static, str>,
    result: Box<RawValue>,
}

impl Reply {
    /// The request's result.
    pub(crate) fn done(
        call: &Call,
        summary: impl Into<Cow<'static, str>>,
        result: &impl Serialize,
    ) -> Self {
        let result =
            to_raw_value(result).expect("results have only text keys and no floating point");
        Self { of: call.id.clone(), status: Status::Success, summary: summary.into(), result }
    }

    /// The address at which the client can ask for the result, and until when.
    pub(crate) fn accepted(call: &Call) -> Self {
        let accepted = Accepted {
            location: format!("{}/request/{}", call.base, call.id),
            retry_counter: 0,
            ttl_mins: saved::LIFETIME.as_secs() / 60,
        };
        let summary = "Accepted: ask for the result at its location";
        Self { status: Status::Accepted, ..Self::done(call, summary, &accepted) }
    }

    /// The same result, as the answer to another request.
    pub(crate) fn of(self, request: RequestId) -> Self {
        Self { of: request, ..self }
    }
}

/// The answer to a call; `allow` is the method that the path takes.
pub(crate) fn respond(
    call: &Call,
    outcome: Result<Reply, Refusal>,
    allow: &Method,
) -> Response<Vec<u8>> {
    let times = (call.began, clock::now());
    let (status, http, json) = match outcome {
        Ok(Reply { of, status, summary, result }) => (
            status,
            http_status(status, false),
            Answer::new(&of, times, status, summary, result).to_json(),
        ),
        Err(refusal) => {
            let (status, summary) = (refusal.status, refusal.summary.clone());
            let http = http_status(status, !refusal.errors.is_empty());
            let errors = Errors::from(refusal);
            (status, http, Answer::new(&call.id, times, status, summary, errors).to_json())
        }
    };
    let mut response = Response::new(json);
    *response.status_mut() = http;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let id = HeaderValue::from_str(call.id.as_str()).expect("an id is ASCII");
    headers.insert(REQUEST_ID, id);
    match status {
        Status::MethodNotAllowed => {
            let allow = HeaderValue::from_str(allow.as_str()).expect("a method is a token");
            headers.insert(header::ALLOW, allow);
        }
        Status::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Status::TooManyRequests | Status::ServiceNotAvailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// The HTTP status for a status of Pangea. A refusal about a part of the request is always 400.
const fn http_status(status: Status, is_about_a_part: bool) -> StatusCode {
    match status {
        Status::Success => StatusCode::OK,
        Status::Accepted => StatusCode::ACCEPTED,
        Status::Unauthorized => StatusCode::UNAUTHORIZED,
        Status::Forbidden => StatusCode::FORBIDDEN,
        Status::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Status::NotFound if !is_about_a_part => StatusCode::NOT_FOUND,
        Status::NotFound | Status::ValidationError | Status::BadOffset | Status::TreeNotFound => {
            StatusCode::BAD_REQUEST
        }
        Status::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Status::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Status::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Status::ServiceNotAvailable => StatusCode::SERVICE_UNAVAILABLE,
        Status::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a client for which the port has no room. Its request is not read. The answer
/// always has Pangea's frame, because the SDKs understand nothing else.
pub fn no_room() -> Response {
    before_reading(Refusal::plain(Status::ServiceNotAvailable, http_server::NO_ROOM))
}

/// The answer to a client from whose network too many wrong tokens came, in the same frame.
pub fn too_many_wrong_tokens() -> Response {
    let words = access::Refusal::TooMany.to_string();
    before_reading(Refusal::plain(Status::TooManyRequests, words))
}

fn before_reading(refusal: Refusal) -> Response {
    let call = Call::begin(&HeaderMap::new(), false, None);
    respond(&call, Err(refusal), &Method::POST).map(Body::from)
}
