//! What works on a site's log: each a task with one owner, driving a pure crate.
//!
//! The way of a reading, file by file: [`polling`] asks sensors and hears them, [`sealing`] appends
//! what the poller saw, [`pipeline`] has `sensor-reader` judge what was sealed and appends what
//! follows, [`indexing`] projects the log for [`queries`], and [`cosigning`] has witnesses sign its
//! checkpoints. [`bus`] connects them.
//!
//! None of them knows who shows the log or who may order something of it.

pub mod bus;
pub mod checkpointing;
pub mod cosigning;
pub mod indexing;
pub mod log_reading;
pub mod pipeline;
pub mod polling;
pub mod queries;
pub mod sealing;
pub mod searching;
