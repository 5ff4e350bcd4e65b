//! `pangea-api`: a component on the wasmCloud host that calls a server of Pangea's Secure Audit Log
//! API.
//!
//! One call takes a [`Question`](model::mirror::Question), makes one HTTP request and answers with
//! what came back, untouched. The site decides what is sent and judges what is answered. The host
//! lets this component reach one server: that of its configuration.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod http;
