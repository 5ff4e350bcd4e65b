//! Reads the bearer token of a request (RFC 6750, section 2.1).

use http::{HeaderMap, header};

/// The token that a request carries: `Authorization: Bearer ...`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}
