//! Reads the bearer token of a request (RFC 6750, section 2.1).

use http::{HeaderMap, header};

/// The token that a request carries: `Authorization: Bearer ...`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_of(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// The token in the value of an `Authorization` header.
#[must_use]
pub fn bearer_of(value: &str) -> Option<&str> {
    value.strip_prefix("Bearer ").map(str::trim)
}
