//! Feeds the index from the log, in order.

use std::{path::Path, time::Duration};

use index::{Entry, IndexError, Indexer};
use ledger::{Ledger, ReadError, StoredEnvelope};
use model::Envelope;
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::DataDir;

/// Bytes of envelopes applied in one transaction. As many are read meanwhile.
const BATCH_BYTES_MAX: usize = 4 << 20;
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
    let mut batch = Batch::default();
    loop {
        indexed.send_replace(indexer.next_leaf());
        let next_leaf = indexer.next_leaf() + batch.envelopes.len() as u64;
        if batch.envelopes.is_empty() {
            if indexer.has_to_forget() && *size.borrow() <= next_leaf {
                indexer = forget(indexer).await?;
            }
            let forgets = indexer.has_to_forget();
            let more = async {
                let more = async { size.wait_for(|size| *size > next_leaf).await.is_ok() };
                if forgets {
                    timeout(FORGET_AGAIN_AFTER, more).await.unwrap_or(true)
                } else {
                    more.await
                }
            };
            if shutdown.run_until_cancelled(more).await != Some(true) {
                return Ok(());
            }
        } else if shutdown.is_cancelled() {
            return Ok(());
        }
        // While one batch is applied, the next is read and parsed.
        let log = ledger.clone();
        let reading = spawn_blocking(move || read(&log, next_leaf));
        let applying = spawn_blocking(move || apply(indexer, batch));
        (indexer, batch) = (applying.await??, reading.await??);
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
        let batch = read(ledger, indexer.next_leaf())?;
        indexer = apply(indexer, batch)?;
    }
    indexer.forget()?;
    Ok(())
}

/// Envelopes that follow each other, and the log's entry of the last.
#[derive(Default)]
struct Batch {
    /// `None` where one was erased.
    envelopes: Vec<Option<Envelope>>,
    last_entry: Entry,
}

fn read(ledger: &Ledger, from: u64) -> Result<Batch, IndexingError> {
    let stored = ledger.envelopes(from, Indexer::BATCH_BEST, BATCH_BYTES_MAX)?;
    let last_entry = match stored.last() {
        Some(last) => entry_of(ledger, last.leaf)?.unwrap_or_default(),
        None => Entry::default(),
    };
    let parsed = |stored: StoredEnvelope| Envelope::parse(&stored.bytes?).ok();
    let envelopes = stored.into_iter().map(parsed).collect();
    Ok(Batch { envelopes, last_entry })
}

/// The log's entry of a leaf, as the index keeps it.
fn entry_of(ledger: &Ledger, leaf: u64) -> Result<Option<Entry>, ReadError> {
    if leaf >= ledger.size() {
        return Ok(None);
    }
    let entries = ledger.entries(leaf, 1)?;
    Ok(entries.first().map(|entry| *entry.as_bytes()))
}

fn apply(mut indexer: Indexer, batch: Batch) -> Result<Indexer, IndexingError> {
    if !batch.envelopes.is_empty() {
        indexer.apply(batch.envelopes, batch.last_entry)?;
    }
    Ok(indexer)
}

async fn forget(mut indexer: Indexer) -> Result<Indexer, IndexingError> {
    let forgetting = spawn_blocking(move || {
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
