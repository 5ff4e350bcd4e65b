//! Seals events: gathers them into batches and appends the batches to the log.

use std::time::Duration;

use ledger::{AppendError, Batch, Ledger};
use model::Event;
use prometheus::Histogram;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use crate::site_clock::SiteClock;

/// Events that wait to be sealed. When this is full, senders wait.
pub const QUEUE_EVENTS_MAX: usize = 10_000;
/// Least time between two batches: what comes meanwhile shares the next one's fsync, and the
/// threads that each batch wakes up. It is gathered here alone, so a reading waits once, 7 ms on
/// average. An event that comes alone does not wait, and events of programs do not come this way.
const GATHERING: Duration = Duration::from_millis(14);
/// Pause before a retry after a failed write. A full disk does not become free sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An event to be sealed.
#[derive(Debug)]
pub struct ToSeal {
    event: Box<Event>,
    queued_at: Instant,
    /// Receives the event's leaf, if the sender waits for it.
    waiting: Option<oneshot::Sender<u64>>,
}

impl ToSeal {
    /// Wraps an event, and returns a receiver that gets its leaf once it is sealed.
    pub fn awaited(event: Event) -> (Self, oneshot::Receiver<u64>) {
        let (waiting, sealed) = oneshot::channel();
        (Self { waiting: Some(waiting), ..Self::from(event) }, sealed)
    }
}

#[cfg(test)]
impl ToSeal {
    pub(crate) fn into_event(self) -> Event {
        *self.event
    }
}

impl From<Event> for ToSeal {
    fn from(event: Event) -> Self {
        Self::from(Box::new(event))
    }
}

impl From<Box<Event>> for ToSeal {
    fn from(event: Box<Event>) -> Self {
        Self { event, queued_at: Instant::now(), waiting: None }
    }
}

/// Seals events in the order in which they arrive.
#[derive(Debug)]
pub struct Sealing {
    /// The log to append to.
    pub ledger: Ledger,
    /// The events to seal.
    pub events: mpsc::Receiver<ToSeal>,
    /// Takes the time that each event has waited until it was durable.
    pub seal_seconds: Histogram,
    /// The machine's clock, whose times the events carry.
    pub clock: SiteClock,
}

impl Service for Sealing {
    const NAME: &'static str = "sealing";
    /// The ledger has stopped, or refuses the content of a batch.
    type Error = AppendError;

    /// Seals until every sender is gone and the queue is empty. `shutdown` does not end it.
    async fn run(mut self, _shutdown: CancellationToken) -> Result<(), AppendError> {
        let mut waiting = Vec::new();
        let mut gathering_until = Instant::now();
        while self.events.recv_many(&mut waiting, Batch::EVENTS_MAX).await > 0 {
            if gathering_until > Instant::now() {
                sleep_until(gathering_until).await;
                // This does not wait: what is there joins the batch.
                while waiting.len() < Batch::EVENTS_MAX
                    && let Ok(event) = self.events.try_recv()
                {
                    waiting.push(event);
                }
            }
            gathering_until = Instant::now() + GATHERING;
            self.clock.mark(waiting.iter_mut().map(|to_seal| &mut *to_seal.event));
            append(&self.ledger, std::mem::take(&mut waiting), &self.seal_seconds).await?;
        }
        Ok(())
    }
}

/// Appends events, and retries for as long as the disk fails, because an observed event must not be
/// lost. If the events are too large together, splits them in halves.
async fn append(
    ledger: &Ledger,
    events: Vec<ToSeal>,
    seal_seconds: &Histogram,
) -> Result<(), AppendError> {
    let apart = |to_seal: ToSeal| (*to_seal.event, (to_seal.queued_at, to_seal.waiting));
    let (events, waiting): (Vec<Event>, Vec<_>) = events.into_iter().map(apart).unzip();
    let mut batches = vec![(Batch::of(events), waiting)];
    while let Some((mut batch, mut waiting)) = batches.pop() {
        match ledger.append_kept(&batch).await {
            Err(AppendError::BatchTooLarge { .. }) if waiting.len() > 1 => {
                let half = waiting.len() / 2;
                let later = (Batch::of(batch.events.split_off(half)), waiting.split_off(half));
                batches.extend([later, (batch, waiting)]);
            }
            Err(AppendError::Write(reason)) => {
                warn!(reason, events = waiting.len(), "cannot seal; trying again");
                sleep(RETRY_AFTER).await;
                batches.push((batch, waiting));
            }
            outcome => {
                let (receipt, durable_at) = (outcome?, Instant::now());
                for (leaf, (queued_at, waiting)) in (receipt.first_leaf..).zip(waiting) {
                    seal_seconds.observe((durable_at - queued_at).as_secs_f64());
                    if let Some(waiting) = waiting {
                        // The caller may be gone; the log then holds the answer.
                        let _gone = waiting.send(leaf);
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{Envelope, Timestamp, action};
    use tlog::{KeyName, Signer};

    use super::*;

    #[tokio::test]
    async fn a_burst_of_large_answers_is_sealed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        // 1,000 events of 32 KB are twice as large as one batch may be.
        let event = |number: usize| {
            let message = format!("{number} {}", "x".repeat(32_000));
            Event::site(action::SITE_STARTED, "test", message, Timestamp::from_unix_micros(0))
        };
        let mut events: Vec<ToSeal> = (0..999).map(|number| event(number).into()).collect();
        let (last, sealed) = ToSeal::awaited(event(999));
        events.push(last);
        let seal_seconds = crate::timings::seal_seconds();
        append(&ledger, events, &seal_seconds).await.unwrap();
        assert_eq!(seal_seconds.get_sample_count(), 1_000);
        assert_eq!(sealed.await, Ok(1_000), "whoever waits is told the leaf");
        for (leaf, number) in [(1, "0 x"), (500, "499 x"), (1_000, "999 x")] {
            let stored = ledger.envelopes(leaf, 1, usize::MAX).unwrap().remove(0);
            assert!(
                Envelope::parse(stored.bytes.as_deref().unwrap())
                    .unwrap()
                    .event
                    .message
                    .starts_with(number)
            );
        }
        writer.close().await.unwrap();
    }
}
