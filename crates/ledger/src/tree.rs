//! The files that are derived from the segments: the log's entries, and the roots of subtrees of
//! both trees over them.
//!
//! `entries` has 32 bytes for each leaf. `nodes-<height>`, for every fourth height, has 64 bytes
//! for each full subtree of that height: its root in the RFC 6962 tree and its root in Pangea's
//! tree. The files leave out what is cheap to compute: entries give the leaf hashes, and at most
//! eight nodes of a kept height give a node between it and the next. A tile of C2SP tlog-tiles is a
//! slice of every second of these files, at any width that any checkpoint ever had.
//!
//! The files only grow. The writer writes them before it tells anyone of a leaf, and fsyncs them
//! only before a checkpoint. Recovery continues from the checkpoint and writes what the segments
//! hold beyond it.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::disk::{Disk, DiskFile, Mode};
use tlog::{
    EntryBundle, Frontier, Hash, NodeHash, Pangea, Rfc6962, Subtree, TileId, TilePath, TreeSize,
    leaf_hash,
};

use crate::layout::{ENTRIES, nodes_file};

/// Distance between two kept heights.
const STEP: u8 = 4;
/// Number of node files, for heights 4 to 40: enough for trees of up to 2^44 leaves.
const NODE_FILES: usize = 10;
/// Size in bytes of the two roots of one subtree.
const PAIR_LEN: usize = 2 * Hash::LEN;
/// Number of nodes of one kept height below one node of the next.
const FAN_OUT: u64 = 1 << STEP;

/// The heights whose nodes the files keep.
pub(crate) fn kept_heights() -> impl Iterator<Item = u8> {
    (1..=NODE_FILES).map(|file| height_of(file - 1))
}

#[expect(clippy::cast_possible_truncation, reason = "at most 10 files")]
const fn height_of(file: usize) -> u8 {
    (file as u8 + 1) * STEP
}

/// Appends leaves to both trees.
#[derive(Debug)]
pub(crate) struct Tree {
    reader: TreeReader,
    rfc6962: Frontier<Rfc6962>,
    pangea: Frontier<Pangea>,
    /// Whether each file was written since its last fsync: the entries first, then the nodes.
    unsynced: [bool; NODE_FILES + 1],
}

/// Reads both trees. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TreeReader {
    files: Arc<Files>,
}

#[derive(Debug)]
struct Files {
    entries: NamedFile,
    nodes: [NamedFile; NODE_FILES],
}

impl Files {
    /// Cuts the files to what a tree of this many leaves needs.
    fn set_leaves(&self, leaves: u64) -> io::Result<()> {
        self.entries.file.set_len(leaves * Hash::LEN as u64)?;
        for (height, nodes) in kept_heights().zip(&self.nodes) {
            nodes.file.set_len((leaves >> height) * PAIR_LEN as u64)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct NamedFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

/// A tree whose nodes the files keep.
pub(crate) trait Kept: NodeHash {
    /// The root in this tree, from a pair of roots.
    fn of_pair(pair: &[u8; PAIR_LEN]) -> Hash;
    /// The hash of a leaf in this tree, from its entry.
    fn of_entry(entry: Hash) -> Hash;
}

impl Kept for Rfc6962 {
    fn of_pair(pair: &[u8; PAIR_LEN]) -> Hash {
        Hash::from_bytes(*pair.first_chunk().expect("a pair has two halves"))
    }

    fn of_entry(entry: Hash) -> Hash {
        leaf_hash(entry.as_bytes())
    }
}

impl Kept for Pangea {
    fn of_pair(pair: &[u8; PAIR_LEN]) -> Hash {
        Hash::from_bytes(*pair.last_chunk().expect("a pair has two halves"))
    }

    fn of_entry(entry: Hash) -> Hash {
        entry
    }
}

impl TreeReader {
    /// Opens the files in `folder`. `Mode::Write` creates missing files.
    pub(crate) fn open(disk: &dyn Disk, folder: &Path, mode: Mode) -> io::Result<Self> {
        let open = |name: String| {
            let path = folder.join(name);
            let file = disk.open(&path, mode).map_err(|error| named(&path, "", error))?;
            io::Result::Ok(NamedFile { path, file })
        };
        let nodes: Vec<NamedFile> =
            kept_heights().map(|height| open(nodes_file(height))).collect::<io::Result<_>>()?;
        let nodes = nodes.try_into().expect("one file was opened for each height");
        Ok(Self { files: Arc::new(Files { entries: open(ENTRIES.to_owned())?, nodes }) })
    }

    /// Whether every file has all that a tree of `size` leaves needs. The writer writes file by
    /// file, so while the log grows the files may disagree beyond that.
    pub(crate) fn covers(&self, size: u64) -> io::Result<bool> {
        for height in std::iter::once(0).chain(kept_heights()) {
            if self.count(height)? < size >> height {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Number of nodes in the file of a kept height. For height 0, the number of entries.
    pub(crate) fn count(&self, height: u8) -> io::Result<u64> {
        if height == 0 {
            return self.entry_count();
        }
        Ok(self.nodes(height)?.file.len()? / PAIR_LEN as u64)
    }

    /// Number of entries in their file. The node files may not cover all of them yet.
    pub(crate) fn entry_count(&self) -> io::Result<u64> {
        Ok(self.files.entries.file.len()? / Hash::LEN as u64)
    }

    /// The log's entries of `count` leaves from `first` on.
    pub(crate) fn entries(&self, first: u64, count: usize) -> io::Result<Vec<Hash>> {
        let mut bytes = vec![0; count * Hash::LEN];
        self.files.entries.read(&mut bytes, first * Hash::LEN as u64)?;
        Ok(bytes.as_chunks().0.iter().copied().map(Hash::from_bytes).collect())
    }

    /// The pairs of roots of `count` subtrees of a kept height from `first` on.
    pub(crate) fn pairs(
        &self,
        height: u8,
        first: u64,
        count: usize,
    ) -> io::Result<Vec<[u8; PAIR_LEN]>> {
        let mut bytes = vec![0; count * PAIR_LEN];
        self.nodes(height)?.read(&mut bytes, first * PAIR_LEN as u64)?;
        Ok(bytes.as_chunks().0.to_vec())
    }

    /// The file with the nodes of a kept height.
    fn nodes(&self, height: u8) -> io::Result<&NamedFile> {
        let file =
            usize::from(height / STEP).checked_sub(1).and_then(|at| self.files.nodes.get(at));
        file.ok_or_else(|| {
            io::Error::other("the log would have more leaves than its format allows")
        })
    }

    /// Reads hashes of subtrees of the tree of `size` leaves. The files must cover the whole tree.
    pub(crate) fn subtrees<N: Kept>(
        &self,
        size: TreeSize,
    ) -> impl FnMut(Subtree) -> io::Result<Hash> {
        // The siblings of a path lie side by side, so one read serves the next three.
        let mut known: HashMap<(u8, u64), Vec<Hash>> = HashMap::new();
        move |subtree: Subtree| {
            let kept_height = subtree.height() / STEP * STEP;
            let above = subtree.height() - kept_height;
            let first = subtree.index() << above;
            let row = first / FAN_OUT;
            let hashes = match known.entry((kept_height, row)) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(unread) => {
                    unread.insert(self.row::<N>(kept_height, row, size)?)
                }
            };
            let begin = (first % FAN_OUT) as usize;
            let hashes = hashes.get(begin..begin + (1 << above)).ok_or_else(|| {
                io::Error::other(format!("no tree of {size} leaves has the whole of {subtree:?}"))
            })?;
            Ok(root_of::<N>(hashes))
        }
    }

    /// The row of up to 16 nodes below one node of the next kept height.
    fn row<N: Kept>(&self, height: u8, row: u64, size: TreeSize) -> io::Result<Vec<Hash>> {
        let first = row * FAN_OUT;
        let count = (size.get() >> height).saturating_sub(first).min(FAN_OUT) as usize;
        if height == 0 {
            return Ok(self.entries(first, count)?.into_iter().map(N::of_entry).collect());
        }
        Ok(self.pairs(height, first, count)?.iter().map(N::of_pair).collect())
    }

    /// The hashes of a tile, in order.
    pub(crate) fn tile(&self, tile: &TileId) -> io::Result<Vec<Hash>> {
        let (first, count) = (tile.index * 256, tile.width.count());
        match tile.level.get() {
            0 => Ok(self.entries(first, count)?.into_iter().map(Rfc6962::of_entry).collect()),
            level => {
                let pairs = self.pairs(level.saturating_mul(2 * STEP), first, count)?;
                Ok(pairs.iter().map(Rfc6962::of_pair).collect())
            }
        }
    }

    /// The bytes of a tile or an entry bundle, as C2SP tlog-tiles serves it.
    pub(crate) fn serve(&self, path: &TilePath) -> io::Result<Vec<u8>> {
        match path {
            TilePath::Hashes(tile) => Ok(tlog::encode_hashes(&self.tile(tile)?)),
            TilePath::Entries(bundle) => {
                let entries = self.entries(bundle.index * 256, bundle.width.count())?;
                let entries = entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
                Ok(EntryBundle::new(entries).expect("1 to 256 entries of 32 bytes").encode())
            }
        }
    }
}

impl Tree {
    /// Continues from `size` leaves, which the files must have. Later appends overwrite what the
    /// files hold beyond that, so a reader still finds everything that a checkpoint covers.
    pub(crate) fn at(reader: TreeReader, size: u64) -> io::Result<Self> {
        let size = TreeSize::new(size);
        let rfc6962 = Frontier::load_subtrees(size, reader.subtrees::<Rfc6962>(size))?;
        let pangea = Frontier::load_subtrees(size, reader.subtrees::<Pangea>(size))?;
        Ok(Self { reader, rfc6962, pangea, unsynced: [true; NODE_FILES + 1] })
    }

    pub(crate) const fn reader(&self) -> &TreeReader {
        &self.reader
    }

    pub(crate) const fn size(&self) -> TreeSize {
        self.rfc6962.size()
    }

    /// Root of the RFC 6962 tree.
    pub(crate) fn root(&self) -> Hash {
        self.rfc6962.root()
    }

    /// Cuts off what the files hold beyond the tree.
    pub(crate) fn cut(&self) -> io::Result<()> {
        self.reader.files.set_leaves(self.size().get())
    }

    /// The tree with these leaves added. Writes nothing.
    pub(crate) fn with(&self, entries: &[Hash]) -> Extension {
        let (mut rfc6962, mut pangea) = (self.rfc6962.clone(), self.pangea.clone());
        let mut grown = Grown::default();
        for entry in entries {
            grown.append(&mut rfc6962, &mut pangea, *entry);
        }
        Extension { entries: tlog::encode_hashes(entries), rfc6962, pangea, grown }
    }

    /// Appends the leaves of an extension of this tree. After a failure the files may hold a part
    /// of them, and the tree is unchanged.
    pub(crate) fn append(&mut self, extension: Extension) -> io::Result<()> {
        let Extension { entries, rfc6962, pangea, grown } = extension;
        if entries.is_empty() {
            return Ok(());
        }
        let before = self.size().get();
        let files = &self.reader.files;
        if let Some(unsynced) = self.unsynced.first_mut() {
            *unsynced = true;
        }
        files.entries.file.write_all_at(&entries, before * Hash::LEN as u64)?;
        for (((height, file), nodes), unsynced) in kept_heights()
            .zip(&files.nodes)
            .zip(&grown.nodes)
            .zip(self.unsynced.iter_mut().skip(1))
            .take_while(|(((_, _), nodes), _)| !nodes.is_empty())
        {
            *unsynced = true;
            file.file.write_all_at(nodes, (before >> height) * PAIR_LEN as u64)?;
        }
        (self.rfc6962, self.pangea) = (rfc6962, pangea);
        Ok(())
    }

    /// Removes from the files, durably, what they hold beyond the tree.
    pub(crate) fn take_back(&mut self) -> io::Result<()> {
        self.cut()?;
        self.sync()
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Files { entries, nodes } = &*self.reader.files;
        for (file, unsynced) in std::iter::once(entries).chain(nodes).zip(&mut self.unsynced) {
            if std::mem::take(unsynced) {
                file.file.sync()?;
            }
        }
        Ok(())
    }
}

/// A tree with some more leaves than the one that it extends.
#[derive(Debug)]
pub(crate) struct Extension {
    entries: Vec<u8>,
    rfc6962: Frontier<Rfc6962>,
    pangea: Frontier<Pangea>,
    grown: Grown,
}

impl Extension {
    pub(crate) const fn size(&self) -> TreeSize {
        self.rfc6962.size()
    }

    /// Root of the RFC 6962 tree.
    pub(crate) fn root(&self) -> Hash {
        self.rfc6962.root()
    }
}

/// What new leaves add to the node files.
#[derive(Debug, Default)]
pub(crate) struct Grown {
    /// For each kept height, the pairs of roots of the subtrees that the leaves complete.
    pub(crate) nodes: [Vec<u8>; NODE_FILES],
}

impl Grown {
    /// Appends a leaf to both trees, and records the subtrees of kept heights that it completes.
    pub(crate) fn append(
        &mut self,
        rfc6962: &mut Frontier<Rfc6962>,
        pangea: &mut Frontier<Pangea>,
        entry: Hash,
    ) {
        // Both trees have the same shape, so both complete the same subtrees.
        let mut first_halves = [None; NODE_FILES];
        rfc6962.append_with(Rfc6962::of_entry(entry), |subtree, root| {
            if let Some(half) = file_of(subtree).and_then(|file| first_halves.get_mut(file)) {
                *half = Some(root);
            }
        });
        let nodes = &mut self.nodes;
        pangea.append_with(entry, |subtree, root| {
            let Some(file) = file_of(subtree) else { return };
            if let (Some(Some(half)), Some(nodes)) = (first_halves.get(file), nodes.get_mut(file)) {
                nodes.extend(half.as_bytes());
                nodes.extend(root.as_bytes());
            }
        });
    }
}

/// Index of the node file that keeps the subtree, if one does.
fn file_of(subtree: Subtree) -> Option<usize> {
    let height = subtree.height();
    (height.is_multiple_of(STEP)).then(|| usize::from(height / STEP)).and_then(|n| n.checked_sub(1))
}

fn root_of<N: NodeHash>(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        hashes => {
            let mut frontier = Frontier::<N>::empty();
            for hash in hashes {
                frontier.append(*hash);
            }
            frontier.root()
        }
    }
}

impl NamedFile {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| named(&self.path, &format!(" at byte {offset}"), error))
    }
}

/// Says which file an error is about. The error itself stays its source, because it shows whether a
/// later attempt may succeed.
fn named(path: &Path, place: &str, source: io::Error) -> io::Error {
    let place = format!("{}{place}", path.display());
    io::Error::new(source.kind(), Named { place, source })
}

#[derive(Debug, thiserror::Error)]
#[error("{place}")]
struct Named {
    place: String,
    source: io::Error,
}
