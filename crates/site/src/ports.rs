//! Ports on loopback for programs that bind them themselves.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep},
};

/// Where free ports are looked for: below the range from which the kernel gives ports to outgoing
/// connections, so that none of those takes the port before the engine does.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up.
const TRIES_MAX: usize = 200;

/// Connections that the kernel holds until they are accepted: as many as Linux lets it, unless it
/// was told otherwise. Whoever finds no place there tries again after a second, and then ever less
/// often.
const BACKLOG: u32 = 4_096;
/// How long a port that was named may take to become free: the engines of a site that was killed a
/// moment ago are still being buried by the kernel.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A port on loopback that is ours until it is released to the program that is to bind it.
#[derive(Debug)]
pub(crate) struct Reserved {
    address: SocketAddr,
    listener: TcpListener,
}

impl Reserved {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener that holds the port.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// Reserves this port, which must become free soon; 0 finds one. `what` and `flag` are for the
/// error.
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
    // As the standard library does: connections of the site before may not be forgotten yet.
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    let listener = socket.listen(BACKLOG).ok()?;
    Some(Reserved { address, listener })
}

/// A port is taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "port {port} for {what} is in use: stop what uses it, or name another with {flag} (0 picks a free one)"
)]
pub(crate) struct PortInUse {
    what: &'static str,
    flag: &'static str,
    port: u16,
}
