//! Decides what a request asks for.

use model::query::{
    LOGS, LogsQuery, PROOF, ProofQuery, QueryError, READINGS, RESULTS, ReadingsQuery, ResultsQuery,
    SENSORS, SITE,
};
use serde::Serialize;

use crate::response::Response;

/// Largest body of a request in bytes. A search has only a few short fields.
pub const BODY_BYTES_MAX: u64 = 64 * 1024;

/// HTTP method of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET` or `HEAD`. The answer to `HEAD` has no body.
    Get,
    /// `POST`, with a body.
    Post,
    /// Any other method, which no resource supports.
    Other,
}

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// A question to the site.
    Ask {
        /// NATS subject of the question.
        subject: &'static str,
        /// The question as JSON.
        question: Vec<u8>,
    },
    /// A file of the page.
    File {
        /// Path of the file, without the query.
        path: String,
    },
}

/// Decides what a request asks for. The error is the response to send at once.
pub fn route(method: Method, path_with_query: &str, body: &[u8]) -> Result<Route, Response> {
    let (path, query) = path_with_query.split_once('?').unwrap_or((path_with_query, ""));
    let levels: Vec<&str> = path.split('/').skip(1).collect();
    let api = match levels.as_slice() {
        ["api", api @ ..] => api,
        _ if method == Method::Get => return Ok(Route::File { path: path.to_owned() }),
        _ => return Err(Response::method_not_allowed("GET")),
    };
    match (api, method) {
        (["site"], Method::Get) => ask(SITE, Ok(())),
        (["sensors"], Method::Get) => ask(SENSORS, Ok(())),
        (["sensors", sensor, "readings"], Method::Get) => {
            let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            let parameters = parameters.iter().map(|(name, text)| (name.as_ref(), text.as_ref()));
            ask(READINGS, ReadingsQuery::parse(sensor, parameters))
        }
        (["logs"], Method::Post) => ask(LOGS, LogsQuery::parse(body)),
        (["results"], Method::Post) => ask(RESULTS, ResultsQuery::parse(body)),
        (["proof", leaf], Method::Get) => ask(PROOF, ProofQuery::parse(leaf)),
        (["site" | "sensors"] | ["sensors", _, "readings"] | ["proof", _], _) => {
            Err(Response::method_not_allowed("GET"))
        }
        (["logs" | "results"], _) => Err(Response::method_not_allowed("POST")),
        _ => Err(Response::problem(
            404,
            &format!("there is no `{path}`; docs/http-api.md lists all paths"),
        )),
    }
}

fn ask(
    subject: &'static str,
    query: Result<impl Serialize, QueryError>,
) -> Result<Route, Response> {
    let query = query.map_err(|error| Response::query_error(&error))?;
    let question = serde_json::to_vec(&query).expect("a query has only text keys");
    Ok(Route::Ask { subject, question })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";

    #[track_caller]
    fn asked(method: Method, path: &str, body: &str) -> (&'static str, String) {
        match route(method, path, body.as_bytes()).expect("should be routed") {
            Route::Ask { subject, question } => (subject, String::from_utf8(question).unwrap()),
            Route::File { path } => panic!("{path} is a file"),
        }
    }

    #[track_caller]
    fn refused(method: Method, path: &str, body: &str) -> (u16, String) {
        let response = route(method, path, body.as_bytes()).expect_err("should be refused");
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn questions_are_asked_in_the_sites_words() {
        assert_eq!(asked(Method::Get, "/api/site", ""), (SITE, "null".into()));
        let path = format!(
            "/api/sensors/{SENSOR}/readings?from=2026-11-23T19%3A00%3A00%2B00%3A00&limit=7"
        );
        let question = format!(
            r#"{{"sensor":"{SENSOR}","from":"2026-11-23T19:00:00.000000Z","to":null,"limit":7}}"#
        );
        assert_eq!(asked(Method::Get, &path, ""), (READINGS, question));
        let (_, question) =
            asked(Method::Get, &format!("/api/sensors/{SENSOR}/readings?points=800"), "");
        assert!(question.ends_with(r#""limit":500,"points":800}"#), "{question}");
        let search =
            r#"{"order":"asc","query":"actor:ada failed","restriction":{"source":["a","b"]}}"#;
        assert_eq!(asked(Method::Post, "/api/logs", search), (LOGS, search.into()));
        assert_eq!(
            asked(Method::Post, "/api/logs", r#"{"action":"X"}"#),
            (LOGS, r#"{"action":"X"}"#.into())
        );
        assert_eq!(asked(Method::Get, "/api/proof/7", ""), (PROOF, r#"{"leaf":7}"#.into()));
    }

    #[test]
    fn everything_else_that_is_got_is_a_file() {
        for path in ["/", "/assets/a.js?x=1", "/apiary"] {
            assert!(matches!(route(Method::Get, path, b""), Ok(Route::File { .. })), "{path}");
        }
    }

    #[test]
    fn refusals_have_a_status_and_say_what_is_allowed() {
        for (method, path, body, status, words) in [
            (Method::Get, "/api/logs", "", 405, "POST"),
            (Method::Post, "/", "", 405, "GET"),
            (Method::Get, "/api/nothing", "", 404, "there is no `/api/nothing`"),
            (Method::Get, "/api/sensors/7/readings", "", 400, "UUID"),
            (Method::Post, "/api/logs", "{", 400, "EOF"),
            (Method::Get, "/api/proof/first", "", 400, "is not a leaf"),
        ] {
            let (given, text) = refused(method, path, body);
            assert_eq!(given, status, "{path}");
            assert!(text.contains(words), "{path}: {text}");
        }
    }
}
