//! An edge site: the shells that drive the pure crates, each a task with one owner.
//!
//! The way of a reading, file by file: [`polling`] asks sensors and hears them, [`sealing`] appends what the poller saw, [`pipeline`] has `sensor-reader`
//! judge what was sealed and appends what follows, [`indexing`] projects the log for [`queries`], and [`log_http`] shows it to anyone. [`up`] starts all
//! of it on one machine, with both engines, and stops it in order.

pub mod indexing;
pub mod pipeline;
pub mod up;

mod bus;
mod clock;
mod data_dir;
mod log_http;
mod polling;
mod ports;
mod queries;
mod sealing;
mod workloads;

pub use data_dir::{DataDir, DataDirError};
pub use up::{UpError, run};
