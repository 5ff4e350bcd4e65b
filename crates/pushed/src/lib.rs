//! Turns what devices report by themselves into readings.
//!
//! Most MQTT sensors are not polled: they publish when they like, on topics and in forms of their
//! firmware. [`Rules`] say which topics are heard, where in a payload a value stands, and what it
//! is called; the rules of common firmwares are built in ([`preset`]). [`Mapper`] applies them to
//! one message after the other. It holds what earlier messages declared: Home Assistant's discovery
//! names topics, and a birth of a Sparkplug node names the aliases of its later messages.
//!
//! [`Pushes`] decides what of it is sealed, and numbers the intervals that a rule declares.
//!
//! Nothing here reads a clock or a file or subscribes to anything. It is a crate because it alone
//! knows the formats of others, and a protobuf library for one of them.
//!
//! Invariants:
//! - a value is the text that the device wrote, unless the device sends binary numbers, which are
//!   written with as few digits as give the same number again;
//! - a message becomes readings or a [`Refusal`] that says why not; it never becomes readings of
//!   another rule's sensors, and what is wrong with one value does not touch the others;
//! - everything that earlier messages declared has a limit.
//!
//! # Example
//!
//! ```
//! use pushed::{Mapper, Rules};
//!
//! let rules = Rules::parse(
//!     r#"
//!     [[rule]]
//!     name = "cold store"
//!     topic = "store/{room}/climate"
//!     sensor = "{room}"
//!     [[rule.value]]
//!     path = "/t"
//!     quantity = "temperature"
//!     unit = "°C"
//!     "#,
//! )?;
//! let mut mapper = Mapper::new(rules);
//! let at = "2026-11-29T12:00:00Z".parse().unwrap();
//! let mapping = mapper.map("store/b7/climate", br#"{"t":-18.50}"#, at);
//! let reading = &mapping.readings[0];
//! assert_eq!((reading.name.as_str(), reading.value.as_str()), ("b7", "-18.50"));
//! # Ok::<(), pushed::InvalidRules>(())
//! ```

#![warn(missing_docs)]

mod device_time;
mod discovery;
mod mapper;
mod mapping;
mod pointer;
pub mod preset;
mod pushes;
mod reading;
pub mod recorded;
mod rules;
mod sparkplug;
mod template;
mod topic;
mod under;

pub use device_time::DeviceTime;
pub use mapper::{Mapper, PAYLOAD_BYTES_MAX};
pub use mapping::{Heard, Mapping, Refusal, Request};
pub use pushes::{At, Config, Counters, Pushes};
pub use reading::{Flag, Reading};
pub use recorded::Recorded;
pub use rules::{InvalidRules, Rules};
