//! Simulates sensors that speak the sensor protocol, thousands at a time, some with faults.
//!
//! [`fleet`] defines the sensors: the reference fleet of 40, and as many more of the same kinds as
//! are asked for. [`sensor`] makes the messages of one sensor, without IO and from a seeded
//! generator, so that a run can be replayed. [`run()`] connects sensors to a NATS server and
//! returns a [`Tally`] of what they sent. `kind` has the table of what they measure.
//!
//! Values come from a normal distribution and are not clamped to the declared range, so some are
//! out of range, as with real sensors.

#![warn(missing_docs)]

mod connection;
pub mod fleet;
pub mod kind;
pub mod run;
pub mod sensor;
pub mod tally;

pub use connection::InvalidUrl;
pub use fleet::SensorSpec;
pub use run::{Config, SimulatorError, run};
pub use sensor::Sensor;
pub use tally::Tally;
