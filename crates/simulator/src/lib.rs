//! Simulates sensors that speak the sensor protocol, over NATS or MQTT, a hundred thousand at a
//! time, some with faults.
//!
//! [`fleet`] defines the sensors: the reference fleet of 40, and as many more of the same kinds as
//! are asked for. [`sensor`] makes the messages of one sensor, [`faults`] says what it does wrong,
//! and `device` puts both together: without IO, and each message a function of seed, sensor,
//! number and time, so that a run can be replayed. [`run()`] connects sensors to their servers and
//! returns what each of them did, which a [`Tally`] sums up. `kind` has the table of what they
//! measure.
//!
//! Values come from a normal distribution and are not clamped to the declared range, so some are
//! out of range, as with real sensors.

#![warn(missing_docs)]

mod agenda;
mod connection;
mod device;
mod draw;
pub mod faults;
pub mod fleet;
pub mod kind;
pub mod lateness;
pub mod live;
mod mqtt;
pub mod run;
pub mod sensor;
pub mod tally;

pub use connection::{ConnectError, InvalidUrl};
pub use faults::Faults;
pub use fleet::{SensorSpec, Topics};
pub use live::Live;
pub use mqtt::ConnectError as MqttConnectError;
pub use run::{Config, Credential, SimulatorError, run};
pub use sensor::Sensor;
pub use tally::{SensorCounts, Tally};
