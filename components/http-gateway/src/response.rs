//! Responses to HTTP requests.

use model::{
    query::{QueryError, Reply},
    submission::Outcome,
};
use serde_json::json;

/// A complete HTTP response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Header fields, each at most once.
    pub headers: Vec<(&'static str, String)>,
    /// Bytes of the body.
    pub body: Vec<u8>,
}

/// A file of the page.
#[derive(Clone, Debug)]
pub struct File {
    /// Content of the file.
    pub body: Vec<u8>,
    /// Media type of the file.
    pub media_type: String,
    /// SHA-256 of the content in hex.
    pub digest: String,
    /// Whether the file's name changes whenever its content does, so that clients may cache it
    /// indefinitely.
    pub immutable: bool,
}

/// Content security policy of the page. It may run its own scripts and WebAssembly, set its own
/// styles, and send requests and forms (to sign out) to its own origin.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

impl Response {
    /// The response for an answer of the site. `answer` is the reply's bytes, or the reason why
    /// there is no reply.
    #[must_use]
    pub fn from_site(answer: Result<Vec<u8>, String>) -> Self {
        match answer.map(|body| serde_json::from_slice(&body)) {
            Ok(Ok(Reply::Ok(json))) => Self {
                status: 200,
                headers: headers("application/json", "no-store"),
                body: json.get().as_bytes().to_vec(),
            },
            Ok(Ok(Reply::Error(error))) => Self::query_error(&error),
            Ok(Err(error)) => {
                Self::problem(502, &format!("the site's answer is malformed: {error}"))
            }
            Err(error) => Self::problem(503, &format!("the site does not answer: {error}")),
        }
    }

    /// The response for what has become of an application's events. `outcome` is the site's answer,
    /// or the reason why there is none.
    #[must_use]
    pub fn from_outcome(outcome: Result<Vec<u8>, String>) -> Self {
        match outcome.map(|outcome| serde_json::from_slice(&outcome)) {
            Ok(Ok(Outcome { status, body })) => {
                let kind = if status == 200 { "json" } else { "problem+json" };
                Self {
                    status,
                    headers: headers(&format!("application/{kind}"), "no-store"),
                    body: body.get().as_bytes().to_vec(),
                }
            }
            Ok(Err(error)) => {
                Self::problem(502, &format!("the site's answer is malformed: {error}"))
            }
            Err(error) => Self::problem(
                503,
                &format!("the site does not answer, so hand this in again with its key: {error}"),
            ),
        }
    }

    /// The response with a file, or `304 Not Modified` if the client already has it.
    #[must_use]
    pub fn from_file(file: Option<File>, path: &str, if_none_match: Option<&str>) -> Self {
        let Some(file) = file else {
            return Self::problem(404, &format!("there is no `{path}`"));
        };
        let caching =
            if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let tag = format!("\"{}\"", file.digest);
        let unchanged = if_none_match.is_some_and(|tags| tags.contains(&tag));
        let mut headers = headers(&file.media_type, caching);
        headers.push(("etag", tag));
        headers.push(("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()));
        headers.push(("referrer-policy", "no-referrer".to_owned()));
        if unchanged {
            Self { status: 304, headers, body: Vec::new() }
        } else {
            Self { status: 200, headers, body: file.body }
        }
    }

    /// The response to a question that has no answer.
    #[must_use]
    pub fn query_error(error: &QueryError) -> Self {
        let status = match error {
            QueryError::Invalid(_) => 400,
            QueryError::NotFound(_) => 404,
            QueryError::Unavailable(_) => 503,
        };
        Self::problem(status, &error.to_string())
    }

    /// The response to a method that the resource does not support; `allowed` names the one that it
    /// does.
    #[must_use]
    pub fn method_not_allowed(allowed: &str) -> Self {
        let mut response = Self::problem(405, &format!("use {allowed}"));
        response.headers.push(("allow", allowed.to_owned()));
        response
    }

    /// An error response in the form of RFC 9457 (problem details).
    #[must_use]
    pub fn problem(status: u16, detail: &str) -> Self {
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Content Too Large",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            _ => "Error",
        };
        let problem =
            json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        Self {
            status,
            headers: headers("application/problem+json", "no-store"),
            body: problem.to_string().into_bytes(),
        }
    }
}

fn headers(media_type: &str, caching: &str) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", media_type.to_owned()),
        ("cache-control", caching.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Option<File> {
        Some(File {
            body: b"<html>".to_vec(),
            media_type: "text/html; charset=utf-8".to_owned(),
            digest: "ab".to_owned(),
            immutable: false,
        })
    }

    #[test]
    fn the_sites_answer_is_passed_on_and_its_errors_become_problems() {
        let ok = Response::from_site(Ok(br#"{"ok":{"sensors":[]}}"#.to_vec()));
        assert_eq!((ok.status, ok.body.as_slice()), (200, br#"{"sensors":[]}"#.as_slice()));
        for (answer, status) in [
            (Ok(br#"{"error":{"kind":"invalid","detail":"no"}}"#.to_vec()), 400),
            (Ok(br#"{"error":{"kind":"not_found","detail":"no"}}"#.to_vec()), 404),
            (Ok(br#"{"error":{"kind":"unavailable","detail":"no"}}"#.to_vec()), 503),
            (Ok(b"nonsense".to_vec()), 502),
            (Err("timed out".to_owned()), 503),
        ] {
            let response = Response::from_site(answer);
            assert_eq!(response.status, status);
            let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(problem.get("status").unwrap(), status);
        }
    }

    #[test]
    fn what_has_become_of_events_is_passed_on_with_its_status() {
        for (outcome, status, kind) in [
            (Ok(br#"{"status":200,"body":{"receipts":[]}}"#.to_vec()), 200, "application/json"),
            (
                Ok(br#"{"status":409,"body":{"status":409}}"#.to_vec()),
                409,
                "application/problem+json",
            ),
            (Ok(b"nonsense".to_vec()), 502, "application/problem+json"),
            (Err("timed out".to_owned()), 503, "application/problem+json"),
        ] {
            let response = Response::from_outcome(outcome);
            assert_eq!((response.status, response.headers[0].1.as_str()), (status, kind));
        }
    }

    #[test]
    fn a_file_is_sent_once() {
        assert_eq!(Response::from_file(file(), "/", None).status, 200);
        assert_eq!(Response::from_file(file(), "/", Some("\"ab\"")).status, 304);
        assert_eq!(Response::from_file(file(), "/", Some("\"cd\"")).status, 200);
        assert_eq!(Response::from_file(None, "/x.js", None).status, 404);
    }
}
