//! Waits until the message bus and the page answer.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use engine::{Credentials, Engine, Log};
use services::bus;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::info;

/// Time that `nats-server` has to answer. It reads JetStream's files first.
const NATS_READY_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for one attempt. It is longer than the gateway waits for the site.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// Pause between two attempts.
const READY_PAUSE: Duration = Duration::from_millis(25);

/// Address of the page, and the number of hosts that are ready to serve it.
pub(crate) struct Page {
    pub(crate) address: SocketAddr,
    pub(crate) hosts_ready: watch::Receiver<usize>,
    /// Output of the host, for the error if the page does not answer.
    pub(crate) host_log: Log,
}

/// Connects to the server as soon as it answers.
pub(crate) async fn connect(
    server: &mut Engine,
    address: SocketAddr,
    credentials: &Credentials,
    dropped: Arc<AtomicU64>,
) -> Result<bus::Connection, BusError> {
    let deadline = Instant::now() + NATS_READY_TIMEOUT;
    loop {
        let error = match bus::connect(address, credentials, Arc::clone(&dropped)).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if let Some(end) = server.ended().await {
            return Err(BusError::Ended { end });
        }
        if Instant::now() > deadline {
            return Err(BusError::Refused { ending: server.log().ending(), source: error });
        }
        sleep(READY_PAUSE).await;
    }
}

/// Why the message bus does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The server ended.
    #[error("{end}")]
    Ended {
        /// How it ended, and its last output.
        end: String,
    },
    /// The server refuses the site's credentials.
    #[error("nats-server refuses the site's connection; {ending}")]
    Refused {
        /// The server's last output.
        ending: String,
        /// Error of the NATS client.
        source: async_nats::ConnectError,
    },
}

/// The page does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the page does not answer; about wash host: {ending}")]
pub(crate) struct PageSilent {
    /// The host's last output.
    pub(crate) ending: String,
}

/// Waits until the gateway answers with data from the site.
pub(crate) async fn page_answers(mut page: Page) {
    // The sender lives as long as the reconciler. When that ends, the site stops.
    let _alive = page.hosts_ready.wait_for(|hosts| *hosts > 0).await.is_ok();
    while !matches!(timeout(ANSWER_TIMEOUT, asks_the_gateway(page.address)).await, Ok(Ok(true))) {
        sleep(READY_PAUSE).await;
    }
    info!(page = %page.address, "the page answers");
}

async fn asks_the_gateway(page: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, page.port())).await?;
    stream
        .write_all(
            format!("GET /api/site HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}
