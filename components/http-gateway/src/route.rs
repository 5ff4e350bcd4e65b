//! Decides what a request asks for.

use model::{
    LogId,
    query::{
        Address, LogsQuery, MirrorSearchQuery, ProofQuery, QueryError, Question, ReadingsQuery,
        RefusalsQuery, ResultsQuery, SensorsQuery,
    },
    submission,
};
use serde::Serialize;

use crate::response::Response;

/// Largest body of a request in bytes. A search has only a few short fields.
pub const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Path on which applications hand in events.
const EVENTS: &str = "/api/events";

/// Largest body in bytes of a request for this path.
#[must_use]
pub fn body_bytes_max(path_with_query: &str) -> u64 {
    let is_events = path_with_query.split('?').next() == Some(EVENTS);
    if is_events { submission::BYTES_MAX as u64 } else { BODY_BYTES_MAX }
}

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
        /// What is asked, and of which log.
        address: Address,
        /// Body of the question, JSON.
        body: Vec<u8>,
    },
    /// Events of an application, which the site seals.
    Forward,
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
    let (log, api) = match levels.as_slice() {
        ["api", "logs", log, api @ ..] => (Some(parse_log(log)?), api),
        ["api", api @ ..] => (None, api),
        _ if method == Method::Get => return Ok(Route::File { path: path.to_owned() }),
        _ => return Err(Response::method_not_allowed("GET")),
    };
    let ask = |question, body| ask(Address::Log { log, question }, body);
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameters = parameters.iter().map(|(name, text)| (name.as_ref(), text.as_ref()));
    match (log, api, method) {
        (None, ["logs"], Method::Get) => self::ask(Address::Logs, body_of(Ok(()))),
        (None, ["site"], Method::Get) | (Some(_), [], Method::Get) => {
            ask(Question::Site, body_of(Ok(())))
        }
        (_, ["mirror"], Method::Get) => ask(Question::Mirror, body_of(Ok(()))),
        (_, ["mirror", "search"], Method::Post) => {
            ask(Question::MirrorSearch, body_of(MirrorSearchQuery::parse(body)))
        }
        (_, ["sensors"], Method::Get) => {
            ask(Question::Sensors, body_of(SensorsQuery::parse(parameters)))
        }
        (_, ["sensors", sensor, "readings"], Method::Get) => {
            ask(Question::Readings, body_of(ReadingsQuery::parse(sensor, parameters)))
        }
        (None, ["logs"], Method::Post) | (Some(_), ["search"], Method::Post) => {
            ask(Question::Search, body_of(LogsQuery::parse(body)))
        }
        (_, ["results"], Method::Post) => {
            ask(Question::Results, body_of(ResultsQuery::parse(body)))
        }
        (_, ["proof", leaf], Method::Get) => ask(Question::Proof, body_of(ProofQuery::parse(leaf))),
        (_, ["refusals"], Method::Get) => {
            ask(Question::Refusals, body_of(RefusalsQuery::parse(parameters)))
        }
        (None, ["events"], Method::Post) => Ok(Route::Forward),
        (None, ["events"], _) => Err(Response::method_not_allowed("POST")),
        (None, ["logs"], _) => Err(Response::method_not_allowed("GET, POST")),
        (None, ["site"], _)
        | (Some(_), [], _)
        | (
            _,
            ["sensors"] | ["sensors", _, "readings"] | ["proof", _] | ["refusals"] | ["mirror"],
            _,
        ) => Err(Response::method_not_allowed("GET")),
        (Some(_), ["search"], _) | (_, ["results"] | ["mirror", "search"], _) => {
            Err(Response::method_not_allowed("POST"))
        }
        _ => Err(Response::problem(
            404,
            &format!("there is no `{path}`; docs/http-api.md lists all paths"),
        )),
    }
}

fn parse_log(text: &str) -> Result<LogId, Response> {
    text.parse().map_err(|error| Response::problem(404, &format!("`{text}`: {error}")))
}

/// The question's body, or why the request asks for nothing.
fn body_of(query: Result<impl Serialize, QueryError>) -> Result<Vec<u8>, Response> {
    let query = query.map_err(|error| Response::query_error(&error))?;
    Ok(serde_json::to_vec(&query).expect("a query has only text keys"))
}

fn ask(address: Address, body: Result<Vec<u8>, Response>) -> Result<Route, Response> {
    Ok(Route::Ask { address, body: body? })
}

#[cfg(test)]
mod tests {
    use model::SensorState;

    use super::*;

    const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";

    #[track_caller]
    fn asked(method: Method, path: &str, body: &str) -> (String, String) {
        match route(method, path, body.as_bytes()).expect("should be routed") {
            Route::Ask { address, body } => (address.to_string(), String::from_utf8(body).unwrap()),
            Route::File { path } => panic!("{path} is a file"),
            Route::Forward => panic!("{path} takes events"),
        }
    }

    #[track_caller]
    fn refused(method: Method, path: &str, body: &str) -> (u16, String) {
        let response = route(method, path, body.as_bytes()).expect_err("should be refused");
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn questions_are_asked_in_the_sites_words() {
        let log = "a7".repeat(LogId::LEN);
        for (in_api, own, of) in [
            ("/api".to_owned(), "sealwire.query.own.", "own log"),
            (format!("/api/logs/{log}"), &*format!("sealwire.query.{log}."), "named log"),
        ] {
            let on = |name: &str| format!("{own}{name}");
            let path = format!(
                "{in_api}/sensors/{SENSOR}/readings?from=2026-11-23T19%3A00%3A00%2B00%3A00&limit=7"
            );
            let question = format!(
                r#"{{"sensor":"{SENSOR}","from":"2026-11-23T19:00:00.000000Z","to":null,"limit":7}}"#
            );
            assert_eq!(asked(Method::Get, &path, ""), (on("readings"), question), "{of}");
            let plot = format!("{in_api}/sensors/{SENSOR}/readings?points=800");
            let (_, question) = asked(Method::Get, &plot, "");
            assert!(question.ends_with(r#""limit":500,"points":800}"#), "{question}");
            let path = format!("{in_api}/sensors?text=belt+2&state=lost&attention=true&offset=7");
            let (subject, question) = asked(Method::Get, &path, "");
            let wanted = SensorsQuery {
                text: Some("belt 2".to_owned()),
                state: Some(SensorState::Lost),
                attention: true,
                offset: 7,
                ..SensorsQuery::default()
            };
            let question: SensorsQuery = serde_json::from_str(&question).unwrap();
            assert_eq!((subject, question), (on("sensors"), wanted));
            let proof = asked(Method::Get, &format!("{in_api}/proof/7"), "");
            assert_eq!(proof, (on("proof"), r#"{"leaf":7}"#.into()));
            let refusals = asked(Method::Get, &format!("{in_api}/refusals?sensor={SENSOR}"), "");
            assert_eq!(refusals, (on("refusals"), format!(r#"{{"sensor":"{SENSOR}"}}"#)));
            let page = r#"{"id":"e","offset":0,"limit":null}"#;
            let results = asked(Method::Post, &format!("{in_api}/results"), r#"{"id":"e"}"#);
            assert_eq!(results, (on("results"), page.into()));
        }
        let of_log = |name: &str| format!("sealwire.query.{log}.{name}");
        assert_eq!(asked(Method::Get, "/api/logs", "").0, "sealwire.query.all.logs");
        assert_eq!(asked(Method::Get, "/api/site", "").0, "sealwire.query.own.site");
        assert_eq!(asked(Method::Get, "/api/mirror", "").0, "sealwire.query.own.mirror");
        assert_eq!(asked(Method::Get, &format!("/api/logs/{log}"), "").0, of_log("site"));
        let (subject, search) = asked(Method::Post, "/api/mirror/search", r#"{"query":"a"}"#);
        assert_eq!(subject, "sealwire.query.own.mirror-search");
        assert_eq!(search, r#"{"query":"a","limit":20}"#);
        let search =
            r#"{"order":"asc","query":"actor:ada failed","restriction":{"source":["a","b"]}}"#;
        for (path, subject) in [
            ("/api/logs".to_owned(), "sealwire.query.own.search".to_owned()),
            (format!("/api/logs/{log}/search"), of_log("search")),
        ] {
            assert_eq!(asked(Method::Post, &path, search), (subject, search.into()));
        }
    }

    #[test]
    fn events_are_forwarded_whatever_they_are() {
        assert_eq!(route(Method::Post, "/api/events", b"{").unwrap(), Route::Forward);
        for path in ["/api/events", "/api/events?a=b"] {
            assert_eq!(body_bytes_max(path), 1 << 20, "{path}");
        }
        for path in ["/api/logs", "/api/events/x", "/"] {
            assert_eq!(body_bytes_max(path), BODY_BYTES_MAX, "{path}");
        }
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
            (Method::Other, "/api/logs", "", 405, "GET, POST"),
            (Method::Get, "/api/results", "", 405, "POST"),
            (Method::Get, "/api/events", "", 405, "POST"),
            (Method::Get, "/api/logs/plant/sensors", "", 404, "64 hex digits"),
            (Method::Post, "/", "", 405, "GET"),
            (Method::Get, "/api/nothing", "", 404, "there is no `/api/nothing`"),
            (Method::Get, "/api/sensors/7/readings", "", 400, "UUID"),
            (Method::Get, "/api/sensors?page=2", "", 400, "`page` is not a parameter"),
            (Method::Post, "/api/logs", "{", 400, "EOF"),
            (Method::Get, "/api/proof/first", "", 400, "is not a leaf"),
            (Method::Post, "/api/refusals", "", 405, "GET"),
            (Method::Post, "/api/mirror", "", 405, "GET"),
            (Method::Get, "/api/mirror/search", "", 405, "POST"),
            (Method::Post, "/api/mirror/search", r#"{"limit":0}"#, 400, "`limit`"),
            (Method::Post, "/api/mirror/search", r#"{"text":""}"#, 400, "unknown field `text`"),
            (Method::Get, "/api/refusals?who=x", "", 400, "`who` is not a parameter"),
        ] {
            let (given, text) = refused(method, path, body);
            assert_eq!(given, status, "{path}");
            assert!(text.contains(words), "{path}: {text}");
        }
    }
}
