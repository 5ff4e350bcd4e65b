//! `http-gateway`: the site's HTTP interface for people and programs, as `docs/http-api.md`
//! describes it.
//!
//! A request becomes either a question to the site over NATS or a file of the page: [`route()`]
//! decides which, [`Response`] is what comes of it. Both know nothing of the host. `component.rs`
//! is the way in and out. The component keeps nothing, so any number of it can run.

#[cfg(target_arch = "wasm32")]
mod component;
mod response;
mod route;

pub use response::{File, Response};
pub use route::{BODY_BYTES_MAX, Method, Route, route};
