//! `verifier`: the checks anyone can make of one leaf, and of the keys that signed it, in a browser
//! or on any component host.
//!
//! It imports nothing, so it can neither fetch nor keep anything: what it is shown is all it knows.
//! All judgement is in [`verify_leaf()`] and [`follow_keys()`], by way of `tlog` and `key-history`;
//! `component.rs` is the way in and out.

#[cfg(target_arch = "wasm32")]
mod component;
mod follow_keys;
mod key;
mod verify_leaf;

pub use follow_keys::{KeyEvent, follow_keys};
pub use key::Key;
pub use verify_leaf::{Step, verify_leaf};
