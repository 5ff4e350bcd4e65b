//! The site's connections to the message bus.

use std::{
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, Event, rustls::ClientConfig};
use engine::Credentials;
use nats::{ConnectError, Connection, ConnectionError, Heard, Login, Message, Tls, nkey::Seed};
use poll::Now;
use tokio::{task::JoinSet, time::sleep};
use tracing::{debug, info, warn};

/// Pause between attempts to reconnect. It is short: on loopback there is no crowd of clients to
/// spread out, and readings wait meanwhile.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Messages that a subscription of the hosts' server holds. The client drops and counts further
/// ones.
const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;
/// Outgoing messages to the hosts' server that the client holds. When it holds this many, a
/// publisher waits.
const OUTGOING_MESSAGES_MAX: usize = 4_096;

/// What the servers' monitoring calls the site.
const NAME: &str = "sealwire";

/// One connection for each NATS account in which the site speaks. Messages of different accounts
/// never share a connection, so the site cannot mistake one for another.
#[derive(Debug)]
pub struct Connections {
    /// Connection to the devices' account.
    pub devices: Devices,
    /// Another one for devices that report by themselves, if there are rules for them.
    pub pushing: Option<Devices>,
    /// Connection to the account of the hosts, which take orders there.
    pub control: Client,
    /// Connection to the account of the components that run on the hosts.
    pub data: Client,
    /// Connection to the account of users' processors.
    pub guests: Client,
    /// Connection to the system account of the devices' server.
    pub door: Client,
    /// Connection to the account of the applications on the devices' server.
    pub applications: Client,
    /// Connection to the account of the operators.
    pub operators: Client,
    /// Messages dropped because more came than were taken, counted over all connections.
    pub dropped: Arc<AtomicU64>,
}

/// Connects to the hosts' server. Afterwards the connection reconnects by itself.
///
/// # Errors
/// The server does not answer yet, or refuses the credentials.
pub async fn connect(
    address: SocketAddr,
    credentials: &Credentials,
    dropped: Arc<AtomicU64>,
) -> Result<Client, async_nats::ConnectError> {
    credentials
        .options()
        .name(NAME)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .client_capacity(OUTGOING_MESSAGES_MAX)
        // The client calls this before the very first attempt too, when there is nothing to wait
        // for.
        .reconnect_delay_callback(
            |attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_PAUSE },
        )
        .event_callback(move |event| {
            let dropped = Arc::clone(&dropped);
            async move {
                match event {
                    Event::SlowConsumer(subscription) => {
                        warn!(subscription, "a subscription is full, so messages are dropped");
                        dropped.fetch_add(1, Ordering::Relaxed);
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
        .await
}

/// The devices' server, as the site reaches it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the site believes about it, if it speaks TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// These options, with TLS if the server speaks it.
    pub(crate) fn secured(&self, options: ConnectOptions) -> ConnectOptions {
        match &self.tls {
            Some(tls) => options.require_tls(true).tls_client_config(tls.as_ref().clone()),
            None => options,
        }
    }

    async fn dial(&self, seed: &Seed) -> Result<Connection<Now>, ConnectError> {
        let login = Some(Login::Nkey(seed));
        match &self.tls {
            Some(tls) => {
                let host = self.address.ip().to_string();
                let (server, tls) =
                    ((host.as_str(), self.address.port()), Tls::from(Arc::clone(tls)));
                Connection::connect_secured(server, &tls, NAME, login).await
            }
            None => Connection::connect(self.address, NAME, login).await,
        }
    }
}

/// The connection to the devices' server. The caller drives it: it subscribes again after each
/// reconnection.
#[derive(Debug)]
pub struct Devices {
    server: Server,
    seed: Seed,
    /// Up, or lost and not given up yet: messages that arrived before the loss are still in it.
    connection: Option<Connection<Now>>,
    /// The attempts to reconnect, while there is no connection.
    connecting: JoinSet<Connection<Now>>,
}

/// What a turn of the connection brought.
#[derive(Debug)]
pub(crate) enum Turned {
    /// Messages may be in the connection.
    Heard,
    /// The connection is lost. What it heard before is still in it.
    Lost(ConnectionError),
    /// There is a new connection, without subscriptions.
    Back,
}

impl Devices {
    /// Connects to the devices' server.
    ///
    /// # Errors
    /// The server does not answer yet, or refuses the key.
    pub async fn connect(server: Server, seed: Seed) -> Result<Self, ConnectError> {
        let connection = Some(server.dial(&seed).await?);
        Ok(Self { server, seed, connection, connecting: JoinSet::new() })
    }

    /// The connection, unless the site is reconnecting.
    pub(crate) const fn connection(&mut self) -> Option<&mut Connection<Now>> {
        self.connection.as_mut()
    }

    /// Waits for the server, or for a new connection to it. Cancel-safe. After
    /// [`Turned::Lost`], call [`lose`](Self::lose) before the next turn.
    pub(crate) async fn turn(&mut self, stamp: impl Fn() -> Now) -> Turned {
        if let Some(connection) = &mut self.connection {
            return connection.turn(stamp).await.map_or_else(Turned::Lost, |()| Turned::Heard);
        }
        match self.connecting.join_next().await {
            Some(Ok(connection)) => {
                info!("the message bus is back");
                self.connection = Some(connection);
                Turned::Back
            }
            // The task neither panics nor is aborted.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Passes the messages that have arrived to `take`, each with its stamp. Returns the reason if
    /// the connection turns out to be lost.
    pub(crate) fn hear(
        &mut self,
        mut take: impl FnMut(Message<'_>, Now),
    ) -> Option<ConnectionError> {
        let connection = self.connection.as_mut()?;
        loop {
            match connection.poll_heard() {
                Ok(Some((Heard::Message(message), at))) => take(message, at),
                // This is the only sign of a subject that the site may not use.
                Ok(Some((Heard::Refused(reason), _))) => {
                    warn!(reason, "the message bus refused an operation");
                }
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Gives up the connection and begins to reconnect.
    pub(crate) fn lose(&mut self, reason: &ConnectionError) {
        warn!(%reason, "the message bus is away");
        self.connection = None;
        let (server, seed) = (self.server.clone(), self.seed.clone());
        self.connecting.spawn(async move {
            loop {
                match server.dial(&seed).await {
                    Ok(connection) => return connection,
                    Err(error) => debug!(%error, "the message bus does not answer yet"),
                }
                sleep(RECONNECT_PAUSE).await;
            }
        });
    }
}

/// The stamp of what happens at this moment, by the clock of a service that started at `started`.
pub(crate) fn now(started: Instant) -> Now {
    Now { monotonic: poll::Instant::after_start(started.elapsed()), wall: clock::now() }
}
