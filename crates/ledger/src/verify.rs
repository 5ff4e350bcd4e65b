//! Verifies a log from the outside: computes everything again and believes nothing but a key.
//!
//! [`verify_tree`] is for anyone who can read a log's public files over HTTP; [`verify_folder`] is for whoever has the data directory, and holds the envelopes
//! in the segments against everything else there. Both stop at the first thing that is wrong and name it. [`verify_growth`] compares a log with what it once
//! signed.

mod folder;
mod growth;

use std::{io, path::PathBuf};

use tlog::{
    BundleId, Checkpoint, EntryBundle, Frontier, Hash, InvalidBundle, InvalidTileLen,
    OpenCheckpointError, TileId, TileLevel, TilePath, TreeSize, VerifierKey, decode_hashes,
    root_of,
};

use crate::{damage::Damage, recover::OpenError, state::InvalidLogEvent};

pub use self::{
    folder::{Observer, VerifiedFolder, verify_folder, verify_folder_with},
    growth::{Grown, GrowthError, verify_growth},
};
pub use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};

/// Where a log's public files are read from.
pub trait LogSource {
    /// The newest checkpoint, a signed note.
    ///
    /// # Errors
    /// It cannot be had; the text says from where and why.
    fn checkpoint(&mut self) -> Result<String, String>;

    /// The events that name the log's keys, at least those that the checkpoint covers. It is asked for
    /// after the checkpoint.
    ///
    /// # Errors
    /// They cannot be had; the text says from where and why.
    fn key_events(&mut self) -> Result<Vec<KeyEvent>, String>;

    /// A tile or an entry bundle.
    ///
    /// # Errors
    /// It cannot be had; the text says from where and why.
    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String>;
}

/// What was found right.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The checkpoint that everything led to.
    pub checkpoint: Checkpoint,
    /// Its note, with whatever signatures it has.
    pub note: String,
    /// The keys that have signed the log up to there.
    pub keys: KeyHistory,
    /// Tiles and entry bundles that were compared.
    pub files: u64,
}

/// Computes the tree from the log's entries and compares every tile, the root and the signature. `progress` is told how many leaves are done.
///
/// If `known` is given, it must be among the keys that the checkpoint's leaves name; otherwise the key that the genesis entry names is believed. The
/// entries must hold the events that name keys.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_tree(
    source: &mut impl LogSource,
    known: Option<&VerifierKey>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, VerifyError> {
    let note = source.checkpoint().map_err(VerifyError::Unavailable)?;
    let events = source.key_events().map_err(VerifyError::Unavailable)?;
    let (keys, checkpoint) = KeyHistory::under(&note, &events, known)?;
    let size = checkpoint.size;
    let mut frontier = Frontier::new();
    let mut files = 0;
    // Of each level, the hashes that the level below gives.
    let mut level_hashes = Vec::new();
    for bundle in size.bundles() {
        let leaf_hashes = check_bundle(source, bundle, &keys)?;
        for leaf_hash in &leaf_hashes {
            frontier.append(*leaf_hash);
        }
        files += 2;
        if leaf_hashes.len() == 256 {
            level_hashes.push(root_of(&leaf_hashes));
        }
        progress(frontier.size().get());
    }
    if frontier.root() != checkpoint.root {
        return Err(VerifyError::Root { size, signed: checkpoint.root, computed: frontier.root() });
    }
    for tile in size.tiles().filter(|tile| tile.level > TileLevel::LEAVES) {
        if tile.index == 0 && tile.level.get() > 1 {
            level_hashes =
                level_hashes.as_chunks::<256>().0.iter().map(|hashes| root_of(hashes)).collect();
        }
        let stored = read_tile(source, tile)?;
        let begin = usize::try_from(tile.index * 256).unwrap_or(usize::MAX);
        let computed = level_hashes.get(begin..begin.saturating_add(stored.len()));
        if computed != Some(stored.as_slice()) {
            return Err(VerifyError::Tile { path: TilePath::Hashes(tile).to_string() });
        }
        files += 1;
    }
    Ok(Verified { checkpoint, note, keys, files })
}

/// The leaf hashes of a bundle, compared with the tile of level 0.
fn check_bundle(
    source: &mut impl LogSource,
    bundle: BundleId,
    keys: &KeyHistory,
) -> Result<Vec<Hash>, VerifyError> {
    let path = TilePath::Entries(bundle);
    let bytes = source.file(&path).map_err(VerifyError::Unavailable)?;
    let malformed = |source| VerifyError::Bundle { path: path.to_string(), source };
    let entries = EntryBundle::decode(&bytes).map_err(malformed)?;
    let computed = entries.leaf_hashes();
    let tile = TileId { level: TileLevel::LEAVES, index: bundle.index, width: bundle.width };
    let stored = read_tile(source, tile)?;
    if computed.len() != stored.len() {
        return Err(VerifyError::Tile { path: path.to_string() });
    }
    for (leaf, (computed, stored)) in (bundle.index * 256..).zip(computed.iter().zip(&stored)) {
        if computed != stored {
            let tile = TilePath::Hashes(tile).to_string();
            return Err(VerifyError::Leaf { leaf, bundle: path.to_string(), tile });
        }
        if let Some(commitment) = keys.commitment(leaf)
            && tlog::leaf_hash(commitment.as_bytes()) != *computed
        {
            return Err(VerifyError::KeyEvent { leaf });
        }
    }
    Ok(computed)
}

fn read_tile(source: &mut impl LogSource, tile: TileId) -> Result<Vec<Hash>, VerifyError> {
    let path = TilePath::Hashes(tile);
    let bytes = source.file(&path).map_err(VerifyError::Unavailable)?;
    decode_hashes(tile.width, &bytes)
        .map_err(|source| VerifyError::TileLen { path: path.to_string(), source })
}

impl From<InvalidKeys> for VerifyError {
    fn from(error: InvalidKeys) -> Self {
        match error {
            InvalidKeys::Events(error) => Self::Keys(error),
            InvalidKeys::Checkpoint(error) => Self::Checkpoint(error),
        }
    }
}

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
