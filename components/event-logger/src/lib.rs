//! `event-logger`: a component on the wasmCloud host that checks the events of applications.
//!
//! One call takes a [`Question`](model::submission::Question) of several submissions and answers
//! which events to seal, or what is wrong. The component keeps no state between calls, and cannot
//! seal anything itself. [`check()`] holds all the logic; `component.rs` does the IO.

mod check;
#[cfg(target_arch = "wasm32")]
mod component;

pub use check::check;
