//! Decides which sensor to poll, which answer belongs to which poll, and which sensor is lost.
//!
//! [`Poller`] is a state machine. Its driver feeds it each message and the current time; it answers
//! with what to send, what to seal and when to wake it. Nothing here reads a clock, opens a socket,
//! uses randomness or writes a log line. The site's task does the IO, in the order of
//! [`Poller::poll_action`].
//!
//! - [`poller`] holds the whole fleet; `sensor` holds one sensor and every rule that concerns only
//!   that sensor;
//! - `exchange` matches answers to the polls of a sensor;
//! - `sensor_clock` watches the clock of one sensor;
//! - `numbers` numbers the polls of one sensor and declares every number without a reading;
//! - `under` says what orders about a sensor mean for it; `doubles` recognises several devices with
//!   one id;
//! - `budget` stretches the poll intervals when sensors ask for more polls than the site makes;
//! - `in_flight` limits how many polls are in flight, and stops polls while the driver is full;
//! - `refusals` reports refused heartbeats, in a bounded number of events;
//! - `sensors` keeps them by id and by slot, and `schedule` one deadline for each;
//! - `guard` says who may speak as which sensor;
//! - `topics` keeps sensors from receiving each other's messages.
//!
//! # Example
//!
//! ```
//! use model::{Protocol, Timestamp};
//! use poll::{Action, Config, Instant, Now, Poller, Source};
//!
//! let at = |millis| Now {
//!     monotonic: Instant::after_start(std::time::Duration::from_millis(millis)),
//!     wall: Timestamp::from_unix_micros(1_000 * i64::try_from(millis).unwrap()),
//! };
//! let mut poller = Poller::new(Config::default());
//! let heartbeat = br#"{"alias":"Boiler","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3",
//!     "poll_interval":1000,"poll_topic":"boiler.poll","read_topic":"boiler.read"}"#;
//! let source = Source { subject: "boiler.heartbeat", protocol: Protocol::Nats };
//! let sensor = poller.handle_heartbeat(heartbeat, source, at(0)).unwrap();
//!
//! // The poller says what to do: seal that a sensor was discovered, listen to it, ask it.
//! let mut actions = std::iter::from_fn(|| poller.poll_action());
//! assert!(actions.any(|action| matches!(action, Action::SendPoll { .. })));
//!
//! // The sensor answers, and there is a reading to be sealed.
//! poller.handle_answer(sensor, br#""23.50""#, at(20));
//! let Some(Action::Seal(reading)) = poller.poll_action() else { panic!("a reading") };
//! assert_eq!(reading.new.as_deref(), Some("23.50"));
//!
//! // It is asked again a second after it was asked first.
//! assert_eq!(poller.poll_timeout(), Some(at(1_000).monotonic));
//! ```

#![warn(missing_docs)]

pub mod action;
mod budget;
mod bus;
pub mod clock;
pub mod counters;
mod doubles;
mod exchange;
mod guard;
mod in_flight;
mod numbers;
mod per_minute;
pub mod poller;
mod refusals;
mod schedule;
mod sensor;
mod sensor_clock;
mod sensors;
mod topics;
mod under;

pub use action::Action;
pub use budget::Load;
pub use bus::Bus;
pub use clock::{Instant, Now, Past};
pub use counters::Counters;
pub use guard::Guard;
pub use model::RefusedOrder;
pub use poller::{Config, Poller, RefusedHeartbeat, Source};
