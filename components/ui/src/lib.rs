//! `ui`: the page's files, built from `web/` and held in the component.
//!
//! Any path whose last level has no dot is a place within the page and gets `index.html`, so that a
//! link to it works from outside.

#[cfg(target_arch = "wasm32")]
mod component;
mod files;

pub use files::{File, file};
