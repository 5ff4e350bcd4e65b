//! Pangea's Secure Audit Log API v2, served from a site's own log.
//!
//! [`Api`] is the API; [`Config`] says how it shows the log, [`Saved`] is what clients may come back for.

mod admission;
mod api;
mod bodies;
mod bulk;
mod config;
mod export;
mod log;
mod recent;
mod saved;
mod search;
mod trees;

pub use api::{Api, no_room};
pub use config::{Config, PangeaConfigError};
pub use saved::{Saved, SavedError};
