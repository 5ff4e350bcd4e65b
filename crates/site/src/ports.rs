//! Reserves ports for programs that bind them themselves.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep},
};

/// Any free port of loopback.
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

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

/// A port that this process holds until the program that is to bind it takes over.
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

/// Whether other machines reach this address.
pub(crate) fn is_open(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Reserves this port, which must become free soon; port 0 finds a free one. `what` and `flag`
/// appear in the error.
pub(crate) async fn reserve(
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<Reserved, PortError> {
    let in_use = PortError::InUse { what, flag, port: address.port() };
    let failed = |source| PortError::Address { what, address, source };
    if address.port() == 0 {
        for _ in 0..TRIES_MAX {
            let port = rand::random_range(FREE_PORTS);
            if let Some(reserved) = bind(SocketAddr::new(address.ip(), port)).map_err(failed)? {
                return Ok(reserved);
            }
        }
        return Err(in_use);
    }
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        match bind(address).map_err(failed)? {
            Some(reserved) => return Ok(reserved),
            None if Instant::now() > deadline => return Err(in_use),
            None => sleep(LOOK_AGAIN_AFTER).await,
        }
    }
}

/// Binds the port; `None` if another program uses it.
fn bind(address: SocketAddr) -> io::Result<Option<Reserved>> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The standard library sets this too. The kernel may still remember connections of the previous
    // site.
    socket.set_reuseaddr(true)?;
    let bound = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    match bound {
        Ok(listener) => Ok(Some(Reserved { address, listener })),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// A port cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// Another program uses the port.
    #[error(
        "port {port} for {what} is in use: stop the program that uses it, or choose another port with {flag} (0 picks a free one)"
    )]
    InUse { what: &'static str, flag: &'static str, port: u16 },
    /// The machine has no such address, or the port needs rights that this account has not.
    #[error("{what} cannot listen on {address}")]
    Address { what: &'static str, address: SocketAddr, source: io::Error },
}
