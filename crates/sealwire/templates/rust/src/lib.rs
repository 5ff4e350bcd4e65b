//! A processor for Sealwire. `process.rs` has what it derives; the other files speak to the site.

// Off a host, only the tests use this code.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

#[cfg(target_arch = "wasm32")]
mod component;
mod messages;
mod process;
