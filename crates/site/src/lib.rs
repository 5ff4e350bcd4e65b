//! A whole site on one machine: what starts the services, the orders and the faces, and stops them.
//!
//! [`run`] starts everything with both engines, watches it and stops it in order; [`START`] is what
//! a start reads of the data directory. [`log_alone`] serves a log with nothing else of a site.

pub mod log_alone;

mod bus;
mod config;
mod error;
mod listening;
mod part;
mod ports;
mod ready;
mod site;
mod start_files;
mod up;
mod workloads;

pub use config::{Config, FILES_MAX, Ports};
pub use error::{Cause, ServiceEnded, UpError};
pub use start_files::START;
pub use up::run;
pub use workloads::COMPONENTS;
