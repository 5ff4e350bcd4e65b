//! Credentials of devices: who may speak as which sensors.
//!
//! A credential covers one sensor or a named set, such as those of a gateway. Its device may
//! publish the heartbeats, readings and disconnects of these sensors, and hear their polls and one
//! receipt subject. Or its device reports by itself, on topics that the credential lists. [`Book`]
//! decides, without IO; [`SensorCredentials`] keeps it in a file.
//!
//! The site keeps public keys and hashes only. A device proves by NATS that it has the seed of a
//! key, and by MQTT that it knows a password of 160 random bits. So a plain SHA-256 is enough: a
//! slow hash protects words that people choose, and would cost each connection.
//!
//! Invariants:
//! - a subject belongs to one credential at most, except that several may share a heartbeat's;
//! - a sensor's id belongs to one credential at most;
//! - no permission has a wildcard or a subject of the engines or of the site.

mod admits;
mod book;
mod learning;
pub(crate) mod name;
mod refusals;
mod sensor;
mod store;

pub use admits::Admits;
pub use book::{
    Admission, Book, BookError, Credential, CredentialDescription, Ends, Key, NewCredential, Offer,
    Refused,
};
pub use learning::Learning;
pub use name::{CredentialName, InvalidCredentialName};
pub use refusals::{Refusal, Refusals, Told};
pub use sensor::{Alias, InvalidAlias, InvalidSensor, Permissions, Reporting, Sensor, Topics};
pub use store::{CredentialError, SensorCredentials, credentials_path_in};
