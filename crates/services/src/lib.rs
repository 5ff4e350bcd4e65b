//! The services that work on a site's log. Each is a task with one owner that drives a pure crate.
//!
//! A reading passes through these modules: [`polling`] asks sensors and receives their answers,
//! [`pushing`] hears devices that report by themselves, [`sealing`] appends the events of both,
//! [`pipeline`] has `sensor-reader` judge sealed readings and appends the derived events,
//! [`indexing`] projects the log for [`queries`], which have it catch up ([`progress`]), and
//! [`cosigning`] has witnesses sign its checkpoints, and [`mirroring`] sends it to another server.
//! [`bus`] connects them, [`door`] lets devices in, [`hosts_door`] hosts on other machines, and
//! [`turned_away`] seals who sent wrong tokens. [`lag`] watches how far each of them is behind,
//! [`timekeeping`] watches the machine's clock ([`site_clock`]), and [`timings`] says how long a
//! reading takes from one to the next.
//!
//! [`applications`] takes events that applications hand in, has `event-logger` check them, and
//! appends them.
//!
//! [`polling_service`] takes orders and questions of operators over NATS.
//!
//! [`testing`] asks a component on trial what the one asks that it is to replace.
//!
//! No service knows who shows the log or who may give orders to it.

pub mod applications;
pub mod bus;
pub mod checkpointing;
pub mod cosigning;
pub mod door;
pub mod fleet;
pub mod hosts_door;
pub mod indexing;
pub mod known;
pub mod lag;
pub mod log_reading;
pub mod mirroring;
pub mod pipeline;
pub mod polling;
pub mod polling_service;
pub mod progress;
pub mod pushing;
pub mod queries;
pub mod sealing;
pub mod searching;
pub mod site_clock;
pub mod testing;
pub mod timekeeping;
pub mod timings;
pub mod turned_away;
