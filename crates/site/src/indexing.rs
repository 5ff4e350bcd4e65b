//! Feeds the index from the log, in order.

use index::{IndexError, Indexer};
use ledger::{Ledger, ReadError};
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

/// Envelopes applied in one transaction.
const BATCH_MAX: usize = 1_000;
/// Bytes of envelopes held at once.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Indexes until `shutdown`. `indexed` holds the first leaf that was not applied.
///
/// # Errors
/// The log cannot be read or SQLite fails.
pub(crate) async fn run(
    ledger: Ledger,
    mut indexer: Indexer,
    indexed: watch::Sender<u64>,
    shutdown: CancellationToken,
) -> Result<(), IndexingError> {
    let mut size = ledger.watch_size();
    loop {
        let next_leaf = indexer.next_leaf();
        indexed.send_replace(next_leaf);
        let more = async { size.wait_for(|size| *size > next_leaf).await.is_ok() };
        if shutdown.run_until_cancelled(more).await != Some(true) {
            return Ok(());
        }
        let log = ledger.clone();
        indexer = spawn_blocking(move || apply(&log, indexer)).await??;
    }
}

fn apply(ledger: &Ledger, mut indexer: Indexer) -> Result<Indexer, IndexingError> {
    let envelopes = ledger.envelopes(indexer.next_leaf(), BATCH_MAX, BATCH_BYTES_MAX)?;
    indexer.apply(envelopes.iter().map(|envelope| envelope.bytes.as_deref()))?;
    Ok(indexer)
}

/// Why indexing stopped.
#[derive(Debug, thiserror::Error)]
pub enum IndexingError {
    /// The log cannot be read.
    #[error("the log cannot be indexed")]
    Read(#[from] ReadError),
    /// SQLite fails.
    #[error("the log cannot be indexed")]
    Index(#[from] IndexError),
    /// A bug.
    #[error("the indexer panicked")]
    Panicked(#[from] JoinError),
}
