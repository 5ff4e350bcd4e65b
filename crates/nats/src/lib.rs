//! One connection to a NATS server that carries the topics of thousands of devices.
//!
//! A general client gives each subscription a queue of its own and each message a buffer of its
//! own. That costs more than ten kilobytes for each sensor, and two hand-overs for each message.
//! Here one task owns the connection: it reads what has arrived, looks at the messages where they
//! lie, and writes what it has to say in one go.
//!
//! [`protocol`] has the protocol's lines, without IO. [`Connection`] moves bytes between them and
//! the socket, and `wire` is the socket, with or without TLS.

#![warn(missing_docs)]

mod connection;
pub mod nkey;
pub mod protocol;
mod wire;

pub use connection::{ConnectError, Connection, ConnectionError, Heard, Login, Message};
pub use wire::{InvalidAuthorities, Tls, Wire};
