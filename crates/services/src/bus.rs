//! The site's connections to the bus, and whether they are there.

use std::{
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_nats::{Client, Event};
use engine::Credentials;
use poll::Bus;
use tokio::sync::watch;
use tracing::{info, warn};

/// Pause between attempts to connect again: on loopback there is no crowd to keep apart, and
/// readings wait.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Messages a subscription holds before further ones are dropped, and counted.
const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;
/// Messages on their way out before whoever publishes waits.
const OUTGOING_MESSAGES_MAX: usize = 4_096;

/// One connection for each account in which the site speaks: what comes by one is never taken for
/// another's.
#[derive(Debug)]
pub struct Connections {
    /// To devices.
    pub devices: Connection,
    /// To hosts, which take orders.
    pub control: Client,
    /// To the components on them.
    pub data: Client,
}

/// A connection that comes back by itself.
#[derive(Clone, Debug)]
pub struct Connection {
    pub client: Client,
    pub state: watch::Receiver<Bus>,
    /// Messages that were dropped because a subscription was full, of all connections together.
    pub dropped: Arc<AtomicU64>,
}

/// Connects; fails if the server is not there yet.
pub async fn connect(
    address: SocketAddr,
    credentials: &Credentials,
    dropped: Arc<AtomicU64>,
) -> Result<Connection, async_nats::ConnectError> {
    let (state, watch_state) = watch::channel(Bus::Up);
    let state = Arc::new(state);
    let count = Arc::clone(&dropped);
    let client = credentials
        .options()
        .name("sealwire")
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .client_capacity(OUTGOING_MESSAGES_MAX)
        // It is asked before the very first attempt too, which has nothing to wait for.
        .reconnect_delay_callback(
            |attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_PAUSE },
        )
        .event_callback(move |event| {
            let (state, count) = (Arc::clone(&state), Arc::clone(&count));
            async move {
                match event {
                    Event::Connected => drop(state.send_replace(Bus::Up)),
                    Event::Disconnected => drop(state.send_replace(Bus::Down)),
                    Event::SlowConsumer(subscription) => {
                        warn!(subscription, "a subscription is full; messages are dropped");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    // A subject that is not permitted shows here and nowhere else.
                    Event::ServerError(error) => warn!(%error, "refused by the message bus"),
                    other => info!(event = %other, "message bus"),
                }
            }
        })
        .connect(format!("nats://{address}"))
        .await?;
    Ok(Connection { client, state: watch_state, dropped })
}
