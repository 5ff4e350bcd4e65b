//! Copies a log that may be growing. The copy is a log that a start accepts.
//!
//! The copy is a prefix of the log: the leaves that the checkpoint covered when the copying began.
//! It leaves out what lies beyond, because only a MAC under the site's key authenticates that, and
//! nobody else can check the MAC. The copy reads the files in the reverse of the order in which the
//! writer writes them: state, checkpoint, tree files, segments. So each file refers only to what
//! the next one holds.
//!
//! Two events affect data that was copied already. A key rotation is an ordinary event: the copy
//! includes it, or ends before it. An erasure rewrites closed segments after a checkpoint covers
//! its event. So when everything is copied, the copy reads the checkpoint again. If an erasure was
//! ordered between the two checkpoints, the copying continues to the later end. Finally the copy
//! erases what its own events order to be erased.

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::disk::{self, Disk, DiskFile, Mode, Sequential, read_small};
use key_history::KeyHistory;
use tlog::Hash;

use crate::{
    block::{Leaf, Unpacker},
    damage::Damage,
    envelopes::encode_index,
    erase::{EraseError, erase_in},
    layout::{CHECKPOINT, ENTRIES, SEGMENTS, STATE, TREE, index_path, nodes_file, segment_path},
    ranges::LeafRanges,
    recover::{OpenError, list_segments},
    segment::{self, Next, PlacedRecord, SEGMENT_HEADER_LEN, SegmentReader},
    state::{InvalidLogEvent, State, StateFile},
    tree::{TreeReader, kept_heights},
};

/// Number of times that a copy continues to a later end because envelopes were erased meanwhile.
/// Each time copies only what was added, so a greater number means that the log is erased without a
/// pause.
const ROUNDS_MAX: u32 = 8;
/// Number of bytes that are copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The result of copying a log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Copied {
    /// Number of leaves in the copy.
    pub leaves: u64,
    /// Number of segments that were copied.
    pub segments: usize,
    /// Number of closed segments that the target already had, with the log's length.
    pub segments_kept: usize,
    /// Number of segments of the copy in which envelopes were erased that the log orders to be
    /// erased and still holds.
    pub segments_erased: usize,
}

/// Copies the log in `from` to `to`. The log may grow meanwhile. A closed segment that `to` already
/// has stays if it is as long as the log's. The caller must verify the copy, which shows whether
/// such segments are the same. The copy fsyncs everything except the folder that contains `to`. It
/// never writes into a file in `to` but replaces it, so the files may be hard links.
///
/// # Errors
/// A file cannot be read or written, or is damaged; or the log is in a state that cannot be copied.
/// The content of `to` is then unusable.
pub fn copy_log(disk: &dyn Disk, from: &Path, to: &Path) -> Result<Copied, CopyError> {
    for part in [SEGMENTS, TREE] {
        disk.create_folder(&to.join(part)).map_err(io_error(&to.join(part)))?;
    }
    let copying = Copying { disk, from, to };
    for _round in 0..ROUNDS_MAX {
        let snapshot = Snapshot::read(disk, from)?;
        let mut copied = copying.round(&snapshot)?;
        // The log erases only under a checkpoint that covers the order.
        let state = copying.state_at(&snapshot, Snapshot::read(disk, from)?.size)?;
        if state.ordered_from(snapshot.size).is_empty() {
            copied.segments_erased = copying.erase(&state.erasing())?;
            for folder in [&to.join(SEGMENTS), &to.join(TREE), to] {
                disk.sync_folder(folder).map_err(io_error(folder))?;
            }
            return Ok(copied);
        }
    }
    Err(CopyError::Unstable { path: from.to_owned() })
}

/// The point where the copy is to end.
struct Snapshot {
    state: Option<StateFile>,
    checkpoint: Vec<u8>,
    /// Number of leaves that the checkpoint claims, unverified. The copy is to have this many.
    size: u64,
}

impl Snapshot {
    /// Reads the state first: the log stores it after the checkpoint, so it never covers more than
    /// the checkpoint does.
    fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, CopyError> {
        let path = folder.join(STATE);
        let state = StateFile::load(disk, folder).map_err(io_error(&path))?;
        let path = folder.join(CHECKPOINT);
        let checkpoint = read_small(disk, &path).map_err(io_error(&path))?;
        let checkpoint = checkpoint.ok_or(CopyError::Incomplete { path })?;
        let size = KeyHistory::claimed_size(&String::from_utf8_lossy(&checkpoint));
        Ok(Self { state, checkpoint, size })
    }

    /// The state for the copy. `None` if there is none, or if it covers more leaves than the copy
    /// has, which versions before 4 and crashes may leave. A start then computes another one.
    fn state(&self) -> Option<&StateFile> {
        self.state.as_ref().filter(|stored| stored.state.size <= self.size)
    }
}

struct Copying<'a> {
    disk: &'a dyn Disk,
    from: &'a Path,
    to: &'a Path,
}

impl Copying<'_> {
    /// Brings the copy up to a snapshot.
    fn round(&self, snapshot: &Snapshot) -> Result<Copied, CopyError> {
        self.tree(snapshot)?;
        let mut copied = Copied { leaves: snapshot.size, ..Copied::default() };
        let segments = list_segments(self.disk, self.from)?;
        for (position, &first_leaf) in segments.iter().enumerate() {
            if first_leaf > snapshot.size {
                break;
            }
            let next = segments.get(position + 1).copied();
            match next.filter(|next| *next <= snapshot.size) {
                Some(_) if self.is_there(first_leaf)? => copied.segments_kept += 1,
                Some(next) => {
                    let places = self.segment(first_leaf, next)?;
                    self.write(&index_path(self.to, first_leaf), &encode_index(&places))?;
                    copied.segments += 1;
                }
                None => {
                    self.segment(first_leaf, snapshot.size)?;
                    copied.segments += 1;
                }
            }
        }
        let state = snapshot.state().map(|stored| stored.bytes.as_slice());
        let files = [(CHECKPOINT, Some(snapshot.checkpoint.as_slice())), (STATE, state)];
        for (name, content) in files {
            match content {
                Some(content) => disk::replace(self.disk, self.to, name, content)
                    .map_err(io_error(&self.to.join(name)))?,
                None => self.forget(&self.to.join(name))?,
            }
        }
        Ok(copied)
    }

    /// Copies the part of the tree files that the checkpoint covers. A start computes the rest from
    /// the segments.
    fn tree(&self, snapshot: &Snapshot) -> Result<(), CopyError> {
        let (from, to) = (self.from.join(TREE), self.to.join(TREE));
        let tree = TreeReader::open(self.disk, &from, Mode::Read).map_err(io_error(&from))?;
        let size = snapshot.size;
        if !tree.covers(size).map_err(io_error(&from))? {
            return Err(CopyError::TreeShort { path: from, size });
        }
        let nodes = kept_heights().map(|height| (nodes_file(height), (size >> height) * 64));
        for (name, len) in
            std::iter::once((ENTRIES.to_owned(), size * Hash::LEN as u64)).chain(nodes)
        {
            let source = self.open(&from.join(&name), Mode::Read)?;
            let path = to.join(&name);
            let target = self.open(&path, Mode::Write)?;
            let failed = io_error(&path);
            // The part that an earlier round copied is unchanged, because these files only grow.
            let there = target.len().map_err(&failed)?.min(len);
            target.set_len(there).map_err(&failed)?;
            copy_bytes(&*source, &*target, there, len).map_err(&failed)?;
            target.sync().map_err(failed)?;
        }
        Ok(())
    }

    /// Whether the copy has this closed segment, with the same length as the log's.
    fn is_there(&self, first_leaf: u64) -> Result<bool, CopyError> {
        let target = segment_path(self.to, first_leaf);
        let len = match self.disk.open(&target, Mode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.and_then(|file| file.len()).map_err(io_error(&target))?,
        };
        let source = self.open(&segment_path(self.from, first_leaf), Mode::Read)?;
        Ok(source.len().map_err(io_error(&target))? == len)
    }

    /// Copies a segment up to the leaf `end`, which it must reach. Returns the places of its
    /// blocks.
    fn segment(&self, first_leaf: u64, end: u64) -> Result<Vec<segment::Place>, CopyError> {
        let (from, to) = (segment_path(self.from, first_leaf), segment_path(self.to, first_leaf));
        let damaged = |leaf, reason| CopyError::Damaged { path: from.clone(), leaf, reason };
        let source = self.open(&from, Mode::Read)?;
        let opened = SegmentReader::open(buffered(&source), first_leaf).map_err(io_error(&from))?;
        let mut reader = match opened {
            Ok(reader) => reader,
            // The site is just beginning this segment, so it holds no leaf.
            Err(_) if first_leaf == end && end > 0 => return Ok(Vec::new()),
            Err(reason) => return Err(damaged(first_leaf, reason)),
        };
        self.forget(&to)?;
        let target = self.open(&to, Mode::Empty)?;
        let copy_up_to = |len: u64, position| {
            copy_bytes(&*source, &*target, len, position).map_err(io_error(&to))
        };
        let mut len = SEGMENT_HEADER_LEN as u64;
        copy_up_to(0, len)?;
        let mut next_leaf = first_leaf;
        let mut places = Vec::new();
        loop {
            match reader.read_next().map_err(io_error(&from))? {
                Next::Group(position, group) => {
                    let after = group.first_leaf + u64::from(group.leaves);
                    if after > end {
                        break;
                    }
                    copy_up_to(len, reader.position())?;
                    places.extend(group.places(position, first_leaf));
                    (len, next_leaf) = (reader.position(), after);
                }
                Next::End => break,
                // Beyond the end a group may be half written.
                Next::Damaged(_) if next_leaf == end => break,
                Next::Damaged(reason) => return Err(damaged(next_leaf, reason)),
            }
        }
        if next_leaf != end {
            return Err(damaged(next_leaf, Damage("it ends before a leaf that must be there")));
        }
        target.sync().map_err(io_error(&to))?;
        Ok(places)
    }

    /// The log's own state after its first `size` leaves.
    fn state_at(&self, snapshot: &Snapshot, size: u64) -> Result<State, CopyError> {
        let mut state = snapshot.state().map(|stored| stored.state.clone()).unwrap_or_default();
        let mut unpacker = Unpacker::new();
        let segments = list_segments(self.disk, self.from)?;
        let begin = segment::position_of(&segments, state.size).unwrap_or_default();
        for &first_leaf in segments.iter().skip(begin) {
            let path = segment_path(self.from, first_leaf);
            let file = self.open(&path, Mode::Read)?;
            let opened =
                SegmentReader::open(buffered(&file), first_leaf).map_err(io_error(&path))?;
            // An unreadable segment is just being written; if not, a later reader reports it.
            let Ok(mut reader) = opened else { break };
            while let Next::Group(_, group) = reader.read_next().map_err(io_error(&path))? {
                if group.end() <= state.size {
                    continue;
                }
                if group.end() > size {
                    return Ok(state);
                }
                let mut next_leaf = group.first_leaf;
                for PlacedRecord { record, .. } in group.records(0) {
                    let damaged =
                        |reason| CopyError::Damaged { path: path.clone(), leaf: next_leaf, reason };
                    let leaves = record.unpack(&mut unpacker).map_err(damaged)?;
                    for content in leaves.iter().flat_map(|leaves| leaves.iter()) {
                        if let Leaf::Envelope(envelope) = content {
                            state.apply(next_leaf, Some(envelope))?;
                        }
                        next_leaf += 1;
                    }
                }
            }
        }
        Ok(state)
    }

    /// Erases envelopes in the copy. Returns the number of segments that changed.
    fn erase(&self, leaves: &LeafRanges) -> Result<usize, CopyError> {
        let segments = list_segments(self.disk, self.to)?;
        let mut rewritten = 0;
        for (position, &first_leaf) in segments.iter().enumerate() {
            let end = segments.get(position + 1).copied().unwrap_or(u64::MAX);
            if leaves.overlap(&(first_leaf..end)) {
                let erased = erase_in(self.disk, self.to, first_leaf, leaves, &|_| {})?;
                rewritten += usize::from(erased.is_some());
            }
        }
        Ok(rewritten)
    }

    fn open(&self, path: &Path, mode: Mode) -> Result<Arc<dyn DiskFile>, CopyError> {
        self.disk.open(path, mode).map_err(io_error(path))
    }

    /// Writes a file and replaces an existing one.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), CopyError> {
        self.forget(path)?;
        let file = self.open(path, Mode::Empty)?;
        file.write_all_at(content, 0).and_then(|()| file.sync()).map_err(io_error(path))
    }

    /// Removes a file. Its content may have another name, which keeps it.
    fn forget(&self, path: &Path) -> Result<(), CopyError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
            _ => Ok(()),
        }
    }
}

fn buffered(file: &Arc<dyn DiskFile>) -> BufReader<Sequential> {
    BufReader::with_capacity(CHUNK_BYTES, Sequential::new(Arc::clone(file)))
}

/// Copies the bytes from `at` up to `end`.
fn copy_bytes(from: &dyn DiskFile, to: &dyn DiskFile, mut at: u64, end: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(end - at).unwrap_or(CHUNK_BYTES))];
    while at < end {
        let len = (end - at).min(chunk.len() as u64);
        let part = chunk.get_mut(..usize::try_from(len).map_err(io::Error::other)?);
        let part = part.unwrap_or_default();
        from.read_exact_at(part, at)?;
        to.write_all_at(part, at)?;
        at += len;
    }
    Ok(())
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Io { path: path.clone(), source }
}

/// Why a log was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A file cannot be read or written.
    #[error("cannot copy {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// The folder does not hold a log.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// A file is missing that a start creates.
    #[error("{} is missing: start the site once to create it", path.display())]
    Incomplete {
        /// Path of the file.
        path: PathBuf,
    },
    /// The tree files do not reach the size of the checkpoint.
    #[error("the tree files in {} have fewer than the {size} leaves of the checkpoint: start the site once to rebuild them", path.display())]
    TreeShort {
        /// Folder of the tree files.
        path: PathBuf,
        /// Number of leaves that the files must cover.
        size: u64,
    },
    /// A segment is damaged.
    #[error("{} is damaged at leaf {leaf}: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// Path of the segment.
        path: PathBuf,
        /// First leaf that cannot be read.
        leaf: u64,
        /// What is wrong with the segment.
        reason: Damage,
    },
    /// An event of the log itself has invalid content.
    #[error("an event of the log contradicts the log")]
    LogEvent(#[from] InvalidLogEvent),
    /// An erasure that the log orders failed in the copy.
    #[error("cannot erase in the copy what the log orders to be erased")]
    Erase(#[from] EraseError),
    /// Each round of the copy found new erasures.
    #[error("envelopes of {} were erased during each of {ROUNDS_MAX} copies: try again when nothing is being erased", path.display())]
    Unstable {
        /// Folder of the log.
        path: PathBuf,
    },
}
