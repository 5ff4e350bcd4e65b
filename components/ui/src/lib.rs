//! `ui`: a component that contains the page's files, built from `web/`.
//!
//! A path whose last level has no dot is a place within the page and gets `index.html`, so that
//! links to it work from outside.

#[cfg(target_arch = "wasm32")]
mod component;
mod files;

pub use files::{File, file};
