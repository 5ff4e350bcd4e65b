//! Counts callers that are refused, so that each shows in the log and a flood of them does not fill
//! it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// Time over which refusals are counted together.
pub const REFUSALS_PERIOD: Duration = Duration::from_secs(60);
/// Refusals of one network in that time after which a client learns that there are too many.
const REFUSALS_MAX: u64 = 10;
/// Networks that are counted by themselves in that time; the rest have one count together.
const NETWORKS_MAX: usize = 1_024;
/// Networks that the log names each time; the rest are one number.
const NAMED_MAX: usize = 32;

/// The refusals of a period.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    networks: HashMap<IpAddr, u64>,
    others: u64,
}

/// Refusals of a period that the log should have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The network that was refused; `None` for all that are not named.
    pub network: Option<IpAddr>,
    /// How often.
    pub times: u64,
}

impl Failures {
    /// Counts a refusal. Returns whether the network has had too many.
    pub(crate) fn count(&mut self, address: IpAddr) -> bool {
        let network = network(address);
        let has_room = self.networks.len() < NETWORKS_MAX;
        let count = match self.networks.get_mut(&network) {
            Some(count) => count,
            None if has_room => self.networks.entry(network).or_default(),
            None => &mut self.others,
        };
        *count += 1;
        *count > REFUSALS_MAX
    }

    /// Ends the period, and returns its refusals, those of the busiest networks first.
    pub(crate) fn take(&mut self) -> Vec<Refused> {
        let Self { networks, others } = std::mem::take(self);
        let mut networks: Vec<_> = networks.into_iter().collect();
        networks.sort_unstable_by_key(|(network, times)| (std::cmp::Reverse(*times), *network));
        let rest = networks.split_off(networks.len().min(NAMED_MAX));
        let others = others + rest.iter().map(|(_, times)| times).sum::<u64>();
        let named = networks.into_iter().map(|(network, times)| (Some(network), times));
        let all = named.chain((others > 0).then_some((None, others)));
        all.map(|(network, times)| Refused { network, times }).collect()
    }
}

/// An IPv6 client has a whole network of addresses of its own.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_few_numbers() {
        let mut failures = Failures::default();
        let one = IpAddr::from([10, 0, 0, 1]);
        let too_many: Vec<_> = (0..=REFUSALS_MAX).map(|_| failures.count(one)).collect();
        assert_eq!(too_many.iter().position(|too_many| *too_many), Some(10));
        assert_eq!(failures.take(), [Refused { network: Some(one), times: 11 }]);
        assert_eq!(failures.take(), []);
        assert!(!failures.count(one), "a new period begins");
        // An attacker with a network of addresses is one.
        for host in 0..100_000_u128 {
            failures.count(Ipv6Addr::from_bits(0xfd00 << 112 | host).into());
        }
        for host in 0..100_000_u32 {
            failures.count(std::net::Ipv4Addr::from_bits(0x0b00_0000 | host).into());
        }
        assert!(failures.networks.len() <= NETWORKS_MAX);
        let taken = failures.take();
        assert_eq!(taken.len(), NAMED_MAX + 1);
        assert_eq!(taken.iter().map(|refused| refused.times).sum::<u64>(), 200_001);
        assert_eq!(taken[0], Refused { network: Some("fd00::".parse().unwrap()), times: 100_000 });
        assert_eq!(taken.last().unwrap().network, None);
    }
}
