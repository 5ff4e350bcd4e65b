//! `sensor-reader`: judges sealed readings against their sensors' declared ranges, on the wasmCloud
//! host.
//!
//! One call takes a [`Question`](model::derive::Question) of up to hundreds of sightings and
//! answers with a [`Verdict`](model::derive::Verdict). Nothing is kept between calls. All judgement
//! is in [`judge()`]; `component.rs` is the way in and out.

#[cfg(target_arch = "wasm32")]
mod component;
mod judge;

pub use judge::judge;
