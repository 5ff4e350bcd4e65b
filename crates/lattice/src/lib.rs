//! Workloads on the hosts that are there.
//!
//! [`Workload`] is what a host is asked to run. The [`Registry`] serves its components to the
//! hosts, which take images from nowhere else; [`reconcile`] has every host run every workload.

pub mod reconcile;
pub mod registry;
pub mod workload;

pub use registry::{Image, Registry};
pub use workload::{Component, HostInterface, Workload};
