//! `test-reader`: a `sensor-reader` as a faulty upgrade might be, for tests. No site runs it by
//! itself.
//!
//! It is made of the sources of `sensor-reader`, and fails on some values as a faulty component
//! would. So readings decide how it fails, and whether it does.

#[cfg(target_arch = "wasm32")]
#[path = "../../sensor-reader/src/component.rs"]
mod component;
mod judge;
pub mod true_judge;

pub use judge::judge;
