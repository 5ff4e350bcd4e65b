//! The log over HTTP: what it shows to anyone ([`PublicLog`]), the live feed ([`LiveFeed`]), and
//! the log port ([`serve`]), where envelopes come with the access token.

mod internal;
mod live;
mod log_port;
mod public_log;

pub use live::LiveFeed;
pub use log_port::{LogPort, serve};
pub use public_log::PublicLog;
