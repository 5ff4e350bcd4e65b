//! `test-processor`: a processor as a user might write one, for tests and benchmarks. No site runs
//! it by itself.
//!
//! It doubles values of at least 50, and fails on some texts as a faulty component would.
//! [`process()`] holds all the logic; `component.rs` does the IO.

#[cfg(target_arch = "wasm32")]
mod component;
mod process;

pub use process::process;
