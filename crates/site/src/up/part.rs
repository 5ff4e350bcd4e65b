//! Tasks that stop together, and the first of them that fails.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::up::UpError;

/// Tasks that stop together.
pub(super) struct Part {
    pub(super) tasks: JoinSet<Result<(), UpError>>,
    pub(super) stop: CancellationToken,
}

impl Part {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// The failure of the first task that ends. Never returns while none does.
    pub(super) async fn failure(&mut self) -> UpError {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) => UpError::Ended,
            Some(Err(panic)) => UpError::Panicked(panic),
            None => std::future::pending().await,
        }
    }

    /// Asks the tasks to stop and waits for them; those that take longer than `patience` are cut off.
    pub(super) async fn stop(&mut self, patience: Duration) {
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
