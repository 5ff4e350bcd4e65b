//! What can be wrong with a log.

use std::{io, path::PathBuf};

use key_history::{InvalidKeyEvents, InvalidKeys};
use tlog::{Hash, InvalidBundle, InvalidTileLen, OpenCheckpointError, TreeSize};

use crate::{damage::Damage, recover::OpenError, state::InvalidLogEvent};

/// The first thing that is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A public file cannot be had.
    #[error("{0}")]
    Unavailable(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The ledger's folder is not one.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The checkpoint is not signed by the key, or is malformed.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] OpenCheckpointError),
    /// A bundle is malformed.
    #[error("{path} is not an entry bundle")]
    Bundle {
        /// Which.
        path: String,
        /// Why not.
        source: InvalidBundle,
    },
    /// A tile has a wrong length.
    #[error("{path} is not a tile")]
    TileLen {
        /// Which.
        path: String,
        /// Why not.
        source: InvalidTileLen,
    },
    /// An entry and its leaf hash differ.
    #[error("leaf {leaf}: its entry in {bundle} does not hash to what {tile} holds")]
    Leaf {
        /// Which leaf.
        leaf: u64,
        /// The bundle with the entry.
        bundle: String,
        /// The tile with the hash.
        tile: String,
    },
    /// A tile is not what the tiles below give.
    #[error("{path} is not what the tiles below it hash to")]
    Tile {
        /// Which.
        path: String,
    },
    /// The entries do not lead to the signed root.
    #[error("the {size} entries lead to the root {computed}, the checkpoint signs {signed}")]
    Root {
        /// Leaves it covers.
        size: TreeSize,
        /// What is signed.
        signed: Hash,
        /// What was computed.
        computed: Hash,
    },
    /// A segment cannot be read.
    #[error("leaf {leaf} in {}: {reason}", path.display())]
    Segment {
        /// The segment.
        path: PathBuf,
        /// The first leaf that cannot be.
        leaf: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// An envelope is not what was sealed.
    #[error("leaf {leaf}: its envelope in {} hashes to {commitment}, its entry in tree/entries is {entry}", path.display())]
    Envelope {
        /// The segment.
        path: PathBuf,
        /// Which leaf.
        leaf: u64,
        /// What its bytes give.
        commitment: Hash,
        /// What was sealed.
        entry: Hash,
    },
    /// An envelope is gone without a word.
    #[error("leaf {leaf}: its envelope was erased, and no event below the checkpoint orders that")]
    ErasedInSilence {
        /// Which leaf.
        leaf: u64,
    },
    /// An envelope that should be gone.
    #[error("leaf {leaf}: an event of the log says that its envelope was erased, and it is there")]
    NotErased {
        /// Which leaf.
        leaf: u64,
    },
    /// Time went back.
    #[error("leaf {leaf}: it was received before the leaf in front of it")]
    ReceivedBefore {
        /// Which leaf.
        leaf: u64,
    },
    /// An event of the log itself cannot be.
    #[error("the log says what it cannot be")]
    LogEvent(#[from] InvalidLogEvent),
    /// The keys that a log names do not follow from each other.
    #[error("the log's keys do not hold")]
    Keys(#[from] InvalidKeyEvents),
    /// A key's event is not in the log.
    #[error("leaf {leaf}: its entry is not the event that is said to name a key there")]
    KeyEvent {
        /// Which leaf.
        leaf: u64,
    },
    /// A segment is missing.
    #[error("leaf {leaf} is missing: the next segment there is {}", path.display())]
    Gap {
        /// The first one missing.
        leaf: u64,
        /// What follows.
        path: PathBuf,
    },
    /// Envelopes are missing at the end.
    #[error("{} holds {envelopes} leaves, and what lies beside it speaks of {size}", path.display())]
    EnvelopesMissing {
        /// The segments' folder.
        path: PathBuf,
        /// Those there are.
        envelopes: u64,
        /// Those there must be.
        size: u64,
    },
    /// A derived file is not what follows from the segments.
    #[error("{} does not hold what the segments say, from leaf {leaf} on", path.display())]
    Derived {
        /// The file.
        path: PathBuf,
        /// The first leaf it is wrong about.
        leaf: u64,
    },
    /// The state does not follow from the log.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The first entry is not a genesis entry.
    #[error("leaf 0 is not a genesis entry that names the log's key")]
    NoGenesis,
    /// The log is another key's.
    #[error("the log is of the key {named}, and the one you named never signed it")]
    OtherKey {
        /// Whose it is.
        named: String,
    },
}

impl From<InvalidKeys> for VerifyError {
    fn from(error: InvalidKeys) -> Self {
        match error {
            InvalidKeys::Events(error) => Self::Keys(error),
            InvalidKeys::Checkpoint(error) => Self::Checkpoint(error),
        }
    }
}
