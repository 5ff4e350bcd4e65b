//! Verifies a log from the outside: computes everything again and believes nothing but the key.
//!
//! [`verify_tree`] is for anyone who can read a log's public files, over HTTP or from a folder; [`verify_folder`] also holds the envelopes in the segments
//! against the entries. Both stop at the first thing that is wrong and name it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use model::Envelope;
use tlog::{
    BundleId, Checkpoint, EntryBundle, Frontier, Hash, InvalidBundle, InvalidTileLen,
    OpenCheckpointError, ParseKeyError, SignedNote, TileId, TileLevel, TilePath, TreeSize,
    VerifierKey, decode_hashes, root_of,
};

use crate::{
    OpenError,
    cursors::Cursors,
    recover::{CHECKPOINT, SEGMENTS, TREE, list_segments},
    segment::{self, Next, SegmentReader},
    tree_files::TreeReader,
};

/// Where a log's public files are read from.
pub trait LogSource {
    /// The newest checkpoint, a signed note.
    ///
    /// # Errors
    /// It cannot be had; the text says from where and why.
    fn checkpoint(&mut self) -> Result<String, String>;

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
    /// Tiles and entry bundles that were compared.
    pub files: u64,
}

/// What was found right in a folder.
#[derive(Clone, Debug)]
pub struct VerifiedFolder {
    /// The key, as the genesis entry names it.
    pub vkey: VerifierKey,
    /// The tree.
    pub tree: Verified,
    /// Envelopes that were held against their entries; those beyond the checkpoint are among them.
    pub envelopes: u64,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes at the end that a crash left or a running site is just writing; the next start cuts them off.
    pub torn_bytes: u64,
}

/// Computes the tree from the log's entries and compares every tile, the root and the signature. `progress` is told how many leaves are done.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_tree(
    source: &mut impl LogSource,
    vkey: &VerifierKey,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, VerifyError> {
    let note = source.checkpoint().map_err(VerifyError::Unavailable)?;
    let checkpoint = Checkpoint::open(&note, vkey)?;
    let size = checkpoint.size;
    let mut frontier = Frontier::new();
    let mut files = 0;
    // Of each level, the hashes that the level below gives.
    let mut level_hashes = Vec::new();
    for bundle in size.bundles() {
        let leaf_hashes = check_bundle(source, bundle)?;
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
    Ok(Verified { checkpoint, files })
}

/// The leaf hashes of a bundle, compared with the tile of level 0.
fn check_bundle(source: &mut impl LogSource, bundle: BundleId) -> Result<Vec<Hash>, VerifyError> {
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
    }
    Ok(computed)
}

fn read_tile(source: &mut impl LogSource, tile: TileId) -> Result<Vec<Hash>, VerifyError> {
    let path = TilePath::Hashes(tile);
    let bytes = source.file(&path).map_err(VerifyError::Unavailable)?;
    decode_hashes(tile.width, &bytes)
        .map_err(|source| VerifyError::TileLen { path: path.to_string(), source })
}

/// Verifies the ledger in `folder`: segments, tree, checkpoint, cursors. Nothing is written. If `vkey` is given, the log must be that key's; otherwise the
/// key that the genesis entry names is believed.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_folder(
    folder: &Path,
    vkey: Option<&VerifierKey>,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedFolder, VerifyError> {
    for part in [CHECKPOINT, TREE] {
        if !folder.join(part).exists() {
            return Err(VerifyError::Unavailable(format!(
                "{} is missing",
                folder.join(part).display()
            )));
        }
    }
    let tree = TreeReader::open_existing(&folder.join(TREE))
        .map_err(|source| VerifyError::Io { path: folder.join(TREE), source })?;
    // The log may be growing. Read in this order, checkpoint and cursors speak of nothing that the segments, read last, do not hold.
    let checkpoint_path = folder.join(CHECKPOINT);
    let note = fs::read_to_string(&checkpoint_path)
        .map_err(|source| VerifyError::Io { path: checkpoint_path, source })?;
    let cursors_path = folder.join(crate::cursors::FILE);
    let cursors = Cursors::load(folder)
        .map_err(|source| VerifyError::Io { path: cursors_path.clone(), source })?;
    let segments = list_segments(folder)?;
    let mut check = SegmentCheck {
        folder,
        tree: &tree,
        // Only where cursors are looked for depends on it; the signature is checked below.
        checkpoint_size: SignedNote::parse(&note)
            .ok()
            .and_then(|note| Checkpoint::parse(note.unverified_text()).ok())
            .map_or(0, |checkpoint| checkpoint.size.get()),
        next_leaf: 0,
        genesis: None,
        cursors: BTreeMap::new(),
        torn_bytes: 0,
    };
    for (position, first_leaf) in segments.iter().enumerate() {
        check.segment(*first_leaf, position + 1 == segments.len(), progress)?;
    }
    let named =
        check.genesis.as_deref().map(genesis_key).transpose()?.ok_or(VerifyError::NoGenesis)?;
    if vkey.is_some_and(|vkey| *vkey != named) {
        return Err(VerifyError::OtherKey { named: named.to_string() });
    }
    let (envelopes, torn_bytes) = (check.next_leaf, check.torn_bytes);
    let in_segments = check.cursors;
    if cursors.iter().any(|(name, next_leaf)| {
        !in_segments.get(name).is_some_and(|moves| moves.contains(&next_leaf))
    }) {
        return Err(VerifyError::Cursor { path: cursors_path });
    }
    let tree =
        verify_tree(&mut FolderSource { note, tree: tree.clone() }, &named, &mut |_leaves| {})?;
    if envelopes < tree.checkpoint.size.get() {
        return Err(VerifyError::EnvelopesMissing { envelopes, size: tree.checkpoint.size });
    }
    Ok(VerifiedFolder { vkey: named, tree, envelopes, segments: segments.len(), torn_bytes })
}

/// Holds the segments against the tree's files, one after the other.
struct SegmentCheck<'a> {
    folder: &'a Path,
    tree: &'a TreeReader,
    next_leaf: u64,
    genesis: Option<Vec<u8>>,
    checkpoint_size: u64,
    /// What each cursor may be in its file: where it stood before the checkpoint's last leaves, and where it has been since.
    cursors: BTreeMap<String, BTreeSet<u64>>,
    torn_bytes: u64,
}

impl SegmentCheck<'_> {
    fn segment(
        &mut self,
        first_leaf: u64,
        is_last: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), VerifyError> {
        let path = self.folder.join(SEGMENTS).join(segment::file_name(first_leaf));
        let io_error = |source| VerifyError::Io { path: path.clone(), source };
        if first_leaf != self.next_leaf {
            return Err(VerifyError::Gap { leaf: self.next_leaf, path });
        }
        let file = File::open(&path).map_err(io_error)?;
        let damaged =
            |leaf, reason: String| VerifyError::Segment { path: path.clone(), leaf, reason };
        let mut reader = SegmentReader::open(BufReader::new(file), first_leaf)
            .map_err(io_error)?
            .map_err(|reason| damaged(first_leaf, reason.to_string()))?;
        let known = self.tree.leaves().map_err(io_error)?;
        loop {
            match reader.read_next().map_err(io_error)? {
                Next::End => return Ok(()),
                Next::Group(position, group) => {
                    for (envelope, place) in group.envelopes().zip(group.places(position)) {
                        self.envelope(&path, envelope, place, known)?;
                    }
                    for cursor in group.cursors() {
                        let moves = self.cursors.entry(cursor.name.clone()).or_default();
                        if self.next_leaf < self.checkpoint_size {
                            moves.clear();
                        }
                        moves.insert(cursor.next_leaf);
                    }
                    progress(self.next_leaf);
                }
                // What the tree does not have yet was never told to anyone.
                Next::Damaged(_) if is_last && reader.next_leaf() >= known => {
                    let len = fs::metadata(&path).map_err(io_error)?.len();
                    self.torn_bytes = len.saturating_sub(reader.position());
                    return Ok(());
                }
                Next::Damaged(reason) => {
                    let leaf = self.first_changed(&path, reader.next_leaf(), known);
                    return Err(damaged(leaf, reason.to_string()));
                }
            }
        }
    }

    fn envelope(
        &mut self,
        path: &Path,
        envelope: &[u8],
        place: segment::Place,
        known: u64,
    ) -> Result<(), VerifyError> {
        let leaf = self.next_leaf;
        let damaged = |reason| VerifyError::Segment { path: path.to_owned(), leaf, reason };
        self.next_leaf += 1;
        if leaf == 0 {
            self.genesis = Some(envelope.to_vec());
        }
        Envelope::parse(envelope).map_err(|error| damaged(error.to_string()))?;
        if leaf >= known {
            return Ok(());
        }
        let tree = |source| VerifyError::Io { path: self.folder.join(TREE), source };
        let (entry, sealed_at) =
            (self.tree.entry(leaf).map_err(tree)?, self.tree.place(leaf).map_err(tree)?);
        let commitment = Hash::sha256(envelope);
        if commitment != entry {
            return Err(damaged(format!(
                "its envelope hashes to {commitment}, the log's entry is {entry}"
            )));
        }
        if sealed_at != place {
            return Err(VerifyError::Place { path: self.folder.join(TREE).join("places"), leaf });
        }
        Ok(())
    }

    /// The first leaf from `leaf` on whose envelope is not what its entry says, where the group around it cannot be read.
    fn first_changed(&self, path: &Path, leaf: u64, known: u64) -> u64 {
        use std::os::unix::fs::FileExt as _;
        let Ok(file) = File::open(path) else { return leaf };
        let unchanged = |leaf: &u64| {
            let place = self.tree.place(*leaf).ok()?;
            let mut bytes = vec![0; usize::try_from(place.len).ok()?.min(Envelope::BYTES_MAX)];
            file.read_exact_at(&mut bytes, u64::from(place.begin)).ok()?;
            (Hash::sha256(&bytes) == self.tree.entry(*leaf).ok()?).then_some(())
        };
        (leaf..known).find(|leaf| unchanged(leaf).is_none()).unwrap_or(leaf)
    }
}

fn genesis_key(envelope: &[u8]) -> Result<VerifierKey, VerifyError> {
    let envelope = Envelope::parse(envelope).map_err(|_| VerifyError::NoGenesis)?;
    let vkey =
        envelope.event.sealwire.and_then(|detail| detail.vkey).ok_or(VerifyError::NoGenesis)?;
    VerifierKey::parse(&vkey).map_err(VerifyError::GenesisKey)
}

struct FolderSource {
    note: String,
    tree: TreeReader,
}

impl LogSource for FolderSource {
    fn checkpoint(&mut self) -> Result<String, String> {
        Ok(self.note.clone())
    }

    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String> {
        self.tree.serve(path).map_err(|error| {
            let source =
                std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{path}: {error} ({source})")
        })
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
    /// An envelope was changed, or the segment around it.
    #[error("leaf {leaf} in {}: {reason}", path.display())]
    Segment {
        /// The segment.
        path: PathBuf,
        /// Which leaf.
        leaf: u64,
        /// What is wrong.
        reason: String,
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
    #[error("the checkpoint covers {size} leaves, the segments hold {envelopes}")]
    EnvelopesMissing {
        /// Those there are.
        envelopes: u64,
        /// Those there must be.
        size: TreeSize,
    },
    /// A place is wrong.
    #[error("leaf {leaf} does not lie where {} says", path.display())]
    Place {
        /// The file of places.
        path: PathBuf,
        /// Which leaf.
        leaf: u64,
    },
    /// A cursor stands where no commit group moved it.
    #[error("{} holds a cursor that no commit group moved there", path.display())]
    Cursor {
        /// The file.
        path: PathBuf,
    },
    /// The first entry is not a genesis entry.
    #[error("leaf 0 is not a genesis entry that names the log's key")]
    NoGenesis,
    /// The genesis entry's key is malformed.
    #[error("leaf 0 names a key that is none")]
    GenesisKey(#[source] ParseKeyError),
    /// The log is another key's.
    #[error("the log is of the key {named}, not of the one you named")]
    OtherKey {
        /// Whose it is.
        named: String,
    },
}
