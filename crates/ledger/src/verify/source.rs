//! Where the public files of a log come from, and whose signature counts under its checkpoint.

use key_history::{KeyEvent, KeyHistory};
use tlog::{
    BundleId, Checkpoint, Hash, OpenCheckpointError, Origin, SignedNote, TileId, TilePath,
    TileWidth, VerifierKey, decode_hashes,
};

use super::error::{NoKeys, OpenLogError, VerifyError};

/// A source of a log's public files, in the layout of C2SP tlog-tiles. Several threads read from
/// it.
pub trait LogSource: Sync {
    /// The newest checkpoint, a signed note.
    ///
    /// # Errors
    /// The checkpoint is unavailable. The text says from where and why.
    fn checkpoint(&self) -> Result<String, String>;

    /// The events that name the log's keys, at least those that the checkpoint covers. `None` if
    /// the log has no such events to show, because another program than Sealwire writes it. The
    /// caller asks for them after the checkpoint.
    ///
    /// # Errors
    /// The events are unavailable. The text says from where and why.
    fn key_events(&self) -> Result<Option<Vec<KeyEvent>>, String>;

    /// The bytes of a tile or an entry bundle; `None` if the source does not have it.
    ///
    /// # Errors
    /// The file is unavailable. The text says from where and why.
    fn file(&self, path: TilePath) -> Result<Option<impl AsRef<[u8]>>, String>;
}

/// What a verifier knows of a log beforehand.
#[derive(Clone, Debug)]
pub struct KnownLog {
    /// A key that signs the log, or once did.
    pub key: VerifierKey,
    /// First line of the log's checkpoints. In nearly every log it is the name of the key.
    pub origin: Origin,
}

impl From<VerifierKey> for KnownLog {
    fn from(key: VerifierKey) -> Self {
        let origin = Origin::parse(key.name().as_str()).expect("a key's name fits a line");
        Self { key, origin }
    }
}

/// The keys whose signatures count under a log's checkpoints.
#[derive(Clone, Debug)]
pub enum LogKeys {
    /// Those that the log itself names, in its own events, each signed for by its predecessor.
    Named(KeyHistory),
    /// Only the key that the verifier knew. The log names no keys.
    Known(KnownLog),
}

impl LogKeys {
    /// Opens a checkpoint of this log.
    pub(super) fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, OpenCheckpointError> {
        match self {
            Self::Named(keys) => keys.open_checkpoint(note),
            Self::Known(known) => known.open_checkpoint(note),
        }
    }

    /// The commitment that the log's entry must have at a leaf, if the leaf names a key.
    pub(super) fn commitment(&self, leaf: u64) -> Option<Hash> {
        match self {
            Self::Named(keys) => keys.commitment(leaf),
            Self::Known(_) => None,
        }
    }
}

impl KnownLog {
    fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, OpenCheckpointError> {
        Checkpoint::verify(&SignedNote::parse(note)?, &self.key, self.origin.as_str())
    }
}

/// The newest checkpoint of a log, after the check of its signature.
pub(super) struct Opened {
    pub(super) note: String,
    pub(super) checkpoint: Checkpoint,
    pub(super) keys: LogKeys,
}

impl Opened {
    /// Reads the newest checkpoint. If the log names its keys, `known` must be among them, and the
    /// last of them must have signed; if it names none, `known` itself must have.
    pub(super) fn newest(
        source: &impl LogSource,
        known: Option<&KnownLog>,
    ) -> Result<Self, OpenLogError> {
        let note = source.checkpoint().map_err(OpenLogError::Unavailable)?;
        let events = source.key_events().map_err(OpenLogError::Unavailable)?;
        let Some(events) = events else {
            let known = known.ok_or(NoKeys)?;
            let checkpoint = known.open_checkpoint(&note)?;
            return Ok(Self { note, checkpoint, keys: LogKeys::Known(known.clone()) });
        };
        let (keys, checkpoint) = KeyHistory::under(&note, &events, known.map(|log| &log.key))?;
        if let Some(KnownLog { origin, .. }) = known
            && *origin != checkpoint.origin
        {
            let expected = origin.as_str().to_owned();
            return Err(OpenCheckpointError::Origin { origin: checkpoint.origin, expected }.into());
        }
        Ok(Self { note, checkpoint, keys: LogKeys::Named(keys) })
    }
}

/// Reads a tile at the width that it has in the checkpoint's tree.
pub(super) fn read_tile(source: &impl LogSource, tile: TileId) -> Result<Vec<Hash>, VerifyError> {
    let full = TileId { width: TileWidth::Full, ..tile };
    let (found, bytes) = read(source, tile, full, TilePath::Hashes)?;
    let decoded = decode_hashes(found.width, bytes.as_ref());
    let malformed = |source| VerifyError::TileLen { path: found.to_string(), source };
    let mut hashes = decoded.map_err(malformed)?;
    hashes.truncate(tile.width.count());
    Ok(hashes)
}

/// Reads an entry bundle. Also returns its name, because it may be wider than asked for.
pub(super) fn read_bundle(
    source: &impl LogSource,
    bundle: BundleId,
) -> Result<(BundleId, impl AsRef<[u8]>), VerifyError> {
    let full = BundleId { width: TileWidth::Full, ..bundle };
    read(source, bundle, full, TilePath::Entries)
}

/// Reads a file, or the full one in its place: a log may delete a partial file once it has the full
/// one (C2SP tlog-tiles, Partial Tiles).
fn read<Id: Copy + PartialEq>(
    source: &impl LogSource,
    asked: Id,
    full: Id,
    path: fn(Id) -> TilePath,
) -> Result<(Id, impl AsRef<[u8]>), VerifyError> {
    for id in std::iter::once(asked).chain((full != asked).then_some(full)) {
        if let Some(bytes) = source.file(path(id)).map_err(VerifyError::Unavailable)? {
            return Ok((id, bytes));
        }
    }
    Err(VerifyError::Missing { path: path(asked).to_string() })
}
