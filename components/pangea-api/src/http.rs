//! One HTTP request to the server.
//!
//! The host ends a call of a component after five seconds. The timeouts here are shorter, so that
//! the site learns what went wrong.

use std::io::{Read as _, Write as _};

use model::mirror::{ANSWER_BYTES_MAX, Call, Question};
use wasip2::http::{
    outgoing_handler,
    types::{
        Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    },
};

/// Time for a connection, in nanoseconds.
const CONNECT_TIMEOUT_NS: u64 = 2_000_000_000;
/// Time for the first byte of the answer, and between two further ones, in nanoseconds.
const ANSWER_TIMEOUT_NS: u64 = 4_000_000_000;
/// How the component names itself to the server.
const USER_AGENT: &str = concat!("sealwire-mirror/", env!("CARGO_PKG_VERSION"));

/// The server to call.
pub(crate) struct Server {
    /// `http` or `https`, a host, and perhaps a port and a path, without a slash at the end.
    pub(crate) endpoint: String,
    pub(crate) token: String,
}

/// Status, seconds of a `Retry-After`, and body.
type Answered = (u16, Option<u64>, Vec<u8>);

/// Calls the server. The error says what went wrong, and never holds the token.
pub(crate) fn call(server: &Server, question: &Question) -> Result<Answered, String> {
    let (scheme, rest) = server.endpoint.split_once("://").ok_or("the address has no scheme")?;
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (authority, prefix) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let request = OutgoingRequest::new(headers(server, question)?);
    let malformed = |()| "the host does not take the request".to_owned();
    let (method, path) = match &question.call {
        Call::Log { .. } => (Method::Post, "/v2/log".to_owned()),
        Call::Search => (Method::Post, "/v1/search".to_owned()),
        Call::Result { id } => (Method::Get, format!("/request/{id}")),
    };
    request.set_method(&method).map_err(malformed)?;
    request.set_scheme(Some(&scheme)).map_err(malformed)?;
    request.set_authority(Some(authority)).map_err(malformed)?;
    request.set_path_with_query(Some(&format!("{prefix}{path}"))).map_err(malformed)?;
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(CONNECT_TIMEOUT_NS)).map_err(malformed)?;
    options.set_first_byte_timeout(Some(ANSWER_TIMEOUT_NS)).map_err(malformed)?;
    options.set_between_bytes_timeout(Some(ANSWER_TIMEOUT_NS)).map_err(malformed)?;

    let outgoing = request.body().map_err(malformed)?;
    let answer = outgoing_handler::handle(request, Some(options))
        .map_err(|error| format!("cannot ask the server: {error:?}"))?;
    // A server may refuse before it has read everything, so its answer counts, not the error of
    // the write.
    let sent = send(outgoing, &question.body);
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(error))) => return Err(format!("the server does not answer: {error:?}")),
        Some(Err(())) | None => return Err(sent.err().unwrap_or_default()),
    };
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .first()
        .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok());
    Ok((status, retry_after, read(&response)?))
}

fn headers(server: &Server, question: &Question) -> Result<Fields, String> {
    let fields = Fields::new();
    let mut named = vec![
        ("authorization", format!("Bearer {}", server.token)),
        ("content-type", "application/json".to_owned()),
        ("content-length", question.body.len().to_string()),
        ("user-agent", USER_AGENT.to_owned()),
    ];
    if let Call::Log { retried } = &question.call {
        named.push(("x-pangea-retried-request-ids", retried.clone()));
    }
    for (name, value) in named {
        fields
            .set(name, &[value.into_bytes()])
            .map_err(|error| format!("the host does not take the header {name}: {error:?}"))?;
    }
    Ok(fields)
}

fn send(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot send the request: {error}");
    let mut stream = body.write().map_err(|()| "the request has no body".to_owned())?;
    stream.write_all(bytes).and_then(|()| std::io::Write::flush(&mut stream)).map_err(failed)?;
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|error| format!("cannot send the request: {error:?}"))
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "the answer has no body".to_owned())?;
    let stream = body.stream().map_err(|()| "the answer's body cannot be read".to_owned())?;
    let mut bytes = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("the answer ended early: {error}"))?;
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}
