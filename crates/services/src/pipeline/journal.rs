//! The log as the pipeline uses it: leaves to read, and a place for what was derived from them.

use std::sync::Arc;

use ledger::{AppendError, Batch, Ledger, LogReader, ReadError};
use model::Event;
use tokio::sync::{mpsc, watch};

use crate::log_reading::{Content, read, read_leaves};

/// Leaves that are read at once.
pub(super) const READ_MAX: usize = 1_000;
/// Bytes of envelopes that are read at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// A log with a cursor for each component. Cheap to clone.
pub(super) trait Journal: Clone + Send + Sync + 'static {
    /// The first leaf for which the component with this cursor has no sealed verdict.
    fn cursor(&self, name: &str) -> u64;
    /// Receives the number of leaves.
    fn watch_size(&self) -> watch::Receiver<u64>;
    /// Some leaves from this one on. Blocks on the disk.
    fn leaves(&self, from: u64) -> Result<Vec<Content>, ReadError>;
    /// Takes derived events, with the cursor that goes with them.
    fn append(&self, batch: Batch) -> impl Future<Output = Result<(), AppendError>> + Send;
}

impl Journal for Ledger {
    fn cursor(&self, name: &str) -> u64 {
        Self::cursor(self, name)
    }

    fn watch_size(&self) -> watch::Receiver<u64> {
        Self::watch_size(self)
    }

    fn leaves(&self, from: u64) -> Result<Vec<Content>, ReadError> {
        read_leaves(self, from, READ_MAX, READ_BYTES_MAX)
    }

    async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        Self::append(self, batch).await.map(drop)
    }
}

/// A part of a log that is only read.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) log: Arc<LogReader>,
    pub(super) from: u64,
    /// The end of the part. It never changes.
    pub(super) size: watch::Sender<u64>,
    /// Receives what would be sealed.
    pub(super) derived: mpsc::Sender<Vec<Event>>,
}

impl Journal for Recorded {
    fn cursor(&self, _name: &str) -> u64 {
        self.from
    }

    fn watch_size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    fn leaves(&self, from: u64) -> Result<Vec<Content>, ReadError> {
        let left = self.size.borrow().saturating_sub(from);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(READ_MAX);
        read(count, |count| self.log.envelopes(from, count, READ_BYTES_MAX))
    }

    async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        if batch.events.is_empty() {
            return Ok(());
        }
        self.derived.send(batch.events).await.map_err(|_gone| AppendError::Stopped)
    }
}
