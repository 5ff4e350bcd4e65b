//! The log over HTTP: the files that anyone may read ([`PublicLog`]), the live feed ([`LiveFeed`]),
//! and the log port ([`LogPort`]), which returns envelopes to clients with the access token.

mod internal;
mod live;
mod log_port;
mod metrics;
mod public_log;

pub use live::LiveFeed;
pub use log_port::LogPort;
pub use public_log::{PublicLog, log_path};
