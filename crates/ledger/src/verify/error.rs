//! The faults that verification can find in a log.

use std::{io, path::PathBuf};

use key_history::{InvalidKeyEvents, InvalidKeys};
use tlog::{Hash, InvalidBundle, InvalidTileLen, OpenCheckpointError, TreeSize};

use crate::{damage::Damage, recover::OpenError, state::InvalidLogEvent};

/// The first fault of a log that verification found.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source cannot provide a public file.
    #[error("{0}")]
    Unavailable(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// The folder does not hold a ledger.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The checkpoint is malformed, or the log's key did not sign it.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] OpenCheckpointError),
    /// A bundle is malformed.
    #[error("{path} is not an entry bundle")]
    Bundle {
        /// Path of the bundle (C2SP tlog-tiles).
        path: String,
        /// The parse error.
        source: InvalidBundle,
    },
    /// The log does not have a file that its checkpoint requires.
    #[error("the log has no {path}, so the whole log cannot be verified")]
    Missing {
        /// Path of the file (C2SP tlog-tiles).
        path: String,
    },
    /// A bundle has another number of entries than its width.
    #[error("{path} has {count} entries, but a bundle of its width has {expected}")]
    EntryCount {
        /// Path of the bundle (C2SP tlog-tiles).
        path: String,
        /// Number of entries in the bundle.
        count: usize,
        /// Number of entries that it must have.
        expected: usize,
    },
    /// A tile does not have the length that its width requires.
    #[error("{path} is not a tile")]
    TileLen {
        /// Path of the tile (C2SP tlog-tiles).
        path: String,
        /// The expected and the actual length.
        source: InvalidTileLen,
    },
    /// An entry does not hash to its leaf hash in the tile.
    #[error("leaf {leaf}: its entry in {bundle} does not hash to the value in {tile}")]
    Leaf {
        /// Index of the leaf in the log.
        leaf: u64,
        /// Path of the bundle with the entry.
        bundle: String,
        /// Path of the tile with the leaf hash.
        tile: String,
    },
    /// A tile does not match the hashes of the tiles below it.
    #[error("{path} does not match the hashes of the tiles below it")]
    Tile {
        /// Path of the tile.
        path: String,
    },
    /// The entries do not lead to the signed root.
    #[error("the {size} entries hash to the root {computed}, but the checkpoint signs {signed}")]
    Root {
        /// Number of leaves that the checkpoint covers.
        size: TreeSize,
        /// The root that the checkpoint signs.
        signed: Hash,
        /// The root that the entries give.
        computed: Hash,
    },
    /// A segment cannot be read.
    #[error("leaf {leaf} in {}: {reason}", path.display())]
    Segment {
        /// Path of the segment.
        path: PathBuf,
        /// First leaf that cannot be read.
        leaf: u64,
        /// What is wrong with the segment.
        reason: Damage,
    },
    /// An envelope does not match its entry in the log.
    #[error("leaf {leaf}: its envelope in {} hashes to {commitment}, but its entry in tree/entries is {entry}", path.display())]
    Envelope {
        /// Path of the segment.
        path: PathBuf,
        /// Leaf of the envelope.
        leaf: u64,
        /// The commitment of the stored envelope.
        commitment: Hash,
        /// The entry in the tree files.
        entry: Hash,
    },
    /// An envelope was erased, and no event below the checkpoint orders the erasure.
    #[error("leaf {leaf}: its envelope was erased, but no event under the checkpoint orders it")]
    ErasedInSilence {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// An event orders the erasure of an envelope that is still there.
    #[error(
        "leaf {leaf}: an event of the log says that its envelope was erased, but it is still there"
    )]
    NotErased {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// An envelope was received before its predecessor.
    #[error("leaf {leaf}: it was received before the previous leaf")]
    ReceivedBefore {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// An event of the log itself has invalid content.
    #[error("an event of the log contradicts the log")]
    LogEvent(#[from] InvalidLogEvent),
    /// The events that name the log's keys are not a valid sequence.
    #[error("the log's keys do not verify")]
    Keys(#[from] InvalidKeyEvents),
    /// The entry of a leaf is not the event that is said to name a key there.
    #[error("leaf {leaf}: its entry is not the event that the log's list of keys names")]
    KeyEvent {
        /// Leaf of the event.
        leaf: u64,
    },
    /// Leaves between two segments are missing.
    #[error("leaf {leaf} is missing: the next segment is {}", path.display())]
    Gap {
        /// First missing leaf.
        leaf: u64,
        /// Path of the segment after the gap.
        path: PathBuf,
    },
    /// The segments end before the size that the checkpoint or the state states.
    #[error("{} holds {envelopes} leaves, but the files beside it have {size}", path.display())]
    EnvelopesMissing {
        /// Folder of the segments.
        path: PathBuf,
        /// Number of leaves in the segments.
        envelopes: u64,
        /// Number of leaves that the segments must have.
        size: u64,
    },
    /// A derived file does not match the segments.
    #[error("{} does not match the segments from leaf {leaf} on", path.display())]
    Derived {
        /// Path of the file.
        path: PathBuf,
        /// First leaf for which the file is wrong.
        leaf: u64,
    },
    /// The state does not match the log.
    #[error("{}: {reason}", path.display())]
    State {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the state.
        reason: &'static str,
    },
    /// The log names no keys, and the verifier knows none.
    #[error(transparent)]
    NoKeys(#[from] NoKeys),
    /// Leaf 0 is not a genesis entry.
    #[error("leaf 0 is not a genesis entry that names the log's key")]
    NoGenesis,
    /// The log belongs to another key than the known one.
    #[error("the log belongs to the key {named}, and the key that you named never signed it")]
    OtherKey {
        /// The verifier key that the log names.
        named: String,
    },
}

/// The log names no keys, and the verifier knows none.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log does not name the keys that signed it, so another program may have written it: name its \
     verifier key"
)]
pub struct NoKeys;

/// Why the newest checkpoint of a log cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The source cannot provide the checkpoint or the keys.
    #[error("{0}")]
    Unavailable(String),
    /// The log names no keys, and the verifier knows none.
    #[error(transparent)]
    NoKeys(#[from] NoKeys),
    /// The keys that the log names do not hold, or the last of them did not sign the checkpoint.
    #[error(transparent)]
    Named(#[from] InvalidKeys),
    /// The known key did not sign the checkpoint, or it is of another log.
    #[error(transparent)]
    Known(#[from] OpenCheckpointError),
}

impl From<OpenLogError> for VerifyError {
    fn from(error: OpenLogError) -> Self {
        match error {
            OpenLogError::Unavailable(words) => Self::Unavailable(words),
            OpenLogError::NoKeys(error) => error.into(),
            OpenLogError::Named(error) => error.into(),
            OpenLogError::Known(error) => error.into(),
        }
    }
}

impl From<InvalidKeys> for VerifyError {
    fn from(error: InvalidKeys) -> Self {
        match error {
            InvalidKeys::Events(error) => Self::Keys(error),
            InvalidKeys::Checkpoint(error) => Self::Checkpoint(error),
        }
    }
}
