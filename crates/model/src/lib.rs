//! The domain types of Sealwire: sensors, their heartbeats and answers, events, and the envelopes
//! that seal events.
//!
//! A program parses input into one of these types once, at the edge. If the input is invalid, the
//! error says what is allowed. Nothing here reads a clock or a file, opens a socket or uses
//! randomness; the caller passes times and random bytes in.
//!
//! - [`heartbeat`] and [`answer`] parse the wire protocol of sensors;
//! - [`sensor_order`] says what is in force of the orders about a sensor, and [`OrdersInForce`]
//!   keeps that of all;
//! - [`event`] and [`envelope`] define what the log holds, byte for byte;
//! - [`completeness`] tells an auditor whether a reading of a sensor is missing;
//! - [`derive`](mod@derive), [`mirror`], [`query`] and [`submission`] define the messages between
//!   the site and its components, and [`processing`] those between the site and users' processors.

#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core, missing_docs)]

extern crate alloc;

pub mod action;
pub mod answer;
pub mod calibration;
pub mod channel;
pub mod completeness;
pub mod decimal;
pub mod derive;
mod derived;
mod detail;
pub mod device_time;
pub mod envelope;
mod error_chain;
pub mod event;
pub mod gap;
pub mod heartbeat;
pub mod log_id;
pub mod measured;
pub mod mirror;
pub mod number_range;
mod object;
mod ordered;
mod orders_in_force;
mod outcome;
pub mod polling;
pub mod processing;
pub mod pushed;
pub mod query;
pub mod range;
pub mod reading;
pub mod refused_order;
pub mod sensor_clock;
pub mod sensor_id;
pub mod sensor_order;
pub mod sensor_state;
pub mod subject;
pub mod submission;
pub mod timestamp;
pub mod values;

pub use answer::{Answer, InvalidAnswer};
pub use calibration::{Calibration, Calibrations};
pub use channel::Channel;
pub use decimal::Decimal;
pub use device_time::{Doubt, ToldTime};
pub use envelope::{Envelope, EventJson, Salt};
pub use error_chain::error_chain;
pub use event::{Event, FieldValue, Outcome};
pub use heartbeat::{Heartbeat, InvalidHeartbeat};
pub use log_id::LogId;
pub use measured::Measured;
pub use number_range::NumberRange;
pub use object::LeftOut;
pub use ordered::CalibrationTexts;
pub use orders_in_force::OrdersInForce;
pub use pushed::{PushedSeries, PushedValue};
pub use range::Range;
pub use reading::SealedReading;
pub use refused_order::RefusedOrder;
pub use sensor_id::SensorId;
pub use sensor_order::{Given, InForce, SensorOrder};
pub use sensor_state::SensorState;
pub use subject::{InvalidSubject, Pattern, Protocol, Subject};
pub use timestamp::Timestamp;
pub use values::{Value, Values};
