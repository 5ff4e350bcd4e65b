//! Reads the bodies of requests, within limits of size and time.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use http_server::problem;
use tokio::time::timeout;

/// Largest body in bytes. A search has only a few short fields, and the gateway accepts no more.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest time for a whole body: enough for the largest one at 52 kbit/s. Events may be longer: an
/// application has a faster line, or hands in less at once.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request with its whole body.
pub(crate) async fn taken(request: Request) -> Result<(Parts, Bytes), Response> {
    taken_up_to(request, BODY_BYTES_MAX).await
}

/// The same, with a body of at most `bytes_max` bytes.
pub(crate) async fn taken_up_to(
    request: Request,
    bytes_max: usize,
) -> Result<(Parts, Bytes), Response> {
    let (head, body) = request.into_parts();
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_large = || {
        problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is too large: at most {bytes_max} bytes are read"),
        )
    };
    if announced.is_some_and(|announced| announced > bytes_max as u64) {
        return Err(too_large());
    }
    let read = Bytes::from_request(Request::from_parts(head.clone(), body), &());
    match timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok((head, body)),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(too_large())
        }
        // The body paused too long, or the connection ended; in that case nobody receives this
        // answer.
        Ok(Err(_)) | Err(_) => {
            let words = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(problem(StatusCode::REQUEST_TIMEOUT, &words))
        }
    }
}
