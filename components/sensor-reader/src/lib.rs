//! `sensor-reader`: a component on the wasmCloud host that compares sealed readings with their
//! sensors' declared ranges.
//!
//! One call takes a [`Question`](model::derive::Question) of up to hundreds of sightings and
//! answers with a [`Verdict`](model::derive::Verdict). The component keeps no state between calls.
//! [`judge()`] holds all the logic; `component.rs` does the IO.

#[cfg(target_arch = "wasm32")]
mod component;
mod judge;

pub use judge::judge;
