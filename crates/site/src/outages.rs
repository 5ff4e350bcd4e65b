//! Seals the outages of engines and of hosts.

use model::{Event, Timestamp, action};
use services::sealing::ToSeal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Something that happened to what the site runs on.
pub(crate) trait Outage: Send {
    /// The event that records it.
    fn event(self, at: Timestamp) -> Event;
}

impl Outage for engine::Change {
    fn event(self, at: Timestamp) -> Event {
        match self {
            Self::Down { name, reason } => {
                Event::site(action::ENGINE_DOWN, name, format!("{name} {reason}"), at)
            }
            Self::Up { name, outage } => {
                let message = format!("{name} runs again after {} ms", outage.as_millis());
                Event::site(action::ENGINE_UP, name, message, at)
            }
        }
    }
}

impl Outage for lattice::Change {
    fn event(self, at: Timestamp) -> Event {
        let (action, id, name, words) = match self {
            Self::Joined { id, name } => (action::HOST_JOINED, id, name, "is there"),
            Self::Lost { id, name } => (action::HOST_LOST, id, name, "does not answer any more"),
        };
        let mut event = Event::site(action, &name, format!("host {name} {words}"), at);
        event.target = Some(id.to_string());
        event
    }
}

/// Seals what comes, until `stop`.
pub(crate) async fn seal(
    mut outages: mpsc::Receiver<impl Outage>,
    events: mpsc::WeakSender<ToSeal>,
    stop: CancellationToken,
) {
    while let Some(Some(outage)) = stop.run_until_cancelled(outages.recv()).await {
        let Some(events) = events.upgrade() else { break };
        let _stopping = events.send(outage.event(clock::now()).into()).await;
    }
    stop.cancelled().await;
}
