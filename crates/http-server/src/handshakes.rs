//! The TLS handshakes of a port that are under way.
//!
//! A handshake costs a client nothing if it only opens a connection, so it has no claim to a place.
//! When there are too many, the oldest one of the network that has the most gives way: a flood from
//! one network pushes out its own.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Most handshakes of a port at once, and connections that have made theirs and wait for a place.
/// At 600 connections a second from one network, each has a tenth of a second.
pub(crate) const HANDSHAKES_MAX: usize = 60;
/// Time for a handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// All handshakes of a port.
#[derive(Clone, Default)]
pub(crate) struct Handshakes(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    next: u64,
    open: Vec<Entry>,
}

struct Entry {
    number: u64,
    network: IpAddr,
    give_way: CancellationToken,
}

/// One handshake. It ends when it is dropped.
pub(crate) struct Handshake {
    all: Handshakes,
    number: u64,
    give_way: CancellationToken,
}

impl Handshakes {
    /// Begins a handshake with a client. Another may have to give way.
    pub(crate) fn begin(&self, client: IpAddr) -> Handshake {
        let give_way = CancellationToken::new();
        let mut all = self.all();
        let number = all.next;
        all.next += 1;
        all.open.push(Entry { number, network: network(client), give_way: give_way.clone() });
        if all.open.len() > HANDSHAKES_MAX {
            let of = |network: IpAddr| all.open.iter().filter(|it| it.network == network).count();
            let most = (0..all.open.len())
                .zip(&all.open)
                .max_by_key(|(place, entry)| (of(entry.network), Reverse(*place)));
            if let Some((place, _)) = most {
                all.open.remove(place).give_way.cancel();
            }
        }
        Handshake { all: self.clone(), number, give_way }
    }

    fn all(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Does what the handshake takes; `None` if it takes too long or must give way.
    pub(crate) async fn step<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        self.give_way.run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, step)).await?.ok()
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.all().open.retain(|entry| entry.number != self.number);
    }
}

/// An IPv6 client has a whole network of addresses of its own.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_pushes_out_its_own() {
        let handshakes = Handshakes::default();
        let flood = |host: u32| Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(host)).into();
        let few: Vec<_> =
            (1..=3).map(|host| handshakes.begin(IpAddr::from([10, 0, 0, host]))).collect();
        let many: Vec<_> = (0..1_000).map(|host| handshakes.begin(flood(host))).collect();
        assert!(few.iter().all(|handshake| !handshake.give_way.is_cancelled()));
        let left = many.iter().filter(|handshake| !handshake.give_way.is_cancelled()).count();
        assert_eq!(left, HANDSHAKES_MAX - few.len());
        assert!(!many.last().unwrap().give_way.is_cancelled(), "the newest has its time");
        drop(many);
        let handshakes_left = handshakes.all().open.len();
        assert_eq!(handshakes_left, few.len());
        // Mapped addresses are those of the network that they stand for.
        let mapped = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(network(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into()), mapped);
    }
}
