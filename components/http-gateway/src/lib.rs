//! `http-gateway`: the site's HTTP interface for people and programs, defined in
//! `docs/http-api.md`.
//!
//! The component translates a request into a question to the site over NATS, or serves a file of
//! the page. [`route()`] decides which; [`Response`] is the answer. Neither knows the host:
//! `component.rs` does the IO. The component keeps no state, so any number of instances can run.

#[cfg(target_arch = "wasm32")]
mod component;
mod response;
mod route;

pub use response::{File, Response};
pub use route::{BODY_BYTES_MAX, Method, Route, body_bytes_max, route};
