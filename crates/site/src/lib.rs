//! A whole site on one machine: what starts the services, the orders and the faces, and stops them.
//!
//! [`up`] starts everything with both engines, watches it and stops it in order; [`START`] is what a
//! start reads of the data directory. [`log_alone`] serves a log with nothing else of a site.

pub mod log_alone;
pub mod up;

mod ports;
mod start_files;
mod workloads;

pub use start_files::START;
pub use up::{UpError, run};
