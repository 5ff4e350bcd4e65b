//! What the writer's thread publishes and every handle of a log sees.
//!
//! Only the sealer changes what is here, except for the functions in [`Erasures`] and the segments
//! that `Envelopes` knows. So a value that the sealer reads under a lock cannot change before the
//! sealer writes it.
//!
//! Nobody holds a lock of this module while the disk works or across an `await`, and nobody holds
//! two at once. The one exception is the lock on the functions in [`Erasures`].

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

use crate::{commits::Commits, published::Published, state::State, stored::StoredEnvelopes};

/// What the writer publishes and readers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    /// `Sealer::rotate` sets it after the event that names the key is durable. A holder of the lock
    /// only copies a key.
    pub(crate) vkey: RwLock<VerifierKey>,
    /// The sealer appends to these files while readers read them. Readers read only what `size`
    /// covers, and only an erasure changes that.
    pub(crate) stored: StoredEnvelopes,
    /// Number of durable leaves.
    ///
    /// `Sealer::show` sets it last of all: a reader that sees a size finds the envelopes, the
    /// entries and the state of that size.
    pub(crate) size: watch::Sender<u64>,
    /// `Sealer::publish` sets it after it has replaced the files `checkpoint` and `state`: a
    /// checkpoint that anyone sees survives a crash.
    pub(crate) published: watch::Sender<Arc<Published>>,
    /// `Sealer::show` brings it up to a durable group, and `Sealer::erased` notes which erasures
    /// the segments show. A holder of the lock only copies, reads, encodes or sets it.
    pub(crate) state: Mutex<State>,
    /// `Sealer::write` counts each group once it is durable.
    pub(crate) commits: Commits,
    /// `Ledger::after_erasing` adds a function, and each erasure calls all of them.
    pub(crate) erasures: Erasures,
}

/// The functions to call after envelopes were erased.
#[derive(Default)]
pub(crate) struct Erasures {
    /// `tell` holds the lock while these functions run. They may wait for the disk and take other
    /// locks of this crate, but must not call [`Erasures::after`]. So every erasure that ends after
    /// a function was added calls that function.
    told: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Whether opening the log finished an erasure, when no function could be called yet.
    /// `Sealer::new` sets it before any handle exists.
    at_start: AtomicBool,
}

impl std::fmt::Debug for Erasures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Erasures").field("at_start", &self.at_start).finish_non_exhaustive()
    }
}

impl Erasures {
    /// Notes that opening the log finishes an erasure.
    pub(crate) fn begin(&self) {
        self.at_start.store(true, Ordering::Relaxed);
    }

    /// Calls `forget` after each erasure, and at once if opening the log finished an erasure.
    pub(crate) fn after(&self, forget: impl Fn() + Send + Sync + 'static) {
        // Under the lock, so an erasure that ends at the same time calls `forget` too.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.at_start.load(Ordering::Relaxed) {
            forget();
        }
        told.push(Box::new(forget));
    }

    /// Calls every function that was added. Blocks as long as they block.
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
