//! What Sealwire talks about: sensors, their heartbeats and answers, events and the envelopes that
//! seal them.
//!
//! Everything from outside becomes one of these types once, at the edge, or is refused with an
//! error that says what is allowed. Nothing here reads a clock, a file, a socket or randomness:
//! they come in as arguments.
//!
//! - [`heartbeat`] and [`answer`] are the wire protocol of sensors;
//! - [`event`] and [`envelope`] are what the log holds, byte for byte;
//! - [`completeness`] is how an auditor tells that no reading of a sensor is missing;
//! - [`derive`](mod@derive) and [`query`] are what site and components say to each other.

#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core, missing_docs)]

extern crate alloc;

pub mod action;
pub mod answer;
pub mod completeness;
pub mod decimal;
pub mod derive;
mod derived;
pub mod envelope;
mod error_chain;
pub mod event;
pub mod gap;
pub mod heartbeat;
pub mod number_range;
mod object;
pub mod query;
pub mod range;
pub mod reading;
pub mod sensor_id;
pub mod sensor_state;
pub mod subject;
pub mod timestamp;

pub use answer::{Answer, InvalidAnswer};
pub use decimal::Decimal;
pub use envelope::{Envelope, EventJson, Salt};
pub use error_chain::error_chain;
pub use event::{Event, FieldValue, Outcome};
pub use heartbeat::{Heartbeat, InvalidHeartbeat};
pub use number_range::NumberRange;
pub use object::LeftOut;
pub use range::Range;
pub use reading::SealedReading;
pub use sensor_id::SensorId;
pub use sensor_state::SensorState;
pub use subject::{Pattern, Protocol, Subject};
pub use timestamp::Timestamp;
