//! Seals, once a period, how many wrong tokens the ports that other machines reach turned away.
//! [`Gate`] counts them.

use std::convert::Infallible;

use access::{Gate, REFUSALS_PERIOD, Refused};
use ledger::{Batch, Ledger};
use model::{Event, action};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

/// Name of this part of the site in events.
const SOURCE: &str = "ports";

/// Seals what the gate turned away.
#[derive(Debug)]
pub struct TurnedAway {
    /// Counts wrong tokens.
    pub gate: Gate,
    /// Where they are sealed.
    pub ledger: Ledger,
}

impl Service for TurnedAway {
    const NAME: &'static str = "the count of wrong tokens";
    /// What cannot be sealed is in the site's own log.
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            let period = tokio::time::sleep(REFUSALS_PERIOD);
            let is_last = shutdown.run_until_cancelled(period).await.is_none();
            let refused: Vec<_> = self.gate.refused().into_iter().map(event).collect();
            if !refused.is_empty()
                && let Err(failure) = self.ledger.append(Batch::of(refused)).await
            {
                warn!(%failure, "cannot seal that callers were refused");
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

fn event(Refused { network, times }: Refused) -> Event {
    let from = network.map_or_else(|| String::from("other addresses"), |it| it.to_string());
    let message = format!("refused {times} wrong tokens from {from}");
    Event::site(action::CALLERS_REFUSED, SOURCE, message, clock::now())
}
