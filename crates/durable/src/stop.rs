//! Somebody asks that work be given up.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Says whether somebody asked that work be given up. Whoever works looks at each step, and clears
/// away what is not whole. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it. That is not taken back.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Refuses the next step where somebody asked.
    ///
    /// # Errors
    /// Somebody asked.
    pub fn check(&self) -> io::Result<()> {
        if self.is_asked() { Err(io::Error::other(Stopped)) } else { Ok(()) }
    }
}

/// Work was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("stopped, as asked")]
struct Stopped;
