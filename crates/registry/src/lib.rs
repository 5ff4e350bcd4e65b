//! An OCI registry of WebAssembly components (OCI distribution specification 1.1), for hosts of
//! this machine and of others.
//!
//! A host asks its registry at every start, even with a warm cache. A site that must start without
//! a network therefore has a registry of its own. Each of the site's own components is an [`Image`]
//! in the Wasm OCI artifact layout: one config, one layer. They are in memory. What others publish
//! is on disk, by its digest. Each publication under a tag, and each deletion, is sealed before it
//! is acknowledged.
//!
//! Hosts pull what the site wants them to run, and nothing else: on the port of loopback from which
//! the site's own host pulls, anyone may. On the port for other hosts and for tools, a
//! [`Gate`](access::Gate) decides who may: see [`Readers`].
//!
//! - `name`, `target`, `range` and `manifest` say what requests and manifests mean, and `signature`
//!   who stands behind an image, without IO.
//! - `store` is what is on disk, and `uploads` what is on its way there.
//! - `reading` answers those who pull, `publishing` those who push and delete.

mod cleaning;
mod entrance;
mod image;
mod layout;
mod limits;
mod manifest;
mod name;
mod publishing;
mod range;
mod reading;
mod refusal;
mod registry;
mod sealing;
mod signature;
mod store;
mod target;
mod uploads;

pub use cleaning::Cleaning;
pub use entrance::Readers;
pub use image::{Image, NotPublishable, PublishedName};
pub use layout::{LayoutError, write as write_layout};
pub use limits::{FILES_MAX, MANIFEST_BYTES_MAX};
pub use name::{NotPinned, Pinned};
pub use refusal::no_room;
pub use registry::{BindError, Parts, Port, Registry, folder_in, look};
pub use signature::{LongName, SIGNATURE, SIGNATURE_BYTES_MAX, SignatureArtifact, check_publisher};
pub use store::{StoreError, StoreFault};
