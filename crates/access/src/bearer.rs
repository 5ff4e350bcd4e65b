//! Reads the token of a request: a bearer token (RFC 6750, section 2.1), or the password of basic
//! authentication (RFC 7617), which is all that some clients can send.

use data_encoding::BASE64;
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

/// The token that a request carries in either way, whatever the user is called.
#[must_use]
pub(crate) fn bearer_or_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = bearer_of(value) {
        return Some(token.to_owned());
    }
    let pair = BASE64.decode(value.strip_prefix("Basic ")?.trim().as_bytes()).ok()?;
    let (_user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_a_bearer_or_as_a_password() {
        let carried = |value: &str| {
            let value = value.parse().unwrap();
            bearer_or_password(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
        };
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        assert_eq!(carried("Bearer pts_1").as_deref(), Some("pts_1"));
        assert_eq!(carried(&basic("ada:pts_1")).as_deref(), Some("pts_1"));
        assert_eq!(carried(&basic(":p:1")).as_deref(), Some("p:1"));
        for wrong in ["", "pts_1", "Basic", "Basic ada:pts_1", "Basic /w==", &basic("ada")] {
            assert_eq!(carried(wrong), None, "{wrong}");
        }
        assert_eq!(bearer_or_password(&HeaderMap::new()), None);
    }
}
