//! The handle to a log: append, read, prove. Cheap to clone; everything it answers is durable.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use model::Event;
use tlog::{
    BundleId, Checkpoint, LeafIndex, SignedNote, Signer, TileId, TilePath, TlogProof, VerifierKey,
    inclusion_proof,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    AppendError, Cursor, OpenError, Writer,
    cursors::Cursors,
    recover, segment,
    tree_files::{TileError, TreeReader},
    writer::Command,
};

/// Batches that wait for the writer. When it is full, whoever appends waits: nothing is dropped.
const QUEUE_BATCHES_MAX: usize = 256;

/// What is appended as one: all of it becomes durable, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events to seal, at most [`Batch::EVENTS_MAX`].
    pub events: Vec<Event>,
    /// A cursor that moves with them.
    pub cursor: Option<Cursor>,
}

impl Batch {
    /// Most events in one batch.
    pub const EVENTS_MAX: usize = 1_000;

    /// A batch of events alone.
    #[must_use]
    pub const fn of(events: Vec<Event>) -> Self {
        Self { events, cursor: None }
    }
}

/// What an append promises: these leaves are durable, follow each other, and never hold anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The leaf of the batch's first event.
    pub first_leaf: u64,
    /// Number of leaves.
    pub leaves: u64,
}

/// A checkpoint that was made durable and may be shown to anyone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
}

/// An envelope as it lies in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEnvelope {
    /// Which leaf.
    pub leaf: u64,
    /// Canonical JSON.
    pub bytes: Vec<u8>,
}

/// A log that is open.
#[derive(Clone, Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What the writer tells and readers see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) vkey: VerifierKey,
    pub(crate) tree: TreeReader,
    /// First leaves of the segments, in order.
    pub(crate) segments: RwLock<Vec<u64>>,
    /// Leaves that are durable.
    pub(crate) size: watch::Sender<u64>,
    pub(crate) published: watch::Sender<Arc<Published>>,
    pub(crate) cursors: Mutex<Cursors>,
}

impl Ledger {
    /// Opens the log in `folder`, or begins one, and starts its writer. Blocks while it recovers.
    ///
    /// # Errors
    /// What is in the folder is not a log of this key, or is damaged beyond what a crash can do; nothing is changed then.
    pub fn open(folder: &Path, signer: Signer) -> Result<(Self, Writer), OpenError> {
        let recovered = recover::open(folder, &signer)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            vkey: signer.vkey().clone(),
            tree: recovered.tree.reader().clone(),
            segments: RwLock::new(recovered.segments.clone()),
            size: watch::Sender::new(recovered.tree.size()),
            published: watch::Sender::new(Arc::new(recovered.published.clone())),
            cursors: Mutex::new(recovered.cursors.clone()),
        });
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES_MAX);
        let writer =
            Writer::start(recovered, signer, Arc::clone(&shared), queue, commands.clone())?;
        Ok((Self { commands, shared }, writer))
    }

    /// The key that signs this log.
    #[must_use]
    pub fn vkey(&self) -> &VerifierKey {
        &self.shared.vkey
    }

    /// Seals a batch. `Ok` promises what [`Receipt`] says. Cancelling leaves open whether the batch was sealed.
    ///
    /// # Errors
    /// The batch is refused whole, or could not be written.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        if batch.events.len() > Batch::EVENTS_MAX {
            return Err(AppendError::TooMany { events: batch.events.len() });
        }
        self.ask(|reply| Command::Append { batch, reply }).await?
    }

    /// Publishes a checkpoint over everything that is durable, unless there is one.
    ///
    /// # Errors
    /// The writer has stopped.
    pub async fn publish_checkpoint(&self) -> Result<Arc<Published>, AppendError> {
        self.ask(|reply| Command::Publish { reply }).await
    }

    async fn ask<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| AppendError::Stopped)?;
        answer.await.map_err(|_closed| AppendError::Stopped)
    }

    /// The number of durable leaves, now and as it grows.
    #[must_use]
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }

    /// The number of durable leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        *self.shared.size.borrow()
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.shared.published.borrow())
    }

    /// The first leaf that the consumer of this name has not dealt with.
    #[must_use]
    pub fn cursor(&self, name: &str) -> u64 {
        self.shared.cursors.lock().unwrap_or_else(PoisonError::into_inner).get(name)
    }

    /// Durable envelopes from leaf `from` on: as many as there are, up to `count_max` and, after the first, up to `bytes_max`. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn envelopes(
        &self,
        from: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let end = self.size().min(from.saturating_add(count_max as u64));
        let mut envelopes = Vec::new();
        let mut bytes_left = bytes_max;
        let mut open: Option<(u64, File)> = None;
        for leaf in from..end {
            let failed = |source| ReadError::Envelope { leaf, source };
            let place = self.shared.tree.place(leaf).map_err(failed)?;
            let len = place.len as usize;
            if len > bytes_left && !envelopes.is_empty() {
                break;
            }
            let first_leaf = self.segment_of(leaf);
            let file = match open.take() {
                Some((open_first, file)) if open_first == first_leaf => file,
                _ => File::open(
                    self.shared.folder.join(recover::SEGMENTS).join(segment::file_name(first_leaf)),
                )
                .map_err(failed)?,
            };
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, u64::from(place.begin)).map_err(failed)?;
            open = Some((first_leaf, file));
            bytes_left = bytes_left.saturating_sub(len);
            envelopes.push(StoredEnvelope { leaf, bytes });
        }
        Ok(envelopes)
    }

    fn segment_of(&self, leaf: u64) -> u64 {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let position = segment::position_of(&segments, leaf).unwrap_or_default();
        segments.get(position).copied().unwrap_or_default()
    }

    /// A tile or an entry bundle, if the newest checkpoint's tree has it. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, ReadError> {
        let size = self.published().checkpoint.size;
        let there = match *path {
            TilePath::Hashes(TileId { level, index, width }) => TileId::in_tree(level, index, size)
                .is_some_and(|whole| width.count() <= whole.width.count()),
            TilePath::Entries(BundleId { index, width }) => BundleId::in_tree(index, size)
                .is_some_and(|whole| width.count() <= whole.width.count()),
        };
        there.then(|| self.shared.tree.serve(path).map_err(ReadError::Tile)).transpose()
    }

    /// A proof of the leaf under the newest checkpoint, if that covers it. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn prove(&self, leaf: u64) -> Result<Option<TlogProof>, ReadError> {
        let published = self.published();
        let index = LeafIndex::new(leaf);
        let Ok(leaf) = published.checkpoint.size.leaf(index) else {
            return Ok(None);
        };
        let hashes =
            inclusion_proof(leaf, |tile| self.shared.tree.tile(tile)).map_err(ReadError::Tile)?;
        let checkpoint = SignedNote::parse(&published.note).expect("we signed this note ourselves");
        Ok(Some(TlogProof { index, hashes, checkpoint, extra: None }))
    }
}

/// Why something durable cannot be read: the disk fails, or a file was changed under us.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// An envelope.
    #[error("the envelope of leaf {leaf} cannot be read")]
    Envelope {
        /// Which leaf.
        leaf: u64,
        /// What failed.
        source: io::Error,
    },
    /// A tile.
    #[error("a tile cannot be read")]
    Tile(#[source] TileError),
}
