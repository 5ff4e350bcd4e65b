//! Feeds the index from the log, in order.

use std::{path::Path, time::Duration};

use index::{Batch, Entry, IndexError, Indexer};
use ledger::{Ledger, ReadError};
use model::Envelope;
use tokio::{
    sync::watch,
    task::JoinError,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::DataDir;

/// Bytes of envelopes that are held until a batch has taken in what it needs of them.
const READ_BYTES_MAX: usize = 1 << 20;
/// How long to wait before trying again to forget what was erased, where a reader was in the way.
const FORGET_AGAIN_AFTER: Duration = Duration::from_secs(10);

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
    let mut ready = Ready::nothing(indexer.next_leaf());
    let mut forget_at = Instant::now();
    loop {
        indexed.send_replace(indexer.next_leaf());
        let next_leaf = ready.batch.next_leaf();
        if ready.batch.is_empty() {
            let is_idle = *size.borrow() <= next_leaf;
            if indexer.has_to_forget() && is_idle && Instant::now() >= forget_at {
                indexer = forget(indexer, ledger.orders().keep()).await?;
                if indexer.has_to_forget() {
                    forget_at = Instant::now() + FORGET_AGAIN_AFTER;
                }
            }
            let forgets = indexer.has_to_forget();
            let more = async {
                let more = async { size.wait_for(|size| *size > next_leaf).await.is_ok() };
                if forgets { timeout_at(forget_at, more).await.unwrap_or(true) } else { more.await }
            };
            if shutdown.run_until_cancelled(more).await != Some(true) {
                return Ok(());
            }
        } else if shutdown.is_cancelled() {
            return Ok(());
        }
        // While one batch is applied, the next is made ready.
        let (log, kept) = (ledger.clone(), ledger.orders().keep());
        let reading = work::blocking((), move || read(&log, next_leaf));
        let applying = work::blocking(kept, move || apply(indexer, ready));
        let (applied, read) = tokio::join!(applying, reading);
        (indexer, ready) = (applied??, read??);
    }
}

/// Opens the index of the log, or begins one.
///
/// # Errors
/// The log cannot be read or SQLite fails.
pub(crate) fn open(path: &Path, ledger: &Ledger) -> Result<Indexer, IndexingError> {
    // A log is known by its first key, whatever key it has gone over to.
    let first_key = ledger.keys().into_iter().next().map_or_else(String::new, |key| key.vkey);
    // Where it cannot be read, the index is made anew, which fails at the same place and says so.
    let entry_of = |leaf| entry_of(ledger, leaf).ok().flatten();
    Ok(Indexer::open(path, &first_key, entry_of)?)
}

/// Brings the index of a log up to date on which no site runs. Blocks.
///
/// # Errors
/// The log cannot be read or SQLite fails.
pub fn catch_up(data_dir: &DataDir, ledger: &Ledger) -> Result<(), IndexingError> {
    let mut indexer = open(&data_dir.index(), ledger)?;
    while indexer.next_leaf() < ledger.size() {
        let ready = read(ledger, indexer.next_leaf())?;
        indexer = apply(indexer, ready)?;
    }
    indexer.forget()?;
    Ok(())
}

/// What is applied next, and the log's entry of its last leaf.
struct Ready {
    batch: Batch,
    last_entry: Entry,
}

impl Ready {
    fn nothing(next_leaf: u64) -> Self {
        Self { batch: Batch::new(next_leaf), last_entry: Entry::default() }
    }
}

fn read(ledger: &Ledger, from: u64) -> Result<Ready, IndexingError> {
    let mut ready = Ready::nothing(from);
    let batch = &mut ready.batch;
    loop {
        let stored = ledger.envelopes(batch.next_leaf(), batch.room(), READ_BYTES_MAX)?;
        if stored.is_empty() {
            break;
        }
        batch.extend(stored.into_iter().map(|stored| Envelope::parse(&stored.bytes?).ok()));
    }
    if let Some(last) = batch.next_leaf().checked_sub(1).filter(|_| !batch.is_empty()) {
        ready.last_entry = entry_of(ledger, last)?.unwrap_or_default();
    }
    Ok(ready)
}

/// The log's entry of a leaf, as the index keeps it.
fn entry_of(ledger: &Ledger, leaf: u64) -> Result<Option<Entry>, ReadError> {
    if leaf >= ledger.size() {
        return Ok(None);
    }
    let entries = ledger.entries(leaf, 1)?;
    Ok(entries.first().map(|entry| *entry.as_bytes()))
}

fn apply(mut indexer: Indexer, ready: Ready) -> Result<Indexer, IndexingError> {
    if !ready.batch.is_empty() {
        indexer.apply(&ready.batch, ready.last_entry)?;
    }
    Ok(indexer)
}

async fn forget(mut indexer: Indexer, kept: work::Kept) -> Result<Indexer, IndexingError> {
    let forgetting = work::blocking(kept, move || {
        if !indexer.forget()? {
            debug!("a reader holds what was erased; it is tried again");
        }
        Ok::<_, IndexError>(indexer)
    });
    Ok(forgetting.await??)
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
