//! Where the server is, and how long to wait before going back to it.

use core::{str::FromStr, time::Duration};

use nats::{ConnectError, Connection, Login};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use crate::sensor::mix;

/// Port of a NATS server whose URL names none.
const DEFAULT_PORT: u16 = 4222;

/// Wait before the first reconnection attempt. It doubles with each attempt.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts. It is well below the time after which a sensor without
/// heartbeats is lost.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);

/// A NATS server, and who the sensors are there.
#[derive(Clone)]
pub(crate) struct Server {
    host: String,
    port: u16,
    login: Option<(String, String)>,
}

/// The text is not the URL of a NATS server. The message leaves it out, because it may contain a
/// password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server's URL is not understood: use one like nats://127.0.0.1:4222")]
pub struct InvalidUrl;

impl FromStr for Server {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let rest = url.strip_prefix("nats://").unwrap_or(url);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => {
                let (user, password) = login.split_once(':').ok_or(InvalidUrl)?;
                (Some((user.to_owned(), password.to_owned())), address)
            }
            None => (None, rest),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        // An IPv6 address has colons of its own, and so stands in brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                (host, port.parse().map_err(|_not_a_port| InvalidUrl)?)
            }
            _ => (address, DEFAULT_PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '[', ']', ' ']) {
            return Err(InvalidUrl);
        }
        Ok(Self { host: host.to_owned(), port, login })
    }
}

impl core::fmt::Display for Server {
    /// Omits the login.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Server {
    /// Connects once. Cancel-safe.
    pub(crate) async fn connect(&self, index: u32) -> Result<Connection, ConnectError> {
        let login = self.login.as_ref().map(|(user, password)| Login { user, password });
        let name = format!("simulator-{index}");
        Connection::connect((self.host.as_str(), self.port), &name, login).await
    }
}

/// Wait before an attempt to reconnect, random between half and all of a time that doubles. So a
/// fleet that lost its server does not return all at once.
pub(crate) fn reconnect_delay(seed: u64, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let longest = RECONNECT_DELAY_MIN.saturating_mul(1 << doublings).min(RECONNECT_DELAY_MAX);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(mix(seed, doublings));
    rng.random_range(longest / 2..=longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_who_comes() {
        for (url, address, login) in [
            ("nats://127.0.0.1:4222", "127.0.0.1:4222", None),
            ("127.0.0.1:1", "127.0.0.1:1", None),
            ("nats://plant.example/", "plant.example:4222", None),
            ("nats://[::1]:4223", "::1:4223", None),
            ("nats://[::1]", "::1:4222", None),
            ("nats://a:b@c:d@host:9", "host:9", Some(("a", "b@c:d"))),
        ] {
            let server: Server = url.parse().ok().unwrap();
            let found = server.login.as_ref().map(|(user, word)| (user.as_str(), word.as_str()));
            assert_eq!((server.to_string().as_str(), found), (address, login), "{url}");
        }
        for url in ["", "nats://", "http://host", "host:port", "user@host", "nats://a b:1"] {
            assert!(url.parse::<Server>().is_err(), "{url}");
        }
    }

    #[test]
    fn reconnecting_backs_off_and_is_spread() {
        for (attempts, longest_ms) in
            [(0, 100), (1, 100), (2, 200), (6, 3_200), (7, 5_000), (u32::MAX, 5_000)]
        {
            let longest = Duration::from_millis(longest_ms);
            let delays: Vec<Duration> =
                (0..100).map(|seed| reconnect_delay(seed, attempts)).collect();
            assert!(delays.iter().all(|delay| (longest / 2..=longest).contains(delay)));
            let spread = *delays.iter().max().unwrap() - *delays.iter().min().unwrap();
            assert!(spread > longest / 4, "attempt {attempts}: {spread:?}");
        }
    }
}
