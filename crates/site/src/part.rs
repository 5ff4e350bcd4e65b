//! Tasks that stop together, and the first of them that fails.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::UpError;

/// Tasks that stop together.
pub(crate) struct Part {
    pub(crate) tasks: JoinSet<Result<(), UpError>>,
    pub(crate) stop: CancellationToken,
}

impl Part {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// The failure of the first task that ends. Never returns while none does.
    pub(crate) async fn failure(&mut self) -> UpError {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) => UpError::Ended,
            Some(Err(panic)) => UpError::Panicked(panic),
            None => std::future::pending().await,
        }
    }

    /// Asks the tasks to stop and waits for them; those that take longer than `patience` are cut off.
    pub(crate) async fn stop(&mut self, patience: Duration) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(failure)) = ended {
                    warn!(%failure, "while stopping");
                }
            }
        };
        if timeout(patience, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}
