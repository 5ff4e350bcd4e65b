//! A connection that speaks MQTT 3.1.1 at QoS 0, for the topics of many sensors. The packets are
//! `rumqttc`'s; its client would cost a task, a queue and a copy of each message for each
//! connection.
//!
//! Invariant: the caller looks at everything that arrived before it waits for more, so `inbox`
//! holds one read and part of a packet.

use core::time::Duration;
use std::io;

use bytes::{Buf as _, BytesMut};
use nats::{Tls, Wire};
use rumqttc::mqttbytes::{
    self, QoS,
    v4::{
        ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PingReq, Publish, SubAck, Subscribe,
        SubscribeFilter, SubscribeReasonCode,
    },
};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

/// Bytes of one read: some 200 polls.
const READ_BYTES: usize = 16 << 10;
/// Largest packet that is taken. A poll has some 60 bytes.
const PACKET_BYTES_MAX: usize = 64 << 10;
/// Bytes that wait until the server takes them, beyond which messages are refused: answers of a
/// thousand sensors for some ten seconds.
const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// Topics of one packet that subscribes to them, which stays below the server's limit for a packet.
const TOPICS_OF_PACKET: usize = 100;
/// Time between two signs of life that the client sends. If the server has said nothing between two
/// of them, the connection is lost.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Silence of the client after which the server ends the connection, in seconds.
const KEEP_ALIVE_S: u16 = 60;
/// Time for the server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// User name and password.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What the server publishes for the client when the connection breaks.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: &'static str,
}

#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    inbox: BytesMut,
    outbox: BytesMut,
    ping_at: Instant,
    /// Whether the server has said nothing since the newest sign of life.
    is_silent: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server does not answer.
    #[error("the MQTT server does not answer")]
    Io(#[from] io::Error),
    /// The server answers otherwise than an MQTT server.
    #[error("this is not an MQTT 3.1.1 server")]
    Protocol(#[from] mqttbytes::Error),
    /// The server's name cannot be that of a certificate.
    #[error("`{0}` is neither a host name nor an address")]
    Name(String),
    /// The server does not let the client in.
    #[error("the MQTT server refuses: {0:?}")]
    Refused(ConnectReturnCode),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("the connection to the MQTT server is lost")]
    Io(#[from] io::Error),
    #[error("the connection to the MQTT server is of no use")]
    Protocol(#[from] mqttbytes::Error),
    #[error("the MQTT server has been silent for {} s", PING_EVERY.as_secs())]
    Silent,
}

impl Connection {
    /// Connects, and waits until the server has accepted the client.
    pub(crate) async fn connect(
        (server, tls): ((&str, u16), Option<&Tls>),
        client_id: &str,
        login: Option<&Login>,
        will: Option<&Will>,
    ) -> Result<Self, ConnectError> {
        let mut connect = Connect::new(client_id);
        connect.keep_alive = KEEP_ALIVE_S;
        if let Some(Login { user, password }) = login {
            connect.set_login(user, password);
        }
        if let Some(Will { topic, payload }) = will {
            connect.last_will = Some(LastWill::new(topic, *payload, QoS::AtMostOnce, false));
        }
        let connecting = async {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            let mut wire = Wire::plain(stream);
            if let Some(tls) = tls {
                let name = server.0;
                wire.secure(tls, name).map_err(|_invalid| ConnectError::Name(name.to_owned()))?;
            }
            let mut connection = Self {
                wire,
                inbox: BytesMut::new(),
                outbox: BytesMut::new(),
                ping_at: Instant::now() + PING_EVERY,
                is_silent: false,
            };
            connect.write(&mut connection.outbox)?;
            connection.introduce().await?;
            Ok(connection)
        };
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_elapsed| Err(ConnectError::Io(io::ErrorKind::TimedOut.into())))
    }

    async fn introduce(&mut self) -> Result<(), ConnectError> {
        loop {
            self.flush()?;
            self.wire.ready(self.wanted()).await?;
            self.read()?;
            match self.packet()? {
                Some(Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. })) => {
                    return Ok(());
                }
                Some(Packet::ConnAck(ConnAck { code, .. })) => {
                    return Err(ConnectError::Refused(code));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Subscribes to topics.
    pub(crate) fn subscribe(&mut self, topics: impl Iterator<Item = String>) -> Result<(), Lost> {
        let filters: Vec<SubscribeFilter> =
            topics.map(|topic| SubscribeFilter::new(topic, QoS::AtMostOnce)).collect();
        for (filters, pkid) in filters.chunks(TOPICS_OF_PACKET).zip(1..) {
            Subscribe { pkid, filters: filters.to_vec() }.write(&mut self.outbox)?;
        }
        Ok(())
    }

    /// Adds a message to those that the next turn sends. Returns whether there was room.
    pub(crate) fn publish(&mut self, topic: String, payload: &[u8]) -> bool {
        let message = Publish::new(topic, QoS::AtMostOnce, payload);
        self.outbox.len() < OUTBOX_BYTES_MAX && message.write(&mut self.outbox).is_ok()
    }

    /// Sends what there is to send, and waits until the server has sent something. Cancel-safe.
    pub(crate) async fn turn(&mut self) -> Result<(), Lost> {
        loop {
            self.flush()?;
            tokio::select! {
                ready = self.wire.ready(self.wanted()) => {
                    let ready = ready?;
                    if (ready.is_readable() || ready.is_read_closed()) && self.read()? {
                        self.is_silent = false;
                        return Ok(());
                    }
                }
                () = sleep_until(self.ping_at) => {
                    if self.is_silent {
                        return Err(Lost::Silent);
                    }
                    PingReq.write(&mut self.outbox)?;
                    self.is_silent = true;
                    self.ping_at = Instant::now() + PING_EVERY;
                }
            }
        }
    }

    /// Topic of the next message that has arrived; `None` when another turn is needed.
    pub(crate) fn poll_heard(&mut self) -> Result<Option<String>, Lost> {
        while let Some(packet) = self.packet()? {
            match packet {
                Packet::Publish(Publish { topic, .. }) => return Ok(Some(topic)),
                Packet::SubAck(SubAck { return_codes, .. })
                    if return_codes.contains(&SubscribeReasonCode::Failure) =>
                {
                    // A forbidden topic is reported only here.
                    warn!("the server refused a subscription");
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next whole packet of what was read.
    fn packet(&mut self) -> Result<Option<Packet>, mqttbytes::Error> {
        match Packet::read(&mut self.inbox, PACKET_BYTES_MAX) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wanted(&self) -> Interest {
        if self.outbox.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        }
    }

    /// Reads what has arrived. Returns whether anything had.
    fn read(&mut self) -> io::Result<bool> {
        self.inbox.reserve(READ_BYTES);
        match self.wire.try_read(&mut self.inbox) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends as much as the socket takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.wire.push() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        while !self.outbox.is_empty() {
            match self.wire.try_write(&self.outbox) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.outbox.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
