//! What the writer's thread tells, and all handles of a log see.
//!
//! The sealer alone changes what is here, except for the functions in [`Erasures`] and the segments
//! that `Envelopes` knows. So what the sealer reads under a lock cannot change before it writes.
//!
//! No lock here is held while the disk works or across an `await`, and no two are held at once. The
//! one exception is the lock on the functions in [`Erasures`].

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

use crate::{published::Published, state::State, stored::StoredEnvelopes};

/// What the writer tells and readers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    /// `Sealer::rotate` sets it, after the event that names the key is durable. The lock is held to
    /// copy a key.
    pub(crate) vkey: RwLock<VerifierKey>,
    /// The sealer appends to its files while readers read them. Readers read only what `size`
    /// covers, which stays as it is, except for what is erased.
    pub(crate) stored: StoredEnvelopes,
    /// Leaves that are durable.
    ///
    /// `Sealer::show` sets it, last of all: a reader that sees a size finds the envelopes, the
    /// entries and the state of that size.
    pub(crate) size: watch::Sender<u64>,
    /// `Sealer::publish` sets it, after the files `checkpoint` and `state` are replaced: a
    /// checkpoint that anyone sees survives a crash.
    pub(crate) published: watch::Sender<Arc<Published>>,
    /// `Sealer::show` brings it up to a group that is durable, and `Sealer::erased` notes what
    /// segments show. The lock is held to copy, read, encode or set it.
    pub(crate) state: Mutex<State>,
    /// `Ledger::after_erasing` adds to it, and each erasure calls what is in it.
    pub(crate) erasures: Erasures,
}

/// Who wants to know when envelopes were erased.
#[derive(Default)]
pub(crate) struct Erasures {
    /// The lock is held while these functions run. They may wait for the disk and take other locks
    /// of this crate, but must not call [`Erasures::after`]. So each function is called for every
    /// erasure that ends after the function was added.
    told: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Whether opening the log finished an erasure, of which nobody could be told yet.
    /// `Sealer::new` sets it, before there is a handle.
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
