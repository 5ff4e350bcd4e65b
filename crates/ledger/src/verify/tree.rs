//! Verifies a log by its public files: computes the tree from the entries and compares it with the
//! tiles.

use std::mem;

use tlog::{
    Checkpoint, Hash, ShortTile, TileId, TileLevel, TilePath, TileWidth, TreeSize, root, root_of,
};

use super::{
    blocks::{BLOCK_LEAVES, Block, check_blocks},
    error::VerifyError,
    source::{KnownLog, LogKeys, LogSource, Opened, read_tile},
};

/// Number of levels on which the largest tree has hashes.
const LEVELS: u8 = 8;

/// The result of a successful verification.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The checkpoint whose root the entries lead to.
    pub checkpoint: Checkpoint,
    /// The checkpoint's note, with all its signatures.
    pub note: String,
    /// The keys that have signed the log, up to the checkpoint.
    pub keys: LogKeys,
    /// Number of tiles and entry bundles that were compared.
    pub files: u64,
}

/// Computes the tree from the log's entries, and compares every tile, the root and the signature.
/// Calls `progress` with the number of verified leaves.
///
/// If the log names its keys, `known` must be among those that the checkpoint's leaves name;
/// without it, the key that the genesis entry names is trusted. The entries must include the events
/// that name keys. If the log names no keys, any program may have written it, and `known` itself
/// must have signed the checkpoint.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_tree(
    source: &impl LogSource,
    known: Option<&KnownLog>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, VerifyError> {
    let Opened { note, checkpoint, keys } = Opened::newest(source, known)?;
    let size = checkpoint.size;
    let mut edge = Edge::new(source);
    let mut files = 0;
    let mut leaves = 0;
    check_blocks(source, size, &keys, &mut |block| {
        // A tile and a bundle.
        files += 2;
        match block {
            Block::Full(root) => {
                files += edge.add_block(root)?;
                leaves += BLOCK_LEAVES;
            }
            Block::Partial(hashes) => {
                leaves += hashes.len() as u64;
                edge.leaves.hashes = hashes;
            }
        }
        progress(leaves);
        Ok(())
    })?;
    let computed = edge.root(size);
    if computed != checkpoint.root {
        return Err(VerifyError::Root { size, signed: checkpoint.root, computed });
    }
    files += edge.compare_partial()?;
    Ok(Verified { checkpoint, note, keys, files })
}

/// The right edge of the tree over the leaves that were verified.
struct Edge<'a, Source> {
    source: &'a Source,
    leaves: LastTile,
    /// The tiles above, from level 1 up.
    above: Vec<LastTile>,
}

/// The last tile of a level, while it is partial.
struct LastTile {
    level: TileLevel,
    index: u64,
    hashes: Vec<Hash>,
}

impl<'a, Source: LogSource> Edge<'a, Source> {
    fn new(source: &'a Source) -> Self {
        let first = |level| LastTile { level, index: 0, hashes: Vec::new() };
        let above = (1..LEVELS).filter_map(|level| TileLevel::new(level).ok());
        Self { source, leaves: first(TileLevel::LEAVES), above: above.map(first).collect() }
    }

    /// Adds the root over the next 256 leaves, and compares each tile that becomes full. Returns
    /// their number.
    fn add_block(&mut self, root: Hash) -> Result<u64, VerifyError> {
        let mut full = 0;
        let mut root = root;
        for tile in &mut self.above {
            tile.hashes.push(root);
            if tile.width() != Some(TileWidth::Full) {
                break;
            }
            tile.compare(self.source)?;
            root = root_of(&mem::take(&mut tile.hashes));
            tile.index += 1;
            full += 1;
        }
        Ok(full)
    }

    /// Compares the tiles that remain partial above the leaves. Returns their number.
    fn compare_partial(&self) -> Result<u64, VerifyError> {
        self.above.iter().map(|tile| tile.compare(self.source)).sum()
    }

    /// The root of the tree of `size` leaves, all of which were added.
    fn root(&self, size: TreeSize) -> Hash {
        let last_tile = |asked: &TileId| {
            let mut tiles = std::iter::once(&self.leaves).chain(&self.above);
            let tile = tiles.find(|tile| tile.level == asked.level);
            Ok::<_, ShortTile>(tile.map(|tile| tile.hashes.clone()).unwrap_or_default())
        };
        root(size, last_tile).expect("the parts of a tree are in the last tiles of its levels")
    }
}

impl LastTile {
    /// `None` if it has no hash.
    fn width(&self) -> Option<TileWidth> {
        TileWidth::from_count(self.hashes.len())
    }

    /// Compares it with the log's tile. Returns the number of tiles compared: none if it is empty.
    fn compare(&self, source: &impl LogSource) -> Result<u64, VerifyError> {
        let Some(width) = self.width() else { return Ok(0) };
        let tile = TileId { level: self.level, index: self.index, width };
        if read_tile(source, tile)? != self.hashes {
            return Err(VerifyError::Tile { path: TilePath::Hashes(tile).to_string() });
        }
        Ok(1)
    }
}
