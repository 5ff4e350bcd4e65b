//! Answer to a client when the server itself failed.

use axum::{http::StatusCode, response::Response};
use http_server::problem;
use tracing::error;

pub(crate) fn internal(failure: &dyn std::error::Error) -> Response {
    error!(%failure, source = failure.source(), "a request to the log port failed");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the site could not read its log; its program log says why",
    )
}
