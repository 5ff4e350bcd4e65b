//! Copying a log that may be growing, so that the copy is a log that a start accepts.
//!
//! The copy is a prefix of the log: as many leaves as the checkpoint covered when the copying
//! began. What lies beyond is not copied: nothing but a MAC of the site's key vouches for it, which
//! nobody else can check. Files are read in the order in which the writer does not write them:
//! state, checkpoint, tree files, segments; so each speaks of nothing that the next does not hold.
//!
//! Two things change what was copied already. A key rotation is an event like others: the copy has
//! it, or ends before it. An erasure writes closed segments anew, after a checkpoint covers its
//! event: so when everything is copied, the checkpoint is read again, and where an erasure was
//! ordered between the two, the copying goes on to the later end. At last what the copied events
//! order to be erased is erased in the copy, too.

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

/// How often a copy goes on to a later end because envelopes were erased meanwhile. Each time takes
/// only what was added, so more says that the log is erased without a pause.
const ROUNDS_MAX: u32 = 8;
/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Copied {
    /// Leaves the copy has.
    pub leaves: u64,
    /// Segments that were copied.
    pub segments: usize,
    /// Closed segments that were there already, as long as the log's.
    pub segments_kept: usize,
    /// Segments of the copy in which envelopes were erased that the log orders to be erased and
    /// still holds.
    pub segments_erased: usize,
}

/// Copies the log in `from` to `to`. The log may grow meanwhile. Closed segments that are in `to`
/// already and are as long as the log's are kept; whoever calls verifies the copy, which shows
/// whether they are the same. Everything is fsynced, but for the folder that holds `to`. Files in
/// `to` are never written into but replaced, so they may be hard links.
///
/// # Errors
/// A file cannot be read or written, or is damaged; or the log is not in a state that can be
/// copied. What is in `to` is of no use then.
pub fn copy_log(disk: &dyn Disk, from: &Path, to: &Path) -> Result<Copied, CopyError> {
    for part in [SEGMENTS, TREE] {
        disk.create_folder(&to.join(part)).map_err(io_error(&to.join(part)))?;
    }
    let copying = Copying { disk, from, to };
    for _round in 0..ROUNDS_MAX {
        let snapshot = Snapshot::read(disk, from)?;
        let mut copied = copying.round(&snapshot)?;
        // Nothing is erased but under a checkpoint that covers the order.
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

/// Where the copy is to end.
struct Snapshot {
    state: Option<StateFile>,
    checkpoint: Vec<u8>,
    /// Leaves of the checkpoint as it says, unverified: those that the copy is to have.
    size: u64,
}

impl Snapshot {
    /// The state first: it is stored behind the checkpoint, and never speaks of more.
    fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, CopyError> {
        let path = folder.join(STATE);
        let state = StateFile::load(disk, folder).map_err(io_error(&path))?;
        let path = folder.join(CHECKPOINT);
        let checkpoint = read_small(disk, &path).map_err(io_error(&path))?;
        let checkpoint = checkpoint.ok_or(CopyError::Incomplete { path })?;
        let size = KeyHistory::claimed_size(&String::from_utf8_lossy(&checkpoint));
        Ok(Self { state, checkpoint, size })
    }

    /// The state as it goes into the copy; `None` where there is none, or it speaks of more leaves
    /// than that has, as versions before 4 and crashes may leave it. A start makes another.
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

    /// Copies what the checkpoint covers of the tree files. A start makes the rest from the
    /// segments.
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
            // What a round before has copied is what it was: these files only grow.
            let there = target.len().map_err(&failed)?.min(len);
            target.set_len(there).map_err(&failed)?;
            copy_bytes(&*source, &*target, there, len).map_err(&failed)?;
            target.sync().map_err(failed)?;
        }
        Ok(())
    }

    /// Whether the copy has a closed segment that is as long as the log's.
    fn is_there(&self, first_leaf: u64) -> Result<bool, CopyError> {
        let target = segment_path(self.to, first_leaf);
        let len = match self.disk.open(&target, Mode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.and_then(|file| file.len()).map_err(io_error(&target))?,
        };
        let source = self.open(&segment_path(self.from, first_leaf), Mode::Read)?;
        Ok(source.len().map_err(io_error(&target))? == len)
    }

    /// Copies a segment up to the leaf `end`, which it must reach. Answers where its blocks lie.
    fn segment(&self, first_leaf: u64, end: u64) -> Result<Vec<segment::Place>, CopyError> {
        let (from, to) = (segment_path(self.from, first_leaf), segment_path(self.to, first_leaf));
        let damaged = |leaf, reason| CopyError::Damaged { path: from.clone(), leaf, reason };
        let source = self.open(&from, Mode::Read)?;
        let opened = SegmentReader::open(buffered(&source), first_leaf).map_err(io_error(&from))?;
        let mut reader = match opened {
            Ok(reader) => reader,
            // It is being begun in this moment, and there is nothing in it.
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

    /// What the log says of itself in its first `size` leaves.
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
            // What cannot be read is being written, or a later reader names it.
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

    /// Erases in the copy. Answers in how many segments.
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

    /// Writes a file, in place of one that may be there.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), CopyError> {
        self.forget(path)?;
        let file = self.open(path, Mode::Empty)?;
        file.write_all_at(content, 0).and_then(|()| file.sync()).map_err(io_error(path))
    }

    /// Removes a file, which may share its bytes with another name.
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
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The folder is not a log's.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// What a start makes is not there.
    #[error("{} is missing: start the site once, which makes it", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// The tree files are not what they were when the checkpoint was signed.
    #[error("the tree files in {} do not reach the {size} leaves of the checkpoint: start the site once, which makes them again", path.display())]
    TreeShort {
        /// Their folder.
        path: PathBuf,
        /// Leaves they must have.
        size: u64,
    },
    /// A segment is damaged.
    #[error("{} is damaged at leaf {leaf}: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The first leaf that cannot be read.
        leaf: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// An event of the log itself cannot be.
    #[error("the log says what it cannot be")]
    LogEvent(#[from] InvalidLogEvent),
    /// What the log orders to be erased cannot be erased in the copy.
    #[error("what the log orders to be erased cannot be erased in the copy")]
    Erase(#[from] EraseError),
    /// The log is being erased faster than it is copied.
    #[error("envelopes of {} were erased each time it was copied, {ROUNDS_MAX} times: try again when nothing is erased", path.display())]
    Unstable {
        /// The log.
        path: PathBuf,
    },
}
