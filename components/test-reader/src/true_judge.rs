//! The judge of `sensor-reader`, from its sources.

#[path = "../../sensor-reader/src/judge.rs"]
mod judge;

pub use judge::judge;
