//! From events to leaves: gathers what comes in into batches and appends them.

use std::time::Duration;

use ledger::{AppendError, Batch, Ledger};
use model::Event;
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;

/// Events that wait to be sealed. When it is full, whoever brings more waits.
pub(crate) const QUEUE_EVENTS_MAX: usize = 10_000;
/// Pause before a batch that could not be written is tried again: a full disk is not emptied sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Seals until every sender is gone and everything that waited is sealed.
///
/// # Errors
/// The ledger has stopped, or refuses a batch for what it is.
pub(crate) async fn run(
    ledger: Ledger,
    mut events: mpsc::Receiver<Event>,
) -> Result<(), AppendError> {
    let mut waiting = Vec::new();
    while events.recv_many(&mut waiting, Batch::EVENTS_MAX).await > 0 {
        append(&ledger, std::mem::take(&mut waiting)).await?;
    }
    Ok(())
}

/// Appends, trying again for as long as the disk refuses: an event that was seen is not given up.
async fn append(ledger: &Ledger, events: Vec<Event>) -> Result<(), AppendError> {
    loop {
        match ledger.append(Batch::of(events.clone())).await {
            Err(AppendError::Write(reason)) => {
                warn!(reason, events = events.len(), "cannot seal; trying again");
                sleep(RETRY_AFTER).await;
            }
            outcome => return outcome.map(drop),
        }
    }
}
