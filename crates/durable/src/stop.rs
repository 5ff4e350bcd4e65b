//! A request to give up a piece of work.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Says whether someone has asked to give up a piece of work. The worker checks before each step
/// and removes what is incomplete. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the worker to stop. The request cannot be withdrawn.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone has asked to stop.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if someone has asked to stop.
    ///
    /// # Errors
    /// Someone has asked to stop.
    pub fn check(&self) -> io::Result<()> {
        if self.is_asked() { Err(io::Error::other(Stopped)) } else { Ok(()) }
    }
}

/// The error of a piece of work that was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("stopped, as asked")]
struct Stopped;
