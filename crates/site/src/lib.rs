//! A whole site on one machine. This crate starts the services, the orders and the ports that show
//! the log, and stops them.
//!
//! [`run`] starts everything with both engines, watches it and stops it in order; [`START`] is what
//! a start reads from the data directory. [`log_alone`] serves a log without the rest of a site,
//! [`judging_alone`] has its readings judged, and [`rehearsal`] runs a processor that is tried.
//! [`manifests()`] says what a Kubernetes cluster can run for a site.

pub mod judging_alone;
pub mod log_alone;
pub mod rehearsal;

mod admission;
mod bus;
mod certificate;
mod config;
mod deploying;
mod error;
mod guarding;
mod host_alone;
mod listening;
mod manifests;
mod mirror;
mod operators;
mod outages;
mod own_host;
mod part;
mod ports;
mod processors;
mod ready;
mod rolling;
mod site;
mod start_files;
mod up;
mod workloads;

pub use config::{Config, FILES_MAX, Listen};
pub use error::{Cause, ServiceEnded, UpError};
pub use manifests::{ManifestError, manifests};
pub use mirror::{Mirror, MirrorFileError, Token};
pub use processors::{ImageName, InvalidImageName, InvalidProcessors, Processor, Processors};
pub use start_files::START;
pub use up::run;
pub use workloads::{COMPONENTS, images};
