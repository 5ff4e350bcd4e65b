//! Runs workloads on the available hosts.
//!
//! [`Workload`] is what a host is asked to run. [`reconcile`] makes every host run every workload.

pub mod reconcile;
pub mod workload;

pub use workload::{Component, HostInterface, Workload};
