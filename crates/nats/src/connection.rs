//! The IO shell: moves bytes between the protocol and a socket.
//!
//! Invariants:
//! - `taken <= inbox.len()` and `sent <= outbox.len()`;
//! - each message carries the stamp of the read that completed it, however late it is looked at.

use std::{collections::VecDeque, io, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio::{
    io::Interest,
    net::{TcpStream, ToSocketAddrs},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    nkey::Seed,
    protocol::{self, Operation, ProtocolError, Topic},
    wire::{Tls, Wire},
};

/// Bytes of one read: some 600 answers. A turn reads until nothing is left.
const READ_BYTES: usize = 64 << 10;
/// Bytes that wait until they are looked at. When there are more, no more is read, and they wait at
/// the server.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Bytes that wait until the server takes them, beyond which [`Connection::publish`] refuses
/// messages: polls of a full fleet for a few seconds.
const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// A buffer that grew beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Silence of the server after which it is asked for a sign of life, and further silence after
/// which the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Time for the server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How the client says who it is.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    /// By a user name and a password.
    Password {
        /// Name of the user.
        user: &'a str,
        /// The user's password.
        password: &'a str,
    },
    /// By a key, with which it signs a nonce of the server.
    Nkey(&'a Seed),
}

impl std::fmt::Debug for Login<'_> {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { user, .. } => {
                formatter.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Nkey(seed) => formatter.debug_tuple("Nkey").field(seed).finish(),
        }
    }
}

/// A connection. `S` is a stamp that each read gets and that its messages carry, such as the time.
#[derive(Debug)]
pub struct Connection<S = ()> {
    wire: Wire,
    inbox: Vec<u8>,
    /// Bytes of `inbox` that were looked at.
    taken: usize,
    /// Stamps of the reads in `inbox`, each with the place at which its bytes end.
    stamps: VecDeque<(usize, S)>,
    /// Whether `inbox` has no whole operation left.
    is_read: bool,
    outbox: Vec<u8>,
    /// Bytes of `outbox` that the socket took.
    sent: usize,
    /// When the silence is too long, and whether the server was already asked about it.
    silent_at: Instant,
    is_asked: bool,
}

/// What the server passes on to the client.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A message for a subscription.
    Message(Message<'a>),
    /// The server refuses something, such as a subject that the user may not use.
    Refused(&'a str),
}

/// A message, where it lies in the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The client's number of the subscription.
    pub subscription: u64,
    /// Subject of the message.
    pub subject: &'a str,
    /// Headers, beginning with `NATS/1.0`; empty if the message has none.
    pub headers: &'a [u8],
    /// The message itself.
    pub payload: &'a [u8],
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server does not answer.
    #[error("the NATS server does not answer")]
    Io(#[from] io::Error),
    /// The server answers otherwise than a NATS server.
    #[error("this is not a NATS server as we know it")]
    Protocol(#[from] ProtocolError),
    /// The connection broke at once.
    #[error("the NATS server does not let the client in")]
    Connection(#[from] ConnectionError),
    /// The server accepts encrypted connections only.
    #[error("the NATS server wants TLS: name its authority")]
    Tls,
    /// The client wants an encrypted connection, and the server has none.
    #[error("the NATS server offers no TLS")]
    NoTls,
    /// The server's name cannot be that of a certificate.
    #[error("`{0}` is neither a host name nor an address")]
    Name(String),
    /// The server does not let the client in.
    #[error("the NATS server refuses: {reason}")]
    Refused {
        /// The server's words.
        reason: String,
    },
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The server closed the connection, or the socket failed.
    #[error("the connection to the NATS server is lost")]
    Io(#[from] io::Error),
    /// The server's bytes are not understood.
    #[error("the connection to the NATS server is of no use")]
    Protocol(#[from] ProtocolError),
    /// The server says nothing, not even when asked.
    #[error("the NATS server has been silent for {} s", 2 * SILENCE_MAX.as_secs())]
    Silent,
}

impl<S: Copy> Connection<S> {
    /// Connects, and waits until the server has accepted the client. `name` is what the server's
    /// monitoring shows.
    ///
    /// # Errors
    /// The server does not answer in time, or refuses the client.
    pub async fn connect(
        server: impl ToSocketAddrs,
        name: &str,
        login: Option<Login<'_>>,
    ) -> Result<Self, ConnectError> {
        Self::connect_to(server, name, login, None).await
    }

    /// The same with TLS, and with nothing else: to a server that has a certificate of this name.
    ///
    /// # Errors
    /// The server does not answer in time, has no TLS or another certificate, or refuses the
    /// client.
    pub async fn connect_secured(
        server: (&str, u16),
        tls: &Tls,
        name: &str,
        login: Option<Login<'_>>,
    ) -> Result<Self, ConnectError> {
        Self::connect_to(server, name, login, Some((tls, server.0))).await
    }

    async fn connect_to(
        server: impl ToSocketAddrs,
        name: &str,
        login: Option<Login<'_>>,
        tls: Option<(&Tls, &str)>,
    ) -> Result<Self, ConnectError> {
        let connecting = async {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            let mut connection = Self::over(Wire::plain(stream));
            connection.introduce(name, login, tls).await?;
            Ok(connection)
        };
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_elapsed| Err(ConnectError::Io(io::ErrorKind::TimedOut.into())))
    }

    fn over(wire: Wire) -> Self {
        Self {
            wire,
            inbox: Vec::new(),
            taken: 0,
            stamps: VecDeque::new(),
            is_read: true,
            outbox: Vec::new(),
            sent: 0,
            silent_at: Instant::now() + SILENCE_MAX,
            is_asked: false,
        }
    }

    async fn introduce(
        &mut self,
        name: &str,
        login: Option<Login<'_>>,
        tls: Option<(&Tls, &str)>,
    ) -> Result<(), ConnectError> {
        let mut is_introduced = false;
        loop {
            while let Some((operation, len)) = protocol::parse(self.unread())? {
                let text = |place| {
                    let bytes = self.unread().get(place).unwrap_or_default();
                    String::from_utf8_lossy(bytes).trim().to_owned()
                };
                match operation {
                    Operation::Info(info) if !is_introduced => {
                        let info: Value = serde_json::from_str(&text(info)).unwrap_or_default();
                        let has = |field| info.get(field) == Some(&Value::Bool(true));
                        match tls {
                            None if has("tls_required") => return Err(ConnectError::Tls),
                            None => {}
                            // Nothing is said in the clear, the password least of all.
                            Some(_) if !has("tls_required") && !has("tls_available") => {
                                return Err(ConnectError::NoTls);
                            }
                            Some((tls, server)) => self
                                .wire
                                .secure(tls, server)
                                .map_err(|_invalid| ConnectError::Name(server.to_owned()))?,
                        }
                        let introduction = introduction(name, login, &info);
                        protocol::line(&mut self.outbox, format_args!("CONNECT {introduction}"));
                        self.outbox.extend_from_slice(protocol::PING);
                        is_introduced = true;
                    }
                    Operation::Error(reason) => {
                        return Err(ConnectError::Refused { reason: text(reason) });
                    }
                    Operation::Pong => {
                        self.taken += len;
                        return Ok(());
                    }
                    _ => {}
                }
                self.taken += len;
            }
            self.flush()?;
            let wanted = if self.outbox.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            self.wire.ready(wanted).await?;
            self.read()?;
        }
    }

    /// Adds a subscription under a number of the caller's choice.
    pub fn subscribe<'a>(&mut self, topic: impl Into<Topic<'a>>, subscription: u64) {
        protocol::subscribe(&mut self.outbox, topic.into(), subscription);
    }

    /// Ends a subscription. Messages that the server has already sent still arrive.
    pub fn unsubscribe(&mut self, subscription: u64) {
        protocol::unsubscribe(&mut self.outbox, subscription);
    }

    /// Adds a message to those that the next [`turn`](Self::turn) sends. Returns whether there was
    /// room: if the server takes nothing, messages must not pile up here.
    #[must_use]
    pub fn publish<'a>(
        &mut self,
        topic: impl Into<Topic<'a>>,
        reply: Option<Topic<'a>>,
        payload: &[u8],
    ) -> bool {
        let has_room = self.outbox.len() < OUTBOX_BYTES_MAX;
        if has_room {
            protocol::publish(&mut self.outbox, topic.into(), reply, payload);
        }
        has_room
    }

    /// Sends what there is to send, and waits until the server has sent something.
    /// [`poll_heard`](Self::poll_heard) then has the messages, with the stamp that `stamp` returns
    /// now. Cancel-safe.
    ///
    /// If the caller does not take messages, it reads a few megabytes ahead and then waits for
    /// ever.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn turn(&mut self, stamp: impl Fn() -> S) -> Result<(), ConnectionError> {
        loop {
            self.flush()?;
            let has_room = self.is_read || self.inbox.len() - self.taken < INBOX_BYTES_MAX;
            let is_sent = self.outbox.is_empty() && !self.wire.wants_write();
            let wanted = match (has_room, is_sent) {
                (true, true) => Interest::READABLE,
                (true, false) => Interest::READABLE | Interest::WRITABLE,
                (false, false) => Interest::WRITABLE,
                (false, true) => std::future::pending().await,
            };
            let ready = tokio::select! {
                ready = self.wire.ready(wanted) => ready?,
                () = sleep_until(self.silent_at), if has_room => {
                    if self.is_asked {
                        return Err(ConnectionError::Silent);
                    }
                    self.outbox.extend_from_slice(protocol::PING);
                    self.is_asked = true;
                    self.silent_at = Instant::now() + SILENCE_MAX;
                    continue;
                }
            };
            if has_room && (ready.is_readable() || ready.is_read_closed()) && self.read()? {
                // All that has arrived: if the caller takes a while from turn to turn, the server
                // may have more for it than one read, and cuts who falls behind. If this fails, the
                // next turn tells.
                while self.inbox.len() - self.taken < INBOX_BYTES_MAX
                    && matches!(self.read(), Ok(true))
                {}
                self.silent_at = Instant::now() + SILENCE_MAX;
                self.is_asked = false;
                self.is_read = false;
                self.stamps.push_back((self.inbox.len(), stamp()));
                return Ok(());
            }
        }
    }

    /// What the server has sent, one after the other; `None` when another [`turn`](Self::turn) is
    /// needed.
    ///
    /// # Errors
    /// The server's bytes are not understood.
    pub fn poll_heard(&mut self) -> Result<Option<(Heard<'_>, S)>, ConnectionError> {
        let (operation, at) = loop {
            let Some((operation, len)) = protocol::parse(self.unread())? else {
                self.is_read = true;
                return Ok(None);
            };
            let at = self.taken;
            self.taken += len;
            match operation {
                Operation::Ping => self.outbox.extend_from_slice(protocol::PONG),
                Operation::Info(_) | Operation::Pong | Operation::Ok => {}
                Operation::Message { .. } | Operation::Error(_) => break (operation, at),
            }
        };
        while self.stamps.front().is_some_and(|(end, _)| *end < self.taken) {
            self.stamps.pop_front();
        }
        // Each whole operation ends in a read that has a stamp.
        let Some((_, stamp)) = self.stamps.front().copied() else { return Ok(None) };
        let bytes = self.inbox.get(at..).unwrap_or_default();
        let part = |place| bytes.get(place).unwrap_or_default();
        let text = |place| std::str::from_utf8(part(place)).unwrap_or_default();
        let heard = match operation {
            Operation::Message { subscription, subject, headers, payload } => {
                Heard::Message(Message {
                    subscription,
                    subject: text(subject),
                    headers: part(headers),
                    payload: part(payload),
                })
            }
            Operation::Error(reason) => Heard::Refused(text(reason).trim()),
            Operation::Info(_) | Operation::Ping | Operation::Pong | Operation::Ok => {
                return Ok(None);
            }
        };
        Ok(Some((heard, stamp)))
    }

    fn unread(&self) -> &[u8] {
        self.inbox.get(self.taken..).unwrap_or_default()
    }

    /// Reads what has arrived. Returns whether anything had.
    fn read(&mut self) -> io::Result<bool> {
        // The bytes that are left move to the front: part of a message, if the caller has looked at
        // all others.
        if self.taken > 0 && (self.taken == self.inbox.len() || self.is_read) {
            self.inbox.drain(..self.taken);
            for (end, _) in &mut self.stamps {
                *end = end.saturating_sub(self.taken);
            }
            self.taken = 0;
            if self.inbox.is_empty() {
                self.stamps.clear();
                give_back(&mut self.inbox);
            }
        }
        // Exact, so that the buffer has a limit: a read fills all of it.
        self.inbox.reserve_exact(READ_BYTES);
        match self.wire.try_read(&mut self.inbox) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends as much as the socket takes now. The next [`turn`](Self::turn) sends the rest.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), ConnectionError> {
        match self.wire.push() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            _ => {}
        }
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.wire.try_write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            give_back(&mut self.outbox);
        } else {
            self.outbox.drain(..self.sent);
        }
        self.sent = 0;
        Ok(())
    }
}

fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

/// What the client says of itself to a server that described itself by `info`. With headers it
/// learns which messages came by MQTT. It does not want the server's notice that nobody listens,
/// which would look like an answer, nor its own messages back.
fn introduction(name: &str, login: Option<Login<'_>>, info: &Value) -> Value {
    let nonce = || info.get("nonce").and_then(Value::as_str).unwrap_or_default().as_bytes();
    let (user, password, nkey, signature) = match login {
        Some(Login::Password { user, password }) => (Some(user), Some(password), None, None),
        Some(Login::Nkey(seed)) => {
            let signature = BASE64URL_NOPAD.encode(&seed.sign(nonce()));
            (None, None, Some(seed.public()), Some(signature))
        }
        None => (None, None, None, None),
    };
    json!({
        "verbose": false,
        "pedantic": false,
        "lang": "rust",
        "version": env!("CARGO_PKG_VERSION"),
        "name": name,
        "protocol": 1,
        "headers": true,
        "no_responders": false,
        "echo": false,
        "user": user,
        "pass": password,
        "nkey": nkey,
        "sig": signature,
    })
}

#[cfg(test)]
mod tests;
