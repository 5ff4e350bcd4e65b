//! Looking at a log's folder, while a site writes it or not: what the newest checkpoint covers, and
//! nothing beyond it.
//!
//! Nothing is written, cut off or locked. What is read is held against the checkpoint: the tree's
//! files lead to the root that it signs, and an envelope hashes to its entry, or the answer is an
//! error. A segment that is written anew meanwhile, because something in it is erased, is read as
//! it was when it was opened: its places are looked up after it, and an erasure removes those
//! before it renames.

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

/// A log as its newest checkpoint has it, for reading only.
#[derive(Debug)]
pub struct LogReader {
    published: Published,
    key_events: Vec<KeyEvent>,
    keys: KeyHistory,
    stored: StoredEnvelopes,
}

impl LogReader {
    /// Looks at the ledger in `folder`. If `vkey` is given, it must have signed the log; otherwise
    /// the key that the genesis entry names is believed.
    ///
    /// # Errors
    /// There is no log, or what lies there does not follow from its checkpoint.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        vkey: Option<&VerifierKey>,
    ) -> Result<Self, OpenReaderError> {
        // The checkpoint first: everything else may only have grown since.
        let checkpoint_path = folder.join(CHECKPOINT);
        let failed = |source| OpenReaderError::Io { path: checkpoint_path.clone(), source };
        let note = read_small(&*disk, &checkpoint_path).map_err(failed)?;
        let note =
            note.ok_or_else(|| OpenReaderError::NoCheckpoint { folder: folder.to_owned() })?;
        let note = String::from_utf8(note).map_err(|error| failed(io::Error::other(error)))?;
        Self::open_under(disk, folder, note, vkey)
    }

    /// The same as an older checkpoint of the log has it, whose note is given.
    ///
    /// # Errors
    /// As [`LogReader::open`]; also where the log never was as the checkpoint says.
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
        // It saves looking for keys. The first one is written behind the first checkpoint.
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
                    // What lies beyond the checkpoint counts for nothing, but says what is wrong.
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
        Ok(Self { published: Published { checkpoint, note }, key_events, keys, stored })
    }

    /// The checkpoint that everything here is covered by.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.published
    }

    /// Leaves that it covers.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.published.checkpoint.size.get()
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

    /// Envelopes from leaf `from` on: as many as there are, up to `count_max` and, after the first,
    /// up to `bytes_max`.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else than was sealed.
    pub fn envelopes(
        &self,
        from: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let end = self.size().min(from.saturating_add(count_max as u64));
        self.stored.envelopes(from, end, bytes_max)
    }

    /// The entries of `count` leaves from `from` on.
    ///
    /// # Errors
    /// A file cannot be read, or the log is not that long.
    pub fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.stored.entries(from, count)
    }

    /// A proof of the leaf; `None` where the checkpoint does not cover it.
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
    /// A file cannot be read, or the log is not that long.
    pub fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.stored.prove_growth(growth)
    }
}

/// The public files of the log, as the log port would serve them.
impl LogSource for LogReader {
    fn checkpoint(&mut self) -> Result<String, String> {
        Ok(self.published.note.clone())
    }

    fn key_events(&mut self) -> Result<Vec<KeyEvent>, String> {
        Ok(self.key_events.clone())
    }

    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String> {
        let tile = self.stored.tile(path, self.published.checkpoint.size);
        tile.map_err(|error| error.to_string())?
            .ok_or_else(|| format!("the checkpoint's tree has no {path}"))
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
    // It may be growing: what lies beyond the checkpoint is not looked at, whole or not.
    let places = scan(&file, first_leaf, size).map_err(failed)?;
    let newest = Arc::new(Segment { first_leaf, file, places: RwLock::new(places) });
    Ok(Envelopes::new(disk, folder.to_owned(), segments, newest))
}

/// The leaves from `from` up to `end` that name a key: those that the state does not speak of yet,
/// which is stored behind the checkpoint.
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

/// Why a log's folder cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum OpenReaderError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// No log, or one that was only just begun.
    #[error("there is no checkpoint in {}: start the site once", folder.display())]
    NoCheckpoint {
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// A checkpoint of nothing.
    #[error("the checkpoint covers no leaf, or is damaged")]
    Empty,
    /// Derived files are missing, or an older sealwire wrote them.
    #[error("the tree's files in {} do not reach the checkpoint: start the site once, it makes them again", folder.display())]
    Behind {
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// The segments are not a log's.
    #[error("the segments are not those of a log")]
    Segments(#[from] OpenError),
    /// Something cannot be read, or is not what was sealed.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// An event that names a key is gone, which no erasure does.
    #[error(
        "leaf {leaf} names a key of the log, and its envelope is gone: restore its segment from a copy"
    )]
    KeyErased {
        /// Which leaf.
        leaf: u64,
    },
    /// The log's keys do not follow from each other.
    #[error("the log's keys do not hold")]
    Keys(#[from] InvalidKeyEvents),
    /// The checkpoint is not signed by the log's key.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The tree is not the one that is signed.
    #[error(
        "the tree's files lead to the root {computed}, the checkpoint signs {signed}: restore them from a copy"
    )]
    Root {
        /// Where they lead.
        computed: Hash,
        /// What is signed.
        signed: Hash,
    },
}
