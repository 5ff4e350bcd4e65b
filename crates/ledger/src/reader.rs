//! Reads a log's folder, whether or not a site writes it: what the newest checkpoint covers, and
//! nothing beyond it.
//!
//! A reader writes, truncates and locks nothing. It checks everything against the checkpoint: the
//! tree's files must lead to the root that the checkpoint signs, and an envelope must hash to its
//! entry. If not, the call fails. An erasure may rewrite a segment meanwhile. The reader
//! then reads the segment as it was when it opened it: it looks up the places after it opens the
//! segment, and an erasure removes the places before it renames the new segment.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use durable::disk::{Disk, Mode, read_small};
use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};
use model::{Envelope, action};
use tlog::{
    Frontier, Growth, Hash, LeavesInTree, OpenCheckpointError, Rfc6962, TilePath, TlogProof,
    VerifierKey,
};

use crate::{
    block::Leaf,
    envelopes::{Envelopes, Segment, scan},
    layout::{CHECKPOINT, STATE, TREE, segment_path},
    published::Published,
    recover::{OpenError, list_segments},
    state::State,
    stored::{ReadError, StoredEnvelope, StoredEnvelopes},
    tree::TreeReader,
    verify::LogSource,
};

/// A log as a checkpoint describes it, for reading only.
#[derive(Debug)]
pub struct LogReader {
    published: Published,
    key_events: Vec<KeyEvent>,
    keys: KeyHistory,
    stored: StoredEnvelopes,
    state: State,
}

impl LogReader {
    /// Opens the ledger in `folder` under its newest checkpoint. If `vkey` is given, it must have
    /// signed the log; if not, the reader trusts the key that the genesis entry names.
    ///
    /// # Errors
    /// There is no log, or the folder does not match the checkpoint.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        vkey: Option<&VerifierKey>,
    ) -> Result<Self, OpenReaderError> {
        // Read the checkpoint first: everything else can only have grown since.
        let checkpoint_path = folder.join(CHECKPOINT);
        let failed = |source| OpenReaderError::Io { path: checkpoint_path.clone(), source };
        let note = read_small(&*disk, &checkpoint_path).map_err(failed)?;
        let note =
            note.ok_or_else(|| OpenReaderError::NoCheckpoint { folder: folder.to_owned() })?;
        let note = String::from_utf8(note).map_err(|error| failed(io::Error::other(error)))?;
        Self::open_under(disk, folder, note, vkey)
    }

    /// As [`LogReader::open`], under an older checkpoint of the log, given as a signed note.
    ///
    /// # Errors
    /// As [`LogReader::open`]; also if the log never had the tree that the checkpoint signs.
    pub fn open_under(
        disk: Arc<dyn Disk>,
        folder: &Path,
        note: String,
        vkey: Option<&VerifierKey>,
    ) -> Result<Self, OpenReaderError> {
        let failed = |path: PathBuf| move |source| OpenReaderError::Io { path, source };
        let state = State::load(&*disk, folder).map_err(failed(folder.join(STATE)))?;
        let tree_folder = folder.join(TREE);
        let tree = TreeReader::open(&*disk, &tree_folder, Mode::Read)
            .map_err(failed(tree_folder.clone()))?;
        let size = KeyHistory::claimed_size(&note);
        let is_covered = tree.covers(size).map_err(failed(tree_folder))?;
        if !is_covered {
            return Err(OpenReaderError::Behind { folder: folder.to_owned() });
        }
        // The state saves a search for keys. A new log writes it after its first checkpoint, so it
        // may be missing.
        let state = state.unwrap_or_default();

        let stored = StoredEnvelopes { tree, envelopes: open_envelopes(disk, folder, size)? };
        let named = state.keys().iter().map(|key| key.leaf).filter(|leaf| *leaf < size);
        let key_events = named
            .chain(rotations(&stored, state.size, size)?)
            .map(|leaf| key_event(&stored, leaf))
            .collect::<Result<Vec<_>, OpenReaderError>>()?;
        let (keys, checkpoint) =
            KeyHistory::under(&note, &key_events, vkey).map_err(|error| match error {
                InvalidKeys::Events(InvalidKeyEvents::Unknown { vkey }) => {
                    // A key beyond the checkpoint vouches for nothing, but it explains the error.
                    let later =
                        state.keys().iter().find(|key| key.leaf >= size && key.vkey == vkey);
                    OpenReaderError::Keys(match later {
                        Some(key) => InvalidKeyEvents::NotYet { vkey, leaf: key.leaf, size },
                        None => InvalidKeyEvents::Unknown { vkey },
                    })
                }
                InvalidKeys::Events(error) => error.into(),
                InvalidKeys::Checkpoint(error) => error.into(),
            })?;
        let subtrees = stored.tree.subtrees::<Rfc6962>(checkpoint.size);
        let computed = Frontier::<Rfc6962>::load_subtrees(checkpoint.size, subtrees);
        let computed = computed.map_err(ReadError::Tree)?.root();
        if computed != checkpoint.root {
            return Err(OpenReaderError::Root { computed, signed: checkpoint.root });
        }
        Ok(Self { published: Published { checkpoint, note }, key_events, keys, stored, state })
    }

    /// The checkpoint that covers everything that this reader returns.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.published
    }

    /// Number of leaves that the checkpoint covers.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.published.checkpoint.size.get()
    }

    /// The first leaf that the consumer of this name had not processed when the state was last
    /// written. No signature covers it.
    #[must_use]
    pub fn cursor(&self, name: &str) -> u64 {
        self.state.cursor(name)
    }

    /// The events that name the log's keys.
    #[must_use]
    pub fn key_events(&self) -> &[KeyEvent] {
        &self.key_events
    }

    /// The keys that have signed the log.
    #[must_use]
    pub const fn keys(&self) -> &KeyHistory {
        &self.keys
    }

    /// Envelopes from leaf `from` on: as many as the checkpoint covers, up to `count_max`, and
    /// after the first one up to `bytes_max` bytes.
    ///
    /// # Errors
    /// A file cannot be read, or its content is not what was sealed.
    pub fn envelopes(
        &self,
        from: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let end = self.size().min(from.saturating_add(count_max as u64));
        self.stored.envelopes(from, end, bytes_max)
    }

    /// The log's entries of `count` leaves from `from` on.
    ///
    /// # Errors
    /// A file cannot be read, or the log is shorter than that.
    pub fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.stored.entries(from, count)
    }

    /// A proof of the leaf, or `None` if the checkpoint does not cover it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn prove(&self, leaf: u64) -> Result<Option<TlogProof>, ReadError> {
        self.stored.prove(leaf, &self.published)
    }

    /// A proof of several leaves of the checkpoint's tree at once.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn prove_all(&self, leaves: &LeavesInTree) -> Result<Vec<Hash>, ReadError> {
        self.stored.prove_all(leaves)
    }

    /// The proof that a later tree extends an earlier one.
    ///
    /// # Errors
    /// A file cannot be read, or the log is shorter than the later tree.
    pub fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.stored.prove_growth(growth)
    }
}

/// Serves the public files of the log as the log port does.
impl LogSource for LogReader {
    fn checkpoint(&self) -> Result<String, String> {
        Ok(self.published.note.clone())
    }

    fn key_events(&self) -> Result<Option<Vec<KeyEvent>>, String> {
        Ok(Some(self.key_events.clone()))
    }

    fn file(&self, path: TilePath) -> Result<Option<impl AsRef<[u8]>>, String> {
        let tile = self.stored.tile(&path, self.published.checkpoint.size);
        tile.map_err(|error| error.to_string())
    }
}

/// The envelopes of the first `size` leaves.
fn open_envelopes(
    disk: Arc<dyn Disk>,
    folder: &Path,
    size: u64,
) -> Result<Envelopes, OpenReaderError> {
    let mut segments = list_segments(&*disk, folder)?;
    segments.retain(|first_leaf| *first_leaf < size);
    let first_leaf = segments.last().copied().ok_or(OpenReaderError::Empty)?;
    let path = segment_path(folder, first_leaf);
    let failed = |source| OpenReaderError::Io { path: path.clone(), source };
    let file = disk.open(&path, Mode::Read).map_err(failed)?;
    // The segment may be growing. The scan ignores everything beyond the checkpoint, whole or not.
    let places = scan(&file, first_leaf, size).map_err(failed)?;
    let newest = Arc::new(Segment { first_leaf, file, places: RwLock::new(places) });
    Ok(Envelopes::new(disk, folder.to_owned(), segments, newest))
}

/// The leaves from `from` up to `end` that name a key. They are leaves that the state does not
/// cover yet, because the log stores the state after the checkpoint.
fn rotations(stored: &StoredEnvelopes, from: u64, end: u64) -> Result<Vec<u64>, OpenReaderError> {
    let mut rotations = Vec::new();
    let read = stored.envelopes.read(from, end, |leaf, content| {
        if let Leaf::Envelope(envelope) = content
            && (leaf == 0 || Envelope::has_action(envelope, action::KEY_ROTATED))
        {
            rotations.push(leaf);
        }
        true
    });
    read.map_err(|source| ReadError::Envelope { leaf: from, source })?;
    Ok(rotations)
}

fn key_event(stored: &StoredEnvelopes, leaf: u64) -> Result<KeyEvent, OpenReaderError> {
    let envelope = stored.envelopes(leaf, leaf + 1, usize::MAX)?.pop();
    let envelope = envelope.and_then(|stored| stored.bytes);
    Ok(KeyEvent { leaf, envelope: envelope.ok_or(OpenReaderError::KeyErased { leaf })? })
}

/// Why a log's folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenReaderError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// The folder holds no log, or a log without a first checkpoint.
    #[error("there is no checkpoint in {}: start the site once", folder.display())]
    NoCheckpoint {
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// The checkpoint covers no leaf.
    #[error("the checkpoint covers no leaf, or is damaged")]
    Empty,
    /// Derived files are missing, or an older version of Sealwire wrote them.
    #[error("the tree files in {} have fewer leaves than the checkpoint: start the site once to rebuild them", folder.display())]
    Behind {
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// The files in the folder are not the segments of one log.
    #[error("the segments do not form a log")]
    Segments(#[from] OpenError),
    /// A file cannot be read, or its content is not what was sealed.
    #[error("cannot read the log")]
    Read(#[from] ReadError),
    /// An event that names a key is missing, which no erasure can cause.
    #[error(
        "leaf {leaf} names a key of the log, but its envelope is missing: restore its segment from a copy"
    )]
    KeyErased {
        /// Leaf of the event.
        leaf: u64,
    },
    /// The events that name the log's keys are not a valid sequence.
    #[error("the log's keys do not verify")]
    Keys(#[from] InvalidKeyEvents),
    /// The key of the log did not sign the checkpoint.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The tree's files do not lead to the root that the checkpoint signs.
    #[error(
        "the tree files have the root {computed}, but the checkpoint signs {signed}: restore them from a copy"
    )]
    Root {
        /// The root that the files lead to.
        computed: Hash,
        /// The root that the checkpoint signs.
        signed: Hash,
    },
}
