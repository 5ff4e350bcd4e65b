//! `verifier`: the checks anyone can make of one leaf, in a browser or on any component host.
//!
//! It imports nothing, so it can neither fetch nor keep anything: what it is shown is all it knows. All judgement is
//! in [`verify_leaf()`], by way of `tlog`; `component.rs` is the way in and out.

#[cfg(target_arch = "wasm32")]
mod component;
mod verify_leaf;

pub use verify_leaf::{Step, verify_leaf};
