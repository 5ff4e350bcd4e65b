//! Waits until the message bus and the page answer.

use std::{error::Error, time::Duration};

use engine::{Engine, Log};
use lattice::{Standing, WorkloadStanding, rollout};
use page_http::Host;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::workloads;

/// Time that `nats-server` has to answer. It reads JetStream's files first.
const NATS_READY_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for one attempt. It is longer than the gateway waits for the site.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// Pause between two attempts.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// The components behind the page's port, and where they run.
pub(crate) struct Page {
    pub(crate) host: Host,
    pub(crate) standing: watch::Receiver<Standing>,
    /// Output of the host, for the error if the page does not answer.
    pub(crate) host_log: Log,
}

/// Connects to the server as soon as it answers. `dial` makes one attempt.
pub(crate) async fn connect<C, E: Error + Send + Sync + 'static>(
    server: &mut Engine,
    dial: impl AsyncFn() -> Result<C, E>,
) -> Result<C, BusError> {
    let deadline = Instant::now() + NATS_READY_TIMEOUT;
    loop {
        let error = match dial().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if let Some(end) = server.ended().await {
            return Err(BusError::Ended { end });
        }
        if Instant::now() > deadline {
            let source = Box::new(error);
            return Err(BusError::Refused { ending: server.log().ending(), source });
        }
        sleep(READY_PAUSE).await;
    }
}

/// Why the message bus does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The server ended.
    #[error("{end}")]
    Ended {
        /// How it ended, and its last output.
        end: String,
    },
    /// The server refuses the site's credentials.
    #[error("nats-server refuses the site's connection; {ending}")]
    Refused {
        /// The server's last output.
        ending: String,
        /// Error of the NATS client.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The page does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the page does not answer; about wash host: {ending}")]
pub(crate) struct PageSilent {
    /// The host's last output.
    pub(crate) ending: String,
}

/// Whether everything runs that the site itself needs and that may run.
fn is_ready(standing: &Standing) -> bool {
    let is_needed = |it: &WorkloadStanding| {
        !workloads::is_processor(&it.name) && !rollout::is_aside(&it.name) && !it.is_forbidden
    };
    standing.runs(is_needed)
}

/// Waits until the gateway answers with data from the site.
pub(crate) async fn page_answers(mut page: Page) {
    // The sender lives as long as the reconciler. When that ends, the site stops.
    let is_forbidden = |it: &WorkloadStanding| it.name == workloads::WEB && it.is_forbidden;
    let standing = page.standing.wait_for(is_ready).await;
    if standing.is_ok_and(|standing| standing.workloads.iter().any(is_forbidden)) {
        warn!("the page does not answer, because its components may not be started");
        return;
    }
    while timeout(ANSWER_TIMEOUT, page.host.answers()).await != Ok(true) {
        sleep(READY_PAUSE).await;
    }
    info!("the page answers");
}
