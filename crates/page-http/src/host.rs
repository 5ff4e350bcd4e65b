//! The way to the components that make the page: HTTP to the wasmCloud host, on a port of loopback
//! that nobody else is to use.
//!
//! The host makes an instance for each request and keeps it until the answer is taken; it has a
//! limited number of instances for all its components, and no limit on time. So a request goes
//! there whole, few go at once, and an answer is taken at once, into memory that is limited.
//!
//! The host answers a request if its Host header names a workload. The page's workload has a name
//! that is new at each start, so that nobody else's requests reach an instance.

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
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;
use work::Owner;

/// Requests at the host at once: as many as the site answers questions at once.
pub(crate) const CALLS_MAX: usize = 16;
/// Components of the page that take part in a call: the gateway and `ui`.
const COMPONENTS_OF_A_CALL: usize = 2;
// Whatever the page is asked, `sensor-reader` finds an instance.
const _: () = assert!(
    (CALLS_MAX * COMPONENTS_OF_A_CALL + MESSAGES_MAX) * CORE_INSTANCES_OF_A_CALL <= CORE_INSTANCES
);
/// How long a request waits for others to be answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the host may take: twice what the gateway gives the site.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer: as many as the site may answer the gateway, and every file of the page is
/// smaller.
const ANSWER_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Bytes of all larger answers that are on their way to those who asked.
const ANSWERS_BYTES_MAX: usize = 4 * ANSWER_BYTES_MAX;
/// How long a connection to the host is kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the gateway reads of a request's head. Nothing else goes to a component, no cookie of
/// another server on this machine either.
const PASSED_ON: [HeaderName; 2] = [header::CONTENT_TYPE, header::IF_NONE_MATCH];
/// What is between two ends of a connection and not of the answer (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// By which name the host knows the page's workload. `Debug` does not show it.
#[derive(Clone)]
pub struct WorkloadName(String);

/// The components' host, as the page's port reaches it.
#[derive(Clone, Debug)]
pub struct Host {
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
    name: WorkloadName,
    calls: Arc<Semaphore>,
    answers: Arc<Answers>,
    pub(crate) tasks: Tasks,
}

/// What goes on when nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    calls: Owner,
    connections: TaskTracker,
}

impl Tasks {
    /// Waits until all of it has ended. Connections end once the last [`Host`] is gone.
    pub(crate) async fn ended(self) {
        self.calls.ended().await;
        self.connections.close();
        self.connections.wait().await;
    }
}

/// Why the host gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Others are before it.
    #[error("the page has as many requests under way as it takes ({CALLS_MAX}), and this one waited for {} s: try again in a moment", PATIENCE.as_secs())]
    Busy,
    /// Those who asked for large answers do not take them.
    #[error(
        "other clients take their answers slowly, and there is no room for this one: try again in a moment"
    )]
    NoMemory,
    /// Nobody is there.
    #[error(
        "the host of the page's components does not answer: it is started again by itself, so try again in a moment"
    )]
    Away(#[source] hyper_util::client::legacy::Error),
    /// It has no page yet.
    #[error("the page's components do not run yet: try again in a moment")]
    NoWorkload,
    /// It takes too long.
    #[error("the page's components did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Slow,
    /// What it says is no answer of the gateway's.
    #[error("the page's components failed")]
    Broken,
    /// More than any answer has.
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes: ask for less")]
    TooLarge,
}

impl WorkloadName {
    /// A new one, which nobody can guess.
    pub fn random() -> Self {
        let bytes: [u8; 16] = rand::random();
        Self(format!("{}.page.internal", hex::encode(bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
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

    /// Asks the host, and takes its answer whole.
    ///
    /// The call goes on when whoever asked is gone: until it ends there is an instance, and so it
    /// holds its place.
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
        // The gateway says of all its answers what they are; the host's own say nothing.
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

/// Gives the client's connections an owner that waits for them.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
