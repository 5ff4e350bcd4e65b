//! An OCI registry of WebAssembly components (OCI distribution specification 1.1), for hosts of
//! this machine and of others.
//!
//! A host asks its registry at every start, even with a warm cache. A site that must start without
//! a network therefore has a registry of its own. Each of the site's own components is an [`Image`]
//! in the Wasm OCI artifact layout: one config, one layer.
//!
//! On the port of loopback from which the site's own host pulls, anyone may. On the port for other
//! hosts and for tools, a [`Gate`](access::Gate) decides who may: see [`Readers`].

mod entrance;
mod image;
mod name;
mod refusal;
mod registry;
mod target;

pub use entrance::Readers;
pub use image::Image;
pub use refusal::no_room;
pub use registry::{Port, Registry};
