//! A user's processor on a host of its own, to rehearse it on sealed history: the engines of a site
//! with the same limits, on a log of nobody's.

use std::{path::Path, time::Duration};

use async_nats::Client;
use engine::HostKind;
use lattice::Standing;
use model::processing::ProcessorName;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    error::UpError,
    host_alone::HostAlone,
    processors::{ImageName, Processors},
    workloads,
};

/// Name of the image.
const IMAGE: &str = "rehearsal";
/// Time until the processor runs: a large component is compiled first.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A processor that is rehearsed.
pub struct Rehearsal {
    /// Digest by which it names itself.
    pub digest: String,
    /// The connection on which it is asked.
    pub reader: Client,
    /// Lines that its host writes.
    pub host_says: mpsc::Receiver<String>,
    host: HostAlone,
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// Starts the processor, and returns once a host runs it. `folder` is an empty one.
    ///
    /// # Errors
    /// An engine does not start, or the host does not run the component.
    pub async fn start(
        folder: &Path,
        component: Vec<u8>,
        name: &ProcessorName,
    ) -> Result<Self, UpError> {
        let image = workloads::images(&[(String::from(IMAGE), component)]).remove(0);
        let digest = image.digest();
        let processors = Processors::of(std::slice::from_ref(name), &ImageName::own(&image));
        let wanted = |_: &_| Ok(processors.iter().map(workloads::processing).collect());
        let mut host =
            Box::pin(HostAlone::start(folder, &[HostKind::Guests], vec![image], wanted)).await?;
        let log = host.guests_log.clone().expect("the processor's host was started");
        let host_says = log.hear();
        let trouble = |standing: &Standing| {
            standing.workloads.iter().find_map(|workload| workload.trouble.clone())
        };
        let decided = host.wait_for(|standing| standing.is_ready() || trouble(standing).is_some());
        let failure = match timeout(START_TIMEOUT, decided).await {
            Ok(decided) => {
                decided?;
                trouble(&host.standing.borrow()).map(NotRun::Refused)
            }
            Err(_elapsed) => Some(NotRun::Late(log.ending())),
        };
        if let Some(failure) = failure {
            host.stop().await?;
            return Err(UpError::machine(failure));
        }
        let reader = host.guests.clone();
        Ok(Self { digest, reader, host_says, host })
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// The writer of the log failed.
    pub async fn stop(self) -> Result<(), UpError> {
        self.host.stop().await
    }
}

/// The host does not run the component.
#[derive(Debug, thiserror::Error)]
enum NotRun {
    #[error("the host does not run the component: {0}")]
    Refused(String),
    #[error("the host does not run the component within {START_TIMEOUT:?}; {0}")]
    Late(String),
}
