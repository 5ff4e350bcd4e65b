//! Ports on loopback for programs that bind them themselves.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::UpError;

/// Where free ports are looked for: below the range from which the kernel gives ports to outgoing connections, so that none of those takes the port
/// before the engine does.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up.
const TRIES_MAX: usize = 200;

/// The address on loopback with this port, which must be free; 0 finds one. `what` and `flag` are for the error.
pub(crate) fn reserve(
    what: &'static str,
    flag: &'static str,
    port: u16,
) -> Result<SocketAddr, UpError> {
    let mut candidates = if port == 0 {
        let random = std::iter::repeat_with(|| rand::random_range(FREE_PORTS));
        random.take(TRIES_MAX).collect()
    } else {
        vec![port]
    };
    candidates.dedup();
    for port in candidates {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(UpError::PortInUse { what, flag, port })
}
