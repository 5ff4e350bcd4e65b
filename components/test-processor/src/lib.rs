//! `test-processor`: a processor as a user might write one, for tests and benchmarks. No site runs
//! it by itself.
//!
//! It doubles values of at least 50. On some texts it fails as a faulty component would, or does
//! what a hostile one would. [`process()`] and [`mischief()`] hold all the logic; `component.rs`
//! does the IO.

#[cfg(target_arch = "wasm32")]
mod component;
mod process;

pub use process::{Mischief, mischief, process};
