//! Reserves loopback ports for programs that bind them themselves.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep},
};

/// Range of free ports. It lies below the range from which the kernel assigns ports to outgoing
/// connections, so none of those can take the port before the engine binds it.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports to try before giving up.
const TRIES_MAX: usize = 200;

/// Connections that the kernel queues until they are accepted: the default limit of Linux. A client
/// that finds the queue full retries after one second, and then at growing intervals.
const BACKLOG: u32 = 4_096;
/// Time that a named port has to become free. The kernel may still be cleaning up the engines of a
/// site that was killed a moment ago.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A loopback port that this process holds until the program that is to bind it takes over.
#[derive(Debug)]
pub(crate) struct Reserved {
    address: SocketAddr,
    listener: TcpListener,
}

impl Reserved {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the listener that holds the port.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// Reserves this port, which must become free soon; 0 finds a free one. `what` and `flag` appear in
/// the error.
pub(crate) async fn reserve(
    what: &'static str,
    flag: &'static str,
    port: u16,
) -> Result<Reserved, PortInUse> {
    let in_use = PortInUse { what, flag, port };
    if port == 0 {
        let mut candidates =
            std::iter::repeat_with(|| rand::random_range(FREE_PORTS)).take(TRIES_MAX);
        return candidates.find_map(bind).ok_or(in_use);
    }
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        match bind(port) {
            Some(reserved) => return Ok(reserved),
            None if Instant::now() > deadline => return Err(in_use),
            None => sleep(LOOK_AGAIN_AFTER).await,
        }
    }
}

fn bind(port: u16) -> Option<Reserved> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = TcpSocket::new_v4().ok()?;
    // The standard library sets this too. The kernel may still remember connections of the previous
    // site.
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    let listener = socket.listen(BACKLOG).ok()?;
    Some(Reserved { address, listener })
}

/// Another program uses the port.
#[derive(Debug, thiserror::Error)]
#[error(
    "port {port} for {what} is in use: stop the program that uses it, or choose another port with {flag} (0 picks a free one)"
)]
pub(crate) struct PortInUse {
    what: &'static str,
    flag: &'static str,
    port: u16,
}
