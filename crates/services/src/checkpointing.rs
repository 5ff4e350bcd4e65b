//! Publishes checkpoints while the log grows.

use std::time::Duration;

use ledger::{AppendError, Ledger};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use work::Service;

/// Publishes a checkpoint each period if the log has grown since the last one.
#[derive(Debug)]
pub struct Checkpointing {
    /// The log whose checkpoints are published.
    pub ledger: Ledger,
    /// Time between two checkpoints.
    pub period: Duration,
}

impl Service for Checkpointing {
    const NAME: &'static str = "checkpoints";
    type Error = AppendError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), AppendError> {
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.ledger.publish_checkpoint().await?;
        }
        Ok(())
    }
}
