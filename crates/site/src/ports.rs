//! Ports on loopback for programs that bind them themselves.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::UpError;

/// Where free ports are looked for: below the range from which the kernel gives ports to outgoing connections, so that none of those takes the port
/// before the engine does.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up.
const TRIES_MAX: usize = 200;

/// How long a port that was named may take to become free: the engines of a site that was killed a moment ago are still being buried by the kernel.
const FREE_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The address on loopback with this port, which must be free; 0 finds one. `what` and `flag` are for the error.
pub(crate) async fn reserve(
    what: &'static str,
    flag: &'static str,
    port: u16,
) -> Result<SocketAddr, UpError> {
    let in_use = UpError::PortInUse { what, flag, port };
    if port == 0 {
        let mut candidates =
            std::iter::repeat_with(|| rand::random_range(FREE_PORTS)).take(TRIES_MAX);
        return candidates.find_map(free).ok_or(in_use);
    }
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        match free(port) {
            Some(address) => return Ok(address),
            None if Instant::now() > deadline => return Err(in_use),
            None => sleep(LOOK_AGAIN_AFTER).await,
        }
    }
}

fn free(port: u16) -> Option<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).is_ok().then_some(address)
}
