//! Sensors as the protocol describes them, thousands at a time, with faults.
//!
//! [`fleet`] says which sensors there are: the reference fleet of 40, and as many more of the same
//! kinds as are asked for. [`sensor`] is what one of them says, without IO and from a seeded
//! generator, so that its values can be replayed; [`run()`] connects them to a NATS server. What
//! they measure is `kind`'s table.
//!
//! Values are drawn from a normal distribution and not held to the declared range: out of range is
//! possible, and honest.

#![warn(missing_docs)]

mod connection;
pub mod fleet;
pub mod kind;
pub mod run;
pub mod sensor;

pub use fleet::SensorSpec;
pub use run::{SimulatorError, run};
pub use sensor::Sensor;
