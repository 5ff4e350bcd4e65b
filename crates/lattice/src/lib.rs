//! Runs workloads on the available hosts.
//!
//! [`Workload`] is what a host is asked to run. The [`Registry`] serves the components to the
//! hosts, which take images from nowhere else. [`reconcile`] makes every host run every workload.

pub mod reconcile;
pub mod registry;
pub mod workload;

pub use registry::{Image, Registry};
pub use workload::{Component, HostInterface, Workload};
