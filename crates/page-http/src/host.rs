//! Passes requests to the components that make the page: HTTP to the wasmCloud host, on a loopback
//! port for this purpose only.
//!
//! The host creates an instance for each request and keeps it until the client has taken the
//! answer. It has a limited number of instances for all its components and no time limit. So this
//! module sends a request only once it has all of it, sends few at the same time, and reads each
//! answer at once, into limited memory.
//!
//! The host answers a request if its Host header names a workload. The name of the page's workload
//! is random at each start, so that no foreign request reaches an instance.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
        request::Parts,
    },
};
use engine::{
    nats_server::PAYLOAD_BYTES_MAX,
    wash_host::{CORE_INSTANCES, CORE_INSTANCES_OF_A_CALL, MESSAGES_MAX},
};
use http_server::Answers;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use model::submission;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;
use work::Owner;

/// Most requests to the host at once: as many questions as the site answers at once.
pub(crate) const CALLS_MAX: usize = 16;
/// Number of components that take part in a call: the gateway and `ui`.
const COMPONENTS_OF_A_CALL: usize = 2;
// Even with all calls in use, `sensor-reader` gets an instance.
const _: () = assert!(
    (CALLS_MAX * COMPONENTS_OF_A_CALL + MESSAGES_MAX) * CORE_INSTANCES_OF_A_CALL <= CORE_INSTANCES
);
/// Longest time that a request waits for a free place.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time for an answer of the host: twice as long as the gateway waits for the site.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: as many as the site may send to the gateway. Every file of the page is
/// smaller.
const ANSWER_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Most bytes of all large answers that clients have not taken yet.
const ANSWERS_BYTES_MAX: usize = 4 * ANSWER_BYTES_MAX;
/// How long an idle connection to the host is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Request headers that the gateway reads. Components get no other headers, and so no cookies of
/// other servers on this machine.
const PASSED_ON: [HeaderName; 3] = [
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    HeaderName::from_static(submission::TICKET_HEADER),
];
/// Headers that concern only one connection, not the answer (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Host name of the page's workload on the wasmCloud host. `Debug` does not reveal it.
#[derive(Clone)]
pub struct WorkloadName(String);

/// Client of the wasmCloud host, used by the page's port.
#[derive(Clone, Debug)]
pub struct Host {
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
    name: WorkloadName,
    calls: Arc<Semaphore>,
    answers: Arc<Answers>,
    pub(crate) tasks: Tasks,
}

/// Tasks that continue after their client has gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    calls: Owner,
    connections: TaskTracker,
}

impl Tasks {
    /// Waits until all tasks have ended. Connections end after the last [`Host`] is dropped.
    pub(crate) async fn ended(self) {
        self.calls.ended().await;
        self.connections.close();
        self.connections.wait().await;
    }
}

/// Why the host gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Other requests occupy all places.
    #[error("the page has its maximum of {CALLS_MAX} requests in progress, and this one waited {} s for its turn: try again shortly", PATIENCE.as_secs())]
    Busy,
    /// Clients with large answers take them too slowly, so memory is used up.
    #[error(
        "other clients are reading their answers slowly, so there is no room for this one: try again shortly"
    )]
    NoMemory,
    /// The host does not accept connections.
    #[error(
        "the host of the page's components does not answer; the site restarts it, so try again shortly"
    )]
    Away(#[source] hyper_util::client::legacy::Error),
    /// The host has no workload for the page yet.
    #[error("the page's components are not running yet: try again shortly")]
    NoWorkload,
    /// The host took too long.
    #[error("the page's components did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Slow,
    /// The answer is not one of the gateway's.
    #[error("the page's components failed")]
    Broken,
    /// The answer is larger than any valid one.
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes: ask for less")]
    TooLarge,
}

/// Why the page's components do not answer as they should.
#[derive(Debug)]
pub enum ProbeError {
    /// They answer something else.
    Faulty(String),
    /// They do not answer in time.
    Silence,
    /// The host has no such workload.
    Nobody,
    /// The host is not there, or there was no place for the call.
    Unknown,
}

impl WorkloadName {
    /// A new random name that nobody can guess.
    pub fn random() -> Self {
        let bytes: [u8; 16] = rand::random();
        Self(format!("{}.page.internal", hex::encode(bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn aside(&self, label: &str) -> Self {
        Self(format!("{label}.{}", self.0))
    }
}

impl fmt::Debug for WorkloadName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WorkloadName")
    }
}

impl CallError {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::NoMemory | Self::Away(_) | Self::NoWorkload => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken | Self::TooLarge => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Host {
    /// A client of the host at `address`, for the workload `name`.
    pub fn new(address: SocketAddr, name: WorkloadName) -> Self {
        let tasks = Tasks::default();
        let client = Client::builder(Tracked(tasks.connections.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(CALLS_MAX)
            .build_http();
        Self {
            client,
            address,
            name,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            answers: Arc::new(Answers::of(ANSWERS_BYTES_MAX)),
            tasks,
        }
    }

    /// Whether the components answer with what the site says of itself.
    pub async fn answers(&self) -> bool {
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = Uri::from_static("/api/site");
        self.call(&head, Bytes::new()).await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The same host, for the page's workload that runs aside under this label. The places for
    /// calls are the same.
    #[must_use]
    pub fn aside(&self, label: &str) -> Self {
        Self { name: self.name.aside(label), ..self.clone() }
    }

    /// Asks for the page, and for what the site says of itself.
    ///
    /// # Errors
    /// There is no answer, or another one than the page's.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        for path in ["/", "/api/site"] {
            let (mut head, ()) = Request::new(()).into_parts();
            head.uri = Uri::from_static(path);
            match self.call(&head, Bytes::new()).await {
                Ok(answer) if answer.status() == StatusCode::OK => {}
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    return Err(ProbeError::Faulty(format!("{path} has the status {status}")));
                }
                Err(CallError::Slow) => return Err(ProbeError::Silence),
                Err(CallError::NoWorkload) => return Err(ProbeError::Nobody),
                Err(CallError::Busy | CallError::NoMemory | CallError::Away(_)) => {
                    return Err(ProbeError::Unknown);
                }
                Err(error @ (CallError::Broken | CallError::TooLarge)) => {
                    return Err(ProbeError::Faulty(format!("{path}: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Sends a request to the host and reads the whole answer.
    ///
    /// The call continues if the client goes away. The instance exists until the call ends, so the
    /// call keeps its place that long.
    pub(crate) async fn call(
        &self,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Body>, CallError> {
        let request = self.request(head, body);
        let place = timeout(PATIENCE, Arc::clone(&self.calls).acquire_owned()).await;
        let place =
            place.map_err(|_elapsed| CallError::Busy)?.expect("nobody closes the semaphore");
        let host = self.clone();
        let call = self.tasks.calls.carry_out(async move {
            let answer = timeout(CALL_TIMEOUT, host.ask(request)).await;
            drop(place);
            answer.unwrap_or(Err(CallError::Slow))
        });
        call.await.unwrap_or(Err(CallError::Broken))
    }

    fn request(&self, head: &Parts, body: Bytes) -> Request<Body> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri =
            format!("http://{}{path}", self.address).parse().unwrap_or_else(|_| Uri::default());
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for name in PASSED_ON {
            if let Some(value) = head.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let name = HeaderValue::from_str(self.name.as_str()).expect("hex digits and dots");
        headers.insert(header::HOST, name);
        request
    }

    async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let without_body = request.method() == Method::HEAD;
        let answer = self.client.request(request).await.map_err(|error| {
            debug!(%error, "the host does not answer");
            CallError::Away(error)
        })?;
        let (mut head, body) = answer.into_parts();
        // The gateway sets a content type on all its answers. The host's own answers have none.
        if !head.headers.contains_key(header::CONTENT_TYPE) {
            let none = head.status == StatusCode::NOT_FOUND;
            return Err(if none { CallError::NoWorkload } else { CallError::Broken });
        }
        let length =
            if without_body { 0 } else { length_of(&head.headers).unwrap_or(ANSWER_BYTES_MAX) };
        if length > ANSWER_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        let room = self.answers.room(length).await.ok_or(CallError::NoMemory)?;
        let body = to_bytes(Body::new(body), length).await.map_err(|error| {
            debug!(%error, "the host's answer ends early");
            CallError::Broken
        })?;
        remove_hop_by_hop(&mut head.headers);
        Ok(Response::from_parts(head, room.body(body)))
    }
}

fn length_of(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let connection = headers.get_all(header::CONNECTION).iter();
    let named: Vec<HeaderName> = connection
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// Runs the client's connections in a task tracker, which waits for them.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
