//! Opening a log: from what is on disk to where the writer goes on. A clean start and the start after a crash are the same code.
//!
//! What a crash can do is undone: the last group, if it is torn, is cut off, and the tree's files are cut to the checkpoint and appended to from the
//! segments, or made again where they do not lead to the checkpoint's root. Anything else is refused with its place, and nothing is changed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use model::{Envelope, Timestamp};
use tlog::{Checkpoint, Frontier, Hash, OpenCheckpointError, Origin, Signer, TreeSize};
use tracing::{info, warn};

use crate::{
    Published, WriteError, atomic_file,
    cursors::Cursors,
    segment::{self, Damage, Group, Next, SegmentReader},
    tree_files::{TileError, TreeFiles, TreeReader},
    writer::create_segment,
};

/// Folder of the segments.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder of the tree's files.
pub(crate) const TREE: &str = "tree";
/// The newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Where the writer goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) tree: TreeFiles,
    pub(crate) frontier: Frontier,
    pub(crate) segments: Vec<u64>,
    /// The last segment, open for writing.
    pub(crate) segment: File,
    pub(crate) segment_len: u64,
    pub(crate) cursors: Cursors,
    /// The newest checkpoint; its note is empty in a log that has none yet.
    pub(crate) published: Published,
    pub(crate) last_received_at: Timestamp,
}

/// Opens the log in `folder`, or begins one.
pub(crate) fn open(folder: &Path, signer: &Signer) -> Result<Recovered, OpenError> {
    for part in [SEGMENTS, TREE] {
        fs::create_dir_all(folder.join(part)).map_err(io_error(&folder.join(part)))?;
    }
    atomic_file::sync_folder(folder).map_err(io_error(folder))?;
    let published = read_checkpoint(folder, signer)?;
    let checkpoint_size = published.checkpoint.size.get();
    let mut segments = list_segments(folder)?;
    if segments.is_empty() {
        if checkpoint_size > 0 {
            return Err(OpenError::SegmentsMissing { leaves: 0, checkpoint_size });
        }
        create_segment(&folder.join(SEGMENTS), 0).map_err(io_error(&folder.join(SEGMENTS)))?;
        segments.push(0);
    }
    drop_unbegun_segment(folder, &mut segments, checkpoint_size)?;

    let cursors = Cursors::load(folder).map_err(io_error(&folder.join(crate::cursors::FILE)))?;
    let tree = TreeReader::open(&folder.join(TREE)).map_err(io_error(&folder.join(TREE)))?;
    let mut replay = Replay::begin(tree.clone(), &published.checkpoint, cursors)?;
    let end = loop {
        match replay.run(folder, &segments, &published.checkpoint)? {
            Outcome::Done(end) => break end,
            Outcome::WrongRoot if replay.begun_at > 0 => {
                warn!(
                    "the tree's files do not lead to the checkpoint; making them again from the segments"
                );
                let cursors = replay.cursors.clone();
                replay = Replay {
                    tree: TreeFiles::cut(tree.clone(), 0)?,
                    frontier: Frontier::new(),
                    cursors,
                    begun_at: 0,
                };
            }
            Outcome::WrongRoot => return Err(OpenError::RootDiffers { checkpoint_size }),
        }
    };
    let leaves = replay.tree.size();
    if leaves < checkpoint_size {
        return Err(OpenError::SegmentsMissing { leaves, checkpoint_size });
    }
    let tree_reader = replay.tree.reader();
    check_genesis(folder, &segments, tree_reader, signer)?;
    let last =
        leaves.checked_sub(1).and_then(|leaf| read_envelope(folder, &segments, tree_reader, leaf));
    let last_received_at =
        last.map_or_else(|| Timestamp::from_unix_micros(0), |envelope| envelope.received_at);
    let segment_path = folder.join(SEGMENTS).join(segment::file_name(end.first_leaf));
    let segment = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment_path)
        .map_err(io_error(&segment_path))?;
    if end.torn_bytes > 0 {
        info!(
            bytes = end.torn_bytes,
            after_leaf = leaves,
            "cutting off a write that a crash interrupted"
        );
        segment
            .set_len(end.position)
            .and_then(|()| segment.sync_all())
            .map_err(io_error(&segment_path))?;
    }
    Ok(Recovered {
        frontier: replay.frontier,
        segments,
        segment,
        segment_len: end.position,
        cursors: replay.cursors,
        published,
        last_received_at,
        tree: replay.tree,
    })
}

fn read_checkpoint(folder: &Path, signer: &Signer) -> Result<Published, OpenError> {
    let path = folder.join(CHECKPOINT);
    match fs::read_to_string(&path) {
        Ok(note) => {
            let checkpoint = Checkpoint::open(&note, signer.vkey())
                .map_err(|source| OpenError::Checkpoint { path, source })?;
            Ok(Published { checkpoint, note })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let origin =
                Origin::parse(signer.vkey().name().as_str()).expect("a key's name is a line");
            let checkpoint = Checkpoint::new(origin, TreeSize::EMPTY, tlog::empty_root());
            Ok(Published { checkpoint, note: String::new() })
        }
        Err(error) => Err(io_error(&path)(error)),
    }
}

/// First leaves of the segments in `folder`, in order.
pub(crate) fn list_segments(folder: &Path) -> Result<Vec<u64>, OpenError> {
    let folder = folder.join(SEGMENTS);
    let mut segments = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
        let path = entry.map_err(io_error(&folder))?.path();
        let first_leaf = path.file_name().and_then(|name| segment::first_leaf_of(name.to_str()?));
        segments.push(first_leaf.ok_or(OpenError::ForeignFile { path })?);
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A crash can leave the newest segment without its whole header: then it was never used.
fn drop_unbegun_segment(
    folder: &Path,
    segments: &mut Vec<u64>,
    checkpoint_size: u64,
) -> Result<(), OpenError> {
    let Some(&last) = segments.last() else { return Ok(()) };
    let path = folder.join(SEGMENTS).join(segment::file_name(last));
    let len = fs::metadata(&path).map_err(io_error(&path))?.len();
    if len >= segment::SEGMENT_HEADER_LEN as u64 || last < checkpoint_size {
        return Ok(());
    }
    info!(segment = %path.display(), "dropping a segment that a crash left without its header");
    fs::remove_file(&path).map_err(io_error(&path))?;
    segments.pop();
    if segments.is_empty() {
        create_segment(&folder.join(SEGMENTS), 0).map_err(io_error(&path))?;
        segments.push(0);
    }
    Ok(())
}

/// Where the last segment ends.
struct SegmentEnd {
    first_leaf: u64,
    position: u64,
    torn_bytes: u64,
}

enum Outcome {
    Done(SegmentEnd),
    WrongRoot,
}

/// Brings the tree up to what the segments hold.
struct Replay {
    tree: TreeFiles,
    frontier: Frontier,
    cursors: Cursors,
    /// The leaf it began with.
    begun_at: u64,
}

impl Replay {
    /// Goes on from the checkpoint, or from the start if the tree's files do not reach it.
    fn begin(
        tree: TreeReader,
        checkpoint: &Checkpoint,
        cursors: Cursors,
    ) -> Result<Self, OpenError> {
        let leaves = tree.leaves().map_err(TileError::Io)?;
        let begun_at = if leaves >= checkpoint.size.get() { checkpoint.size.get() } else { 0 };
        if begun_at < checkpoint.size.get() {
            warn!(
                leaves,
                "the tree's files are shorter than the checkpoint; making them again from the segments"
            );
        }
        let frontier = Frontier::load(TreeSize::new(begun_at), |tile| tree.tile(tile))?;
        Ok(Self { tree: TreeFiles::cut(tree, begun_at)?, frontier, cursors, begun_at })
    }

    fn run(
        &mut self,
        folder: &Path,
        segments: &[u64],
        checkpoint: &Checkpoint,
    ) -> Result<Outcome, OpenError> {
        let mut right_root = self.reaches(checkpoint) || checkpoint.size.get() == 0;
        if self.frontier.size() == checkpoint.size && !right_root {
            return Ok(Outcome::WrongRoot);
        }
        let begin = segment::position_of(segments, self.begun_at).unwrap_or_default();
        let mut follows: Option<u64> = None;
        let mut end = None;
        for &first_leaf in segments.iter().skip(begin) {
            if follows.is_some_and(|next_leaf| next_leaf != first_leaf) {
                return Err(OpenError::Gap {
                    leaf: follows.unwrap_or_default(),
                    found: first_leaf,
                });
            }
            let path = folder.join(SEGMENTS).join(segment::file_name(first_leaf));
            let damaged = |leaf, reason| OpenError::Damaged { path: path.clone(), leaf, reason };
            let file = File::open(&path).map_err(io_error(&path))?;
            let len = file.metadata().map_err(io_error(&path))?.len();
            let mut reader = SegmentReader::open(BufReader::new(file), first_leaf)
                .map_err(io_error(&path))?
                .map_err(|reason| damaged(first_leaf, reason))?;
            let torn_bytes = loop {
                match reader.read_next().map_err(io_error(&path))? {
                    Next::Group(position, group) => {
                        self.take(&group, position)?;
                        if self.frontier.size() >= checkpoint.size && !right_root {
                            // A checkpoint is published between two groups, so the log it signs ends where a group ends.
                            right_root = self.reaches(checkpoint);
                            if !right_root {
                                return Ok(Outcome::WrongRoot);
                            }
                        }
                    }
                    Next::End => break 0,
                    Next::Damaged(reason) => {
                        let is_last = segments.last() == Some(&first_leaf);
                        let rest = read_rest(&path, reader.position()).map_err(io_error(&path))?;
                        let after = rest.get(1..).unwrap_or_default();
                        // A crash tears only what was written last, and what a checkpoint covers was fsynced before.
                        if !is_last
                            || reader.next_leaf() < checkpoint.size.get()
                            || segment::holds_a_group(after)
                        {
                            return Err(damaged(reader.next_leaf(), reason));
                        }
                        break len - reader.position();
                    }
                }
            };
            follows = Some(reader.next_leaf());
            end = Some(SegmentEnd { first_leaf, position: reader.position(), torn_bytes });
        }
        Ok(Outcome::Done(end.expect("a log has at least one segment")))
    }

    fn reaches(&self, checkpoint: &Checkpoint) -> bool {
        self.frontier.size() == checkpoint.size && self.frontier.root() == checkpoint.root
    }

    /// Appends those leaves of a group that the tree does not have.
    fn take(&mut self, group: &Group, position: u64) -> Result<(), OpenError> {
        group.cursors().for_each(|cursor| self.cursors.advance(cursor));
        let known = usize::try_from(self.tree.size().saturating_sub(group.first_leaf))
            .unwrap_or(usize::MAX);
        let commitments: Vec<_> = group.envelopes().skip(known).map(Hash::sha256).collect();
        let places: Vec<_> = group.places(position).skip(known).collect();
        let leaf_hashes = self.tree.append(&commitments, &places).map_err(TileError::Io)?;
        for leaf_hash in leaf_hashes {
            self.frontier.append(leaf_hash);
        }
        Ok(())
    }
}

/// The log must be of the key that is to sign it, also where no checkpoint says so yet.
fn check_genesis(
    folder: &Path,
    segments: &[u64],
    tree: &TreeReader,
    signer: &Signer,
) -> Result<(), OpenError> {
    let genesis = read_envelope(folder, segments, tree, 0);
    let named = genesis.and_then(|envelope| envelope.event.sealwire?.vkey);
    match named {
        Some(named) if named != signer.vkey().to_string() => Err(OpenError::OtherKey { named }),
        _ => Ok(()),
    }
}

/// The envelope of a leaf, if it can be read and is one.
fn read_envelope(
    folder: &Path,
    segments: &[u64],
    tree: &TreeReader,
    leaf: u64,
) -> Option<Envelope> {
    let place = tree.place(leaf).ok()?;
    let first_leaf = segments.get(segment::position_of(segments, leaf)?)?;
    let file = File::open(folder.join(SEGMENTS).join(segment::file_name(*first_leaf))).ok()?;
    let mut bytes = vec![0; usize::try_from(place.len).ok()?.min(Envelope::BYTES_MAX)];
    file.read_exact_at(&mut bytes, u64::from(place.begin)).ok()?;
    Envelope::parse(&bytes).ok()
}

fn read_rest(path: &Path, position: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(rest)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path: path.clone(), source }
}

/// Why a log was not opened. Nothing in it was changed, but for what is derived, and a segment without its header, which held nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A tree's file cannot be used.
    #[error("cannot use the tree's files")]
    Tree(#[from] TileError),
    /// The checkpoint is not one, or not of this key.
    #[error("the checkpoint {} is not one that this log's key signed", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenCheckpointError,
    },
    /// The log is another key's.
    #[error("the log is of the key {named}: put that key's file back, or name another directory")]
    OtherKey {
        /// Whose it is.
        named: String,
    },
    /// A file that does not belong there.
    #[error("{} is not a segment: take it out of the folder", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A segment cannot be read where it must be.
    #[error("{} is damaged at leaf {leaf}: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The first leaf that cannot be read.
        leaf: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// A segment is missing.
    #[error(
        "the segment that begins with leaf {leaf} is missing; the next one there begins with {found}: restore it from a copy"
    )]
    Gap {
        /// Where it begins.
        leaf: u64,
        /// What follows.
        found: u64,
    },
    /// Leaves are missing at the end.
    #[error(
        "the checkpoint covers {checkpoint_size} leaves, the segments hold {leaves}: restore the segments from a copy"
    )]
    SegmentsMissing {
        /// Leaves there are.
        leaves: u64,
        /// Leaves there must be.
        checkpoint_size: u64,
    },
    /// The envelopes are not those that were signed.
    #[error(
        "the envelopes do not lead to the root that the checkpoint of {checkpoint_size} leaves signs: `sealwire verify` names the leaf"
    )]
    RootDiffers {
        /// Leaves it covers.
        checkpoint_size: u64,
    },
    /// The first writes fail.
    #[error("the log cannot be begun")]
    Begin(#[source] WriteError),
}
