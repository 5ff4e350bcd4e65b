//! `test-application`: a component of an application as a user might write one, for tests. No site
//! runs it by itself.
//!
//! It hands in the events that a message brings, and answers with what the site answered.

#[cfg(target_arch = "wasm32")]
mod component;
