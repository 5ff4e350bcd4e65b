//! The files that are derived from the segments: the log's entries, the tiles' hashes, and where each envelope lies.
//!
//! Each is one flat file to which only is appended, `N` bytes a leaf: `entries` (32), `places` (8) and `hashes-<level>` (32 for every 256^level leaves).
//! A tile or a bundle, full or partial, of the tree at any size is a slice of such a file, so every checkpoint ever published stays provable.
//!
//! They are written before a leaf is told to anyone, and fsynced only before a checkpoint: recovery cuts them to the checkpoint and appends what the
//! segments hold beyond it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use tlog::{
    EntryBundle, Hash, ShortTile, TileId, TilePath, TreeSize, decode_hashes, leaf_hash, root_of,
};

use crate::segment::Place;

/// Levels of tiles that are kept: enough for 256^5, a million million leaves.
pub(crate) const LEVELS: usize = 5;
/// Bytes of one place: where the envelope begins in its segment, and its length, both little-endian.
const PLACE_LEN: usize = 8;
const TILE_WIDTH: usize = 256;

/// Appends to the tree's files, and reads from them.
#[derive(Debug)]
pub(crate) struct TreeFiles {
    reader: TreeReader,
    size: u64,
    /// For each level, the hashes of the tile that is not full yet.
    open_tiles: [Vec<Hash>; LEVELS],
}

/// Reads the tree's files. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TreeReader {
    files: std::sync::Arc<Files>,
}

#[derive(Debug)]
struct Files {
    entries: NamedFile,
    places: NamedFile,
    hashes: [NamedFile; LEVELS],
}

#[derive(Debug)]
struct NamedFile {
    path: PathBuf,
    file: File,
}

impl TreeReader {
    /// Opens the files for reading and writing, making those that are missing.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Self::open_with(folder, OpenOptions::new().read(true).write(true).create(true))
    }

    /// Opens the files for reading only.
    pub(crate) fn open_existing(folder: &Path) -> io::Result<Self> {
        Self::open_with(folder, OpenOptions::new().read(true))
    }

    fn open_with(folder: &Path, options: &OpenOptions) -> io::Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            let file = options.open(&path)?;
            io::Result::Ok(NamedFile { path, file })
        };
        let hashes: Vec<NamedFile> =
            (0..LEVELS).map(|level| open(&format!("hashes-{level}"))).collect::<io::Result<_>>()?;
        let hashes = hashes.try_into().expect("one file was opened for each level");
        let files = Files { entries: open("entries")?, places: open("places")?, hashes };
        Ok(Self { files: std::sync::Arc::new(files) })
    }

    /// Leaves that every file has in full.
    pub(crate) fn leaves(&self) -> io::Result<u64> {
        let len = |file: &NamedFile| file.file.metadata().map(|metadata| metadata.len());
        let entries = len(&self.files.entries)? / Hash::LEN as u64;
        let places = len(&self.files.places)? / PLACE_LEN as u64;
        let mut leaves = entries.min(places);
        for (level, file) in (0..).zip(&self.files.hashes) {
            let hashes = len(file)? / Hash::LEN as u64;
            // Fewer hashes than the leaves so far call for: only what they cover counts.
            if hashes < leaves >> (8 * level) {
                leaves = hashes << (8 * level);
            }
        }
        Ok(leaves)
    }

    /// Where the envelope of a leaf lies.
    pub(crate) fn place(&self, leaf: u64) -> io::Result<Place> {
        let mut bytes = [0; PLACE_LEN];
        self.files.places.read(&mut bytes, leaf * PLACE_LEN as u64)?;
        let [b0, b1, b2, b3, l0, l1, l2, l3] = bytes;
        Ok(Place {
            begin: u32::from_le_bytes([b0, b1, b2, b3]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        })
    }

    /// The commitment that is a leaf's entry.
    pub(crate) fn entry(&self, leaf: u64) -> io::Result<Hash> {
        let mut bytes = [0; Hash::LEN];
        self.files.entries.read(&mut bytes, leaf * Hash::LEN as u64)?;
        Ok(Hash::from_bytes(bytes))
    }

    /// The hashes of a tile.
    pub(crate) fn tile(&self, tile: &TileId) -> Result<Vec<Hash>, TileError> {
        let level = usize::from(tile.level.get());
        let file = self.files.hashes.get(level).ok_or(TileError::NoSuchLevel)?;
        let mut bytes = vec![0; tile.width.count() * Hash::LEN];
        file.read(&mut bytes, tile.index * (TILE_WIDTH * Hash::LEN) as u64)?;
        Ok(decode_hashes(tile.width, &bytes).expect("as many bytes were read as the width says"))
    }

    /// A tile or an entry bundle as C2SP tlog-tiles serves it.
    pub(crate) fn serve(&self, path: &TilePath) -> Result<Vec<u8>, TileError> {
        match path {
            TilePath::Hashes(tile) => Ok(tlog::encode_hashes(&self.tile(tile)?)),
            TilePath::Entries(bundle) => {
                let first = bundle.index * TILE_WIDTH as u64;
                let mut bytes = vec![0; bundle.width.count() * Hash::LEN];
                self.files.entries.read(&mut bytes, first * Hash::LEN as u64)?;
                let entries = bytes.chunks_exact(Hash::LEN).map(<[u8]>::to_vec).collect();
                Ok(EntryBundle::new(entries).expect("1 to 256 entries of 32 bytes").encode())
            }
        }
    }
}

impl TreeFiles {
    /// Cuts the files to `size` leaves, which they must have, and goes on from there.
    pub(crate) fn cut(reader: TreeReader, size: u64) -> Result<Self, TileError> {
        let files = &reader.files;
        files.entries.file.set_len(size * Hash::LEN as u64)?;
        files.places.file.set_len(size * PLACE_LEN as u64)?;
        let mut open_tiles: [Vec<Hash>; LEVELS] = Default::default();
        for (level, open_tile) in (0_u8..).zip(&mut open_tiles) {
            let hashes = size >> (8 * level);
            let file = files.hashes.get(usize::from(level)).ok_or(TileError::NoSuchLevel)?;
            file.file.set_len(hashes * Hash::LEN as u64)?;
            let level = tlog::TileLevel::new(level).map_err(|_| TileError::NoSuchLevel)?;
            if let Some(tile) = TileId::in_tree(level, hashes / 256, TreeSize::new(size)) {
                *open_tile = reader.tile(&tile)?;
            }
        }
        Ok(Self { reader, size, open_tiles })
    }

    pub(crate) const fn reader(&self) -> &TreeReader {
        &self.reader
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Appends leaves: their commitments and places, of which there are equally many. Answers their leaf hashes.
    pub(crate) fn append(
        &mut self,
        commitments: &[Hash],
        places: &[Place],
    ) -> io::Result<Vec<Hash>> {
        let files = std::sync::Arc::clone(&self.reader.files);
        let place_bytes: Vec<u8> = places
            .iter()
            .flat_map(|place| [place.begin.to_le_bytes(), place.len.to_le_bytes()].concat())
            .collect();
        files.places.file.write_all_at(&place_bytes, self.size * PLACE_LEN as u64)?;
        files
            .entries
            .file
            .write_all_at(&tlog::encode_hashes(commitments), self.size * Hash::LEN as u64)?;

        let leaf_hashes: Vec<Hash> =
            commitments.iter().map(|commitment| leaf_hash(commitment.as_bytes())).collect();
        let mut added = leaf_hashes.clone();
        for ((level, open_tile), file) in (0..).zip(&mut self.open_tiles).zip(&files.hashes) {
            let before = self.size >> (8 * level);
            file.file.write_all_at(&tlog::encode_hashes(&added), before * Hash::LEN as u64)?;
            let mut roots = Vec::new();
            for hash in added {
                open_tile.push(hash);
                if open_tile.len() == TILE_WIDTH {
                    roots.push(root_of(open_tile));
                    open_tile.clear();
                }
            }
            added = roots;
            if added.is_empty() {
                break;
            }
        }
        self.size += commitments.len() as u64;
        Ok(leaf_hashes)
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Files { entries, places, hashes } = &*self.reader.files;
        [entries, places].into_iter().chain(hashes).try_for_each(|file| file.file.sync_data())
    }
}

impl NamedFile {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{} at byte {offset}: {error}", self.path.display()),
            )
        })
    }
}

/// Why a tile cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// Reading fails.
    #[error("a file of the tree cannot be read or written")]
    Io(#[from] io::Error),
    /// More levels than any log needs.
    #[error("tiles have levels 0 to {}", LEVELS - 1)]
    NoSuchLevel,
    /// Fewer hashes than asked for.
    #[error(transparent)]
    Short(#[from] ShortTile),
}
