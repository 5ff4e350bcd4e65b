//! Who is due, who answered, who is lost: the poller as a state machine.
//!
//! [`Poller`] is fed what arrives and what time it is; it says what to send, what to seal and when
//! to be woken. Nothing here reads a clock, a socket or randomness, and nothing logs: the site's
//! task does the IO, in the order in which [`Poller::poll_action`] says so.
//!
//! - [`poller`] is the whole fleet; `sensor` is one sensor, and holds every rule that concerns only
//!   that one;
//! - `exchange` knows which answer belongs to which poll of a sensor;
//! - `numbers` counts one sensor's polls, so that none goes missing unsaid;
//! - `budget` says how often sensors are polled that ask for more than the site makes;
//! - `refusals` tells of heartbeats that are refused, however many there are;
//! - `schedule` keeps the one moment at which each sensor next needs attention;
//! - `topics` keeps sensors from hearing each other's messages.

#![warn(missing_docs)]

pub mod action;
mod budget;
mod bus;
pub mod clock;
pub mod counters;
mod exchange;
mod numbers;
mod per_minute;
pub mod poller;
mod refusals;
mod schedule;
mod sensor;
mod topics;

pub use action::Action;
pub use bus::Bus;
pub use clock::{Instant, Now, Past};
pub use counters::Counters;
pub use poller::{Config, Poller, RefusedHeartbeat, Source};
