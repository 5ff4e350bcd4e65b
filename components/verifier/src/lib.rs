//! `verifier`: checks one leaf, and the keys that signed it. Anyone can run it, in a browser or on
//! any component host.
//!
//! The component imports nothing, so it can neither fetch nor store data: it knows only its
//! arguments. [`verify_leaf()`] and [`follow_keys()`] hold all the logic and use `tlog` and
//! `key-history`; `component.rs` is the boundary.

#[cfg(target_arch = "wasm32")]
mod component;
mod follow_keys;
mod key;
mod verify_leaf;

pub use follow_keys::{KeyEvent, follow_keys};
pub use key::Key;
pub use verify_leaf::{Step, verify_leaf};
