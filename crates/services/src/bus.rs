//! The site's connections to the message bus, and the state of each.

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

/// Pause between attempts to reconnect. It is short: on loopback there is no crowd of clients to
/// spread out, and readings wait meanwhile.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Messages that a subscription holds. The client drops and counts further ones.
const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;
/// Outgoing messages that the client holds. When it holds this many, a publisher waits.
const OUTGOING_MESSAGES_MAX: usize = 4_096;

/// One connection for each NATS account in which the site speaks. Messages of different accounts
/// never share a connection, so the site cannot mistake one for another.
#[derive(Debug)]
pub struct Connections {
    /// Connection to the devices' account.
    pub devices: Connection,
    /// Connection to the account of the hosts, which take orders there.
    pub control: Client,
    /// Connection to the account of the components that run on the hosts.
    pub data: Client,
}

/// A connection that reconnects by itself.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The NATS client.
    pub client: Client,
    /// Whether the connection is up.
    pub state: watch::Receiver<Bus>,
    /// Messages dropped because a subscription was full, counted over all connections.
    pub dropped: Arc<AtomicU64>,
}

/// Connects to the server. Afterwards the connection reconnects by itself.
///
/// # Errors
/// The server does not answer yet, or refuses the credentials.
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
        // The client calls this before the very first attempt too, when there is nothing to wait
        // for.
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
                        warn!(subscription, "a subscription is full, so messages are dropped");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    // This event is the only sign of a subject that the account may not use.
                    Event::ServerError(error) => {
                        warn!(%error, "the message bus refused an operation");
                    }
                    other => info!(event = %other, "message bus"),
                }
            }
        })
        .connect(format!("nats://{address}"))
        .await?;
    Ok(Connection { client, state: watch_state, dropped })
}
