//! Erases envelopes whose retention period is over, once an hour.

use std::{convert::Infallible, time::Duration};

use model::error_chain;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

use crate::operator::Operator;

/// Time between two runs. The retention file counts in hours.
const PERIOD: Duration = Duration::from_secs(3_600);

/// Erases envelopes whose retention period is over, and seals revocations that an earlier process
/// left unsealed. A failure waits for the next run: keeping an envelope an hour longer does no
/// harm.
#[derive(Debug)]
pub struct Retaining(pub Operator);

impl Service for Retaining {
    const NAME: &'static str = "retention";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self(operator) = self;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            shutdown.run_until_cancelled(retain(&operator)).await;
        }
        Ok(())
    }
}

async fn retain(operator: &Operator) {
    if let Err(error) = operator.seal_revocations().await {
        warn!(failure = error_chain(&error), "cannot seal the revocations of tokens");
    }
    match operator.retain(clock::now()).await {
        Ok(classes) => {
            for class in classes {
                info!(class = class.class, envelopes = class.erased.envelopes, "retention");
            }
        }
        Err(error) => {
            warn!(
                failure = error_chain(&error),
                "cannot erase what the retention rules no longer keep"
            );
        }
    }
}
