//! The Polling interface as a NATS service, by the protocol of NATS' services (ADR-32): tools such
//! as `nats micro ls` find it, and programs order polls.
//!
//! It is on the hosts' server, in an account of its own, which neither devices nor components
//! reach. `docs/formats/polling.md` defines the requests.

use std::{collections::HashMap, fmt, sync::Arc};

use access::bearer_of;
use async_nats::{
    Client, Error,
    service::{Request, ServiceExt as _, endpoint::Endpoint, error},
};
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{SelectAll, select_all},
};
use model::query::QueryError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use work::{Room, Service};

use crate::queries::Logs;

/// Name of the service. Tools list it by this name.
const NAME: &str = "polling";
/// Prefix of the subjects of its endpoints.
const SUBJECTS: &str = "sealwire.polling";
/// The subjects below it.
pub const ALL_SUBJECTS: &str = "sealwire.polling.>";
/// The endpoint that lists sensors. It changes nothing, so it needs no token.
const LIST: &str = "list";
/// Requests that are handled at the same time. Further ones wait.
const CONCURRENT_MAX: usize = 32;
/// Longest error in a header, in characters: natscli and clients print it in one line.
const ERROR_CHARS_MAX: usize = 500;

/// Carries out an order. The arguments are the name of the endpoint, the API token that the caller
/// sends, and the request. The error is a code and what is wrong.
pub type GiveOrder =
    Arc<dyn Fn(&'static str, Option<String>, Vec<u8>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// The answer as JSON, or why there is none.
pub type Answer = Result<Vec<u8>, (u16, String)>;

/// The service. The fields are what it needs at its start.
pub struct PollingService {
    /// Connection to the account of the operators.
    pub client: Client,
    /// Names of the endpoints that take orders.
    pub orders: Vec<&'static str>,
    /// Carries them out.
    pub give: GiveOrder,
    /// Lists sensors.
    pub logs: Logs,
    /// Name of the site, and its log.
    pub site: HashMap<String, String>,
}

impl fmt::Debug for PollingService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PollingService").field("site", &self.site).finish_non_exhaustive()
    }
}

/// A request, and the name of the endpoint that it came to.
type Named = (&'static str, Request);

impl Service for PollingService {
    const NAME: &'static str = "the polling service";
    /// The bus refuses a subscription.
    type Error = Error;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let service = self
            .client
            .service_builder()
            .description("Polls sensors, lists them, and changes how they are polled")
            .metadata(self.site.clone())
            .start(NAME, env!("CARGO_PKG_VERSION"))
            .await?;
        let group = service.group(SUBJECTS);
        let mut endpoints = Vec::new();
        for name in self.orders.iter().copied().chain([LIST]) {
            let requests: Endpoint = group.endpoint_builder().name(name).add(name).await?;
            endpoints.push(requests.map(move |request| (name, request)));
        }
        self.answer_all(select_all(endpoints), &shutdown).await;
        service.stop().await
    }
}

impl PollingService {
    async fn answer_all<S>(&self, mut requests: SelectAll<S>, shutdown: &CancellationToken)
    where
        S: futures::Stream<Item = Named> + Unpin,
    {
        let room = Room::of(CONCURRENT_MAX);
        let mut answering = JoinSet::new();
        loop {
            let next = async { (room.place().await, requests.next().await) };
            let next = shutdown.run_until_cancelled(next).await;
            let Some((permit, Some((name, request)))) = next else { return };
            let (give, logs) = (Arc::clone(&self.give), self.logs.clone());
            answering.spawn(async move {
                let answer = answer(name, &request, &give, &logs).await;
                if let Err(error) = request.respond(answer.map_err(refusal).map(Into::into)).await {
                    debug!(%error, "cannot answer a request");
                }
                drop(permit);
            });
            while answering.try_join_next().is_some() {}
        }
    }
}

async fn answer(name: &'static str, request: &Request, give: &GiveOrder, logs: &Logs) -> Answer {
    let body = request.message.payload.as_ref();
    if name == LIST {
        let listed = logs.sensors_of_own(if body.is_empty() { b"{}" } else { body }).await;
        return listed.map(|json| Box::<str>::from(json).into_string().into_bytes()).map_err(
            |error| match error {
                QueryError::Invalid(words) => (400, words),
                QueryError::NotFound(words) => (404, words),
                QueryError::Unavailable(words) => (503, words),
            },
        );
    }
    let headers = request.message.headers.as_ref();
    let token = headers.and_then(|headers| headers.get("Authorization"));
    let token = token.and_then(|value| bearer_of(value.as_str())).map(str::to_owned);
    give(name, token, body.to_vec()).await
}

/// The error as the protocol carries it: in headers, of one line each.
fn refusal((code, words): (u16, String)) -> error::Error {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let status = words.chars().map(line).take(ERROR_CHARS_MAX).collect();
    error::Error { code: code.into(), status }
}
