//! A connection to a server, in the protocol that its sensors speak, and how long to wait before
//! going back to it.

use core::time::Duration;

use model::{Protocol, Subject, subject::topic_of};
use nats::{Tls, nkey::Seed};
use rand::RngExt as _;
use tracing::warn;

use crate::{
    draw::{Purpose, draw},
    mqtt::{self, Login, Will},
};

/// Wait before the first reconnection attempt. It doubles with each attempt.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts. It is well below the time after which a sensor without
/// heartbeats is lost.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);

/// A server, and who the sensors are there.
#[derive(Clone)]
pub(crate) struct Server {
    protocol: Protocol,
    host: String,
    port: u16,
    login: Option<Login>,
    /// What a NATS server is shown instead of a login.
    seed: Option<Seed>,
    /// `None` for connections in the clear.
    tls: Option<Tls>,
}

/// The text is not the URL of a server. The message leaves it out, because it may contain a
/// password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server's URL is not understood: use one like {scheme}127.0.0.1:{port}")]
pub struct InvalidUrl {
    scheme: &'static str,
    port: u16,
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) enum Connection {
    Nats(nats::Connection),
    Mqtt(mqtt::Connection),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// To the NATS server.
    #[error(transparent)]
    Nats(#[from] nats::ConnectError),
    /// To the MQTT server.
    #[error(transparent)]
    Mqtt(#[from] mqtt::ConnectError),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Nats(#[from] nats::ConnectionError),
    #[error(transparent)]
    Mqtt(#[from] mqtt::Lost),
}

/// Which poll has arrived.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Polled {
    /// By the number under which its subject was subscribed to.
    Number(u64),
    /// By its topic.
    Topic(String),
}

impl Server {
    /// Reads the URL of a server that speaks this protocol.
    pub(crate) fn parse(
        url: &str,
        protocol: Protocol,
        tls: Option<Tls>,
    ) -> Result<Self, InvalidUrl> {
        let (scheme, secured, default_port) = match protocol {
            Protocol::Nats => ("nats://", "tls://", 4222),
            Protocol::Mqtt => ("mqtt://", "mqtts://", 1883),
        };
        let invalid = InvalidUrl { scheme, port: default_port };
        // Whether it is TLS is said apart, with the authority.
        let rest = [scheme, secured].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.unwrap_or(url);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => {
                let (user, password) = login.split_once(':').ok_or(invalid)?;
                let (user, password) = (user.to_owned(), password.to_owned());
                (Some(Login { user, password }), address)
            }
            None => (None, rest),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        // An IPv6 address has colons of its own, and so stands in brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                (host, port.parse().map_err(|_not_a_port| invalid)?)
            }
            _ => (address, default_port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '[', ']', ' ']) {
            return Err(invalid);
        }
        Ok(Self { protocol, host: host.to_owned(), port, login, seed: None, tls })
    }

    /// The same server with this login.
    pub(crate) fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The same server, for a client with this key.
    pub(crate) fn with_seed(self, seed: Seed) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Connects once, under a name that no other client of the server has. Cancel-safe.
    pub(crate) async fn connect(
        &self,
        name: &str,
        will: Option<&Will>,
    ) -> Result<Connection, ConnectError> {
        let address = (self.host.as_str(), self.port);
        match self.protocol {
            Protocol::Nats => {
                let login = self.login.as_ref();
                let login =
                    login.map(|Login { user, password }| nats::Login::Password { user, password });
                let login = self.seed.as_ref().map(nats::Login::Nkey).or(login);
                let connection = match &self.tls {
                    Some(tls) => {
                        nats::Connection::connect_secured(address, tls, name, login).await?
                    }
                    None => nats::Connection::connect(address, name, login).await?,
                };
                Ok(Connection::Nats(connection))
            }
            Protocol::Mqtt => {
                let (login, tls) = (self.login.as_ref(), self.tls.as_ref());
                let connecting = mqtt::Connection::connect((address, tls), name, login, will);
                Ok(Connection::Mqtt(connecting.await?))
            }
        }
    }
}

impl core::fmt::Display for Server {
    /// Omits the login.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Connection {
    /// Subscribes to subjects. Each has its place as its number.
    pub(crate) fn subscribe<'a>(
        &mut self,
        subjects: impl Iterator<Item = &'a Subject>,
    ) -> Result<(), Lost> {
        match self {
            Self::Nats(connection) => {
                for (number, subject) in (0..).zip(subjects) {
                    connection.subscribe(subject, number);
                }
                Ok(())
            }
            Self::Mqtt(connection) => Ok(connection.subscribe(subjects.map(topic))?),
        }
    }

    /// Adds a message to those that the next turn sends. Returns whether there was room.
    #[must_use]
    pub(crate) fn publish(&mut self, subject: &Subject, payload: &[u8]) -> bool {
        match self {
            Self::Nats(connection) => connection.publish(subject, None, payload),
            Self::Mqtt(connection) => connection.publish(topic(subject), payload),
        }
    }

    /// Sends what there is to send, and waits until the server has sent something. Cancel-safe.
    pub(crate) async fn turn(&mut self) -> Result<(), Lost> {
        match self {
            Self::Nats(connection) => Ok(connection.turn(|| ()).await?),
            Self::Mqtt(connection) => Ok(connection.turn().await?),
        }
    }

    /// Sends as much as the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), Lost> {
        match self {
            Self::Nats(connection) => Ok(connection.flush()?),
            Self::Mqtt(connection) => Ok(connection.flush().map_err(mqtt::Lost::from)?),
        }
    }

    /// The next poll that has arrived; `None` when another turn is needed.
    pub(crate) fn polled(&mut self) -> Result<Option<Polled>, Lost> {
        match self {
            Self::Nats(connection) => loop {
                match connection.poll_heard()? {
                    Some((nats::Heard::Message(message), ())) => {
                        return Ok(Some(Polled::Number(message.subscription)));
                    }
                    // A forbidden subject is reported only here.
                    Some((nats::Heard::Refused(reason), ())) => {
                        warn!(reason, "refused by the server");
                    }
                    None => return Ok(None),
                }
            },
            Self::Mqtt(connection) => Ok(connection.poll_heard()?.map(Polled::Topic)),
        }
    }
}

fn topic(subject: &Subject) -> String {
    topic_of(subject.as_str())
}

/// Wait before an attempt to reconnect, random between half and all of a time that doubles. So a
/// fleet that lost its server does not return all at once.
pub(crate) fn reconnect_delay(seed: u64, connection: u32, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let longest = RECONNECT_DELAY_MIN.saturating_mul(1 << doublings).min(RECONNECT_DELAY_MAX);
    let of = [u64::from(connection), u64::from(attempts), 0];
    draw(seed, Purpose::Reconnect, of).random_range(longest / 2..=longest)
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
            let server = Server::parse(url, Protocol::Nats, None).ok().unwrap();
            let found = server.login.as_ref().map(|it| (it.user.as_str(), it.password.as_str()));
            assert_eq!((server.to_string().as_str(), found), (address, login), "{url}");
        }
        for url in ["", "nats://", "http://host", "host:port", "user@host", "nats://a b:1"] {
            assert!(Server::parse(url, Protocol::Nats, None).is_err(), "{url}");
        }
        let server = Server::parse("mqtt://plant.example", Protocol::Mqtt, None).ok().unwrap();
        assert_eq!(server.to_string(), "plant.example:1883");
        let error = Server::parse("nats://x", Protocol::Mqtt, None).err().unwrap();
        assert!(error.to_string().ends_with("use one like mqtt://127.0.0.1:1883"), "{error}");
    }

    #[test]
    fn reconnecting_backs_off_and_is_spread() {
        for (attempts, longest_ms) in
            [(0, 100), (1, 100), (2, 200), (6, 3_200), (7, 5_000), (u32::MAX, 5_000)]
        {
            let longest = Duration::from_millis(longest_ms);
            let delays: Vec<Duration> =
                (0..100).map(|connection| reconnect_delay(7, connection, attempts)).collect();
            assert!(delays.iter().all(|delay| (longest / 2..=longest).contains(delay)));
            let spread = *delays.iter().max().unwrap() - *delays.iter().min().unwrap();
            assert!(spread > longest / 4, "attempt {attempts}: {spread:?}");
        }
    }
}
