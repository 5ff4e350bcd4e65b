//! Verifies a log by its public files: computes the tree from the entries and compares it with the
//! tiles.

use key_history::{KeyEvent, KeyHistory};
use tlog::{
    BundleId, Checkpoint, EntryBundle, Frontier, Hash, TileId, TileLevel, TilePath, VerifierKey,
    decode_hashes, root_of,
};

use super::error::VerifyError;

/// A source of a log's public files.
pub trait LogSource {
    /// The newest checkpoint, a signed note.
    ///
    /// # Errors
    /// The checkpoint is unavailable. The text says from where and why.
    fn checkpoint(&mut self) -> Result<String, String>;

    /// The events that name the log's keys, at least those that the checkpoint covers. The caller
    /// asks for them after the checkpoint.
    ///
    /// # Errors
    /// The events are unavailable. The text says from where and why.
    fn key_events(&mut self) -> Result<Vec<KeyEvent>, String>;

    /// The bytes of a tile or an entry bundle.
    ///
    /// # Errors
    /// The file is unavailable. The text says from where and why.
    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String>;
}

/// The result of a successful verification.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The checkpoint whose root the entries lead to.
    pub checkpoint: Checkpoint,
    /// The checkpoint's note, with all its signatures.
    pub note: String,
    /// The keys that have signed the log, up to the checkpoint.
    pub keys: KeyHistory,
    /// Number of tiles and entry bundles that were compared.
    pub files: u64,
}

/// Computes the tree from the log's entries, and compares every tile, the root and the signature.
/// Calls `progress` with the number of verified leaves.
///
/// If `known` is given, it must be among the keys that the checkpoint's leaves name; if not, the
/// key that the genesis entry names is trusted. The entries must include the events that name keys.
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
    // For each level, the hashes that the level below gives.
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

/// The leaf hashes of a bundle, after a comparison with the tile of level 0.
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

/// Reads and decodes the hashes of a tile.
pub(super) fn read_tile(
    source: &mut impl LogSource,
    tile: TileId,
) -> Result<Vec<Hash>, VerifyError> {
    let path = TilePath::Hashes(tile);
    let bytes = source.file(&path).map_err(VerifyError::Unavailable)?;
    decode_hashes(tile.width, &bytes)
        .map_err(|source| VerifyError::TileLen { path: path.to_string(), source })
}
