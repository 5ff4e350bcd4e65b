//! Runs workloads on the available hosts, which are stock hosts of wasmCloud.
//!
//! A [`Workload`] is what a host is asked to run; a [`Deployment`] says how many run it, and where.
//! [`Reconciler`] decides what is asked of whom; [`run()`] asks. [`rollout`] decides whether what
//! was deployed stays. [`Workload::manifest`] says what a host is asked to run to the operator of a
//! Kubernetes cluster.

pub mod desired;
mod heartbeat;
mod host;
mod manifest;
pub mod policy;
mod question;
mod reconciler;
pub mod rollout;
mod run;
mod standing;
mod workload;

pub use heartbeat::{Heartbeat, HostId};
pub use manifest::{Cluster, InvalidRegistryName, RegistryName};
pub use question::{Answer, Asked, Question, State, Ticket};
pub use reconciler::{Change, Reconciler, SETTLE};
pub use run::{Check, Parts, run};
pub use standing::{HostStanding, Standing, WorkloadStanding};
pub use workload::{
    Component, Deployment, HostInterface, InstanceId, LocalResources, Replicas, WitWorld, Workload,
};
