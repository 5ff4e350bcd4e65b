//! What the writer's thread tells, and all handles of a log see.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use durable::disk::Disk;
use tlog::VerifierKey;
use tokio::sync::watch;

use crate::{published::Published, state::State, stored::Stored};

/// What the writer tells and readers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) vkey: RwLock<VerifierKey>,
    pub(crate) stored: Stored,
    /// Leaves that are durable.
    pub(crate) size: watch::Sender<u64>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) state: Mutex<State>,
    pub(crate) erasures: Erasures,
}

/// Who wants to know when envelopes were erased.
#[derive(Default)]
pub(crate) struct Erasures {
    told: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Whether opening the log finished an erasure, of which nobody could be told yet.
    at_start: AtomicBool,
}

impl std::fmt::Debug for Erasures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Erasures").field("at_start", &self.at_start).finish_non_exhaustive()
    }
}

impl Erasures {
    /// That opening the log finishes some.
    pub(crate) fn begin(&self) {
        self.at_start.store(true, Ordering::Relaxed);
    }

    /// Has `forget` called each time envelopes were erased, and at once if opening the log finished
    /// an erasure.
    pub(crate) fn after(&self, forget: impl Fn() + Send + Sync + 'static) {
        // Under the lock, so that an erasure that ends meanwhile is told of, too.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.at_start.load(Ordering::Relaxed) {
            forget();
        }
        told.push(Box::new(forget));
    }

    pub(crate) fn tell(&self) {
        for tell in &*self.told.lock().unwrap_or_else(PoisonError::into_inner) {
            tell();
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }
}
