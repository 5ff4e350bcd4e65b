//! The component's boundary: receives wasi:http requests, sends questions over messaging, and reads
//! files of `ui`.

use std::io::{Read as _, Write as _};

use wasip2::http::types::{
    Fields, IncomingRequest, Method as WasiMethod, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

use model::submission::{TICKET_HEADER, forwarded};

use self::bindings::{sealwire::assets::files, wasmcloud::messaging::consumer};
use crate::{
    response::{File, Response},
    route::{Method, Route, body_bytes_max, route},
};

mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/messaging.wit", "../../wit/assets.wit", "../../wit/http-gateway.wit"],
        world: "sealwire:http-gateway/http-gateway",
        generate_all,
    });
}

mod exports {
    use super::Component;
    wasip2::http::proxy::export!(Component);
}

/// How long the gateway waits for the site, in milliseconds: far longer than the site needs, and no
/// longer than a person waits.
const SITE_TIMEOUT_MS: u32 = 5_000;

/// How long it waits for the receipts of events, in milliseconds: a little less than the page's
/// port waits for the gateway.
const RECEIPTS_TIMEOUT_MS: u32 = 9_000;

struct Component;

impl wasip2::exports::http::incoming_handler::Guest for Component {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let without_body = matches!(request.method(), WasiMethod::Head);
        let mut response = answer(&request);
        // The answer to a HEAD has the length of the body that a GET would return, and no body.
        response.headers.push(("content-length", response.body.len().to_string()));
        if without_body {
            response.body.clear();
        }
        send(response, response_out);
    }
}

fn answer(request: &IncomingRequest) -> Response {
    let method = match request.method() {
        WasiMethod::Get | WasiMethod::Head => Method::Get,
        WasiMethod::Post => Method::Post,
        _ => Method::Other,
    };
    let path = request.path_with_query().unwrap_or_else(|| String::from("/"));
    let body = match read_body(request, method, body_bytes_max(&path)) {
        Ok(body) => body,
        Err(response) => return response,
    };
    match route(method, &path, &body) {
        Err(response) => response,
        Ok(Route::Ask { address, body }) => {
            let reply = consumer::request(&address.to_string(), &body, SITE_TIMEOUT_MS);
            Response::from_site(reply.map(|reply| reply.body))
        }
        Ok(Route::Forward) => {
            // The page's port gives a ticket to whoever may hand in events.
            let ticket = request.headers().get(TICKET_HEADER);
            let ticket = ticket.first().and_then(|ticket| std::str::from_utf8(ticket).ok());
            let Some(subject) = ticket.and_then(forwarded) else {
                return Response::problem(401, "events are handed in with an API token");
            };
            let outcome = consumer::request(&subject, &body, RECEIPTS_TIMEOUT_MS);
            Response::from_outcome(outcome.map(|outcome| outcome.body))
        }
        Ok(Route::File { path }) => {
            let file = files::get(&path).map(|file| File {
                body: file.body,
                media_type: file.media_type,
                digest: file.digest,
                immutable: file.immutable,
            });
            let tags = request.headers().get("if-none-match");
            let tags = tags.first().and_then(|tags| std::str::from_utf8(tags).ok());
            Response::from_file(file, &path, tags)
        }
    }
}

fn read_body(
    request: &IncomingRequest,
    method: Method,
    bytes_max: u64,
) -> Result<Vec<u8>, Response> {
    if method != Method::Post {
        return Ok(Vec::new());
    }
    let unreadable = || Response::problem(400, "cannot read the request's body");
    let incoming = request.consume().map_err(|()| unreadable())?;
    let stream = incoming.stream().map_err(|()| unreadable())?;
    let mut body = Vec::new();
    stream.take(bytes_max + 1).read_to_end(&mut body).map_err(|_| unreadable())?;
    if body.len() as u64 > bytes_max {
        return Err(Response::problem(
            413,
            &format!("the body is too large: at most {bytes_max} bytes are read"),
        ));
    }
    Ok(body)
}

fn send(response: Response, response_out: ResponseOutparam) {
    let fields = Fields::new();
    for (name, value) in &response.headers {
        fields
            .set(name, &[value.clone().into_bytes()])
            .expect("our own header fields are well formed");
    }
    let outgoing = OutgoingResponse::new(fields);
    outgoing.set_status_code(response.status).expect("our own status codes are valid");
    let body = outgoing.body().expect("a new response has its body");
    ResponseOutparam::set(response_out, Ok(outgoing));
    // If the client has gone, nobody receives the error.
    let mut stream = body.write().expect("a new body has its stream");
    let written =
        stream.write_all(&response.body).and_then(|()| std::io::Write::flush(&mut stream));
    drop(stream);
    if written.is_ok() {
        let _gone = OutgoingBody::finish(body, None);
    }
}
