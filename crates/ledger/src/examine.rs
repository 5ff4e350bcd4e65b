//! Examines a ledger's folder that may be damaged. [`verify`](crate::verify) stops at the first
//! fault; this module reads every segment.
//!
//! It helps to decide which of two files that differ is right: if the commitments of the segments
//! lead to the signed root, the segments are right, whatever the tree files hold. It writes
//! nothing.

use std::{
    io::{self, BufReader},
    ops::Range,
    path::{Path, PathBuf},
};

use durable::disk::{Disk, Mode, Sequential, read_small};
use model::{Envelope, Timestamp};
use tlog::{Checkpoint, Frontier, Hash, Rfc6962, SignedNote, TreeSize};

use crate::{
    block::{Leaf, Unpacker},
    damage::Damage,
    layout::{CHECKPOINT, TREE, segment_path},
    ranges::LeafRanges,
    recover::{OpenError, list_segments},
    segment::{Group, Next, SegmentReader},
    state::State,
    tree::TreeReader,
};

/// The result of reading all segments.
#[derive(Debug)]
pub struct ExaminedSegments {
    /// The segments, in order.
    pub segments: Vec<ExaminedSegment>,
    /// The root of the tree of the requested size, if all its leaves can be read.
    pub root: Option<Hash>,
}

/// The result of reading one segment.
#[derive(Debug)]
pub struct ExaminedSegment {
    /// Path of the segment.
    pub path: PathBuf,
    /// The range of leaves that can be read.
    pub leaves: Range<u64>,
    /// The damage at which the reading stopped, if there is any.
    pub damage: Option<Damage>,
    /// First leaf whose commitment differs from its entry in the tree files.
    pub differs: Option<u64>,
}

impl ExaminedSegments {
    /// Ranges of leaves that no segment holds although a later segment exists. It leaves out gaps
    /// after a damaged segment, which may hold the leaves.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut next_leaf = 0;
        for segment in &self.segments {
            if next_leaf < segment.leaves.start {
                missing.push(next_leaf..segment.leaves.start);
            }
            // A damaged segment may hold more than can be read.
            next_leaf = if segment.damage.is_some() { u64::MAX } else { segment.leaves.end };
        }
        missing
    }
}

/// Reads every segment in `folder`. After a damaged segment it continues with the next. `size` is
/// the size of the tree whose root is wanted.
///
/// # Errors
/// A file cannot be read, or is not a segment.
pub fn examine_segments(
    disk: &dyn Disk,
    folder: &Path,
    size: TreeSize,
) -> Result<ExaminedSegments, OpenError> {
    let tree = TreeReader::open(disk, &folder.join(TREE), Mode::Read)
        .and_then(|tree| Ok((tree.entry_count()?, tree)));
    // Without readable entries there is nothing to compare the segments with.
    let mut reading = Replay::new(size, tree.ok());
    let mut segments = Vec::new();
    for first_leaf in list_segments(disk, folder)? {
        let path = segment_path(folder, first_leaf);
        let examined = reading.segment(disk, &path, first_leaf);
        segments.push(examined.map_err(|source| OpenError::Io { path, source })?);
    }
    Ok(ExaminedSegments { segments, root: reading.root })
}

/// Time at which the site received the newest envelope that can be read; `None` if there is none.
///
/// # Errors
/// A file cannot be read, or is not a segment.
pub fn newest_received_at(disk: &dyn Disk, folder: &Path) -> Result<Option<Timestamp>, OpenError> {
    for first_leaf in list_segments(disk, folder)?.into_iter().rev() {
        let path = segment_path(folder, first_leaf);
        let mut reading = Replay::new(TreeSize::EMPTY, None);
        reading
            .segment(disk, &path, first_leaf)
            .map_err(|source| OpenError::Io { path, source })?;
        if let Ok(envelope) = Envelope::parse(&reading.newest) {
            return Ok(Some(envelope.received_at));
        }
    }
    Ok(None)
}

struct Replay {
    frontier: Frontier<Rfc6962>,
    size: TreeSize,
    root: Option<Hash>,
    tree: Option<(u64, TreeReader)>,
    unpacker: Unpacker,
    /// The last envelope that was read.
    newest: Vec<u8>,
}

impl Replay {
    fn new(size: TreeSize, tree: Option<(u64, TreeReader)>) -> Self {
        let root = (size == TreeSize::EMPTY).then(tlog::empty_root);
        let (frontier, unpacker, newest) = (Frontier::empty(), Unpacker::new(), Vec::new());
        Self { frontier, size, root, tree, unpacker, newest }
    }

    fn segment(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        first_leaf: u64,
    ) -> io::Result<ExaminedSegment> {
        let mut examined = ExaminedSegment {
            path: path.to_owned(),
            leaves: first_leaf..first_leaf,
            damage: None,
            differs: None,
        };
        let source =
            BufReader::with_capacity(1 << 20, Sequential::new(disk.open(path, Mode::Read)?));
        let mut reader = match SegmentReader::open(source, first_leaf)? {
            Ok(reader) => reader,
            Err(damage) => {
                examined.damage = Some(damage);
                return Ok(examined);
            }
        };
        while examined.damage.is_none() {
            match reader.read_next()? {
                Next::Group(_, group) => {
                    examined.damage = self.group(&group, &mut examined.differs).err();
                    if examined.damage.is_none() {
                        examined.leaves.end = reader.next_leaf();
                    }
                }
                Next::End => break,
                Next::Damaged(damage) => examined.damage = Some(damage),
            }
        }
        Ok(examined)
    }

    fn group(&mut self, group: &Group, differs: &mut Option<u64>) -> Result<(), Damage> {
        let mut commitments = Vec::new();
        for placed in group.records(0) {
            let leaves = placed.record.unpack(&mut self.unpacker)?;
            for content in leaves.iter().flat_map(|leaves| leaves.iter()) {
                commitments.push(match content {
                    Leaf::Envelope(envelope) => {
                        self.newest.clear();
                        self.newest.extend(envelope);
                        Hash::sha256(envelope)
                    }
                    Leaf::Erased(commitment) => commitment,
                });
            }
        }
        if differs.is_none() {
            *differs = self.first_that_differs(group.first_leaf, &commitments);
        }
        // A root cannot be computed after missing leaves.
        if self.frontier.size().get() == group.first_leaf {
            for commitment in commitments {
                self.frontier.append(tlog::leaf_hash(commitment.as_bytes()));
                if self.frontier.size() == self.size {
                    self.root = Some(self.frontier.root());
                }
            }
        }
        Ok(())
    }

    fn first_that_differs(&self, first_leaf: u64, commitments: &[Hash]) -> Option<u64> {
        let (known, tree) = self.tree.as_ref()?;
        let count = known.saturating_sub(first_leaf).min(commitments.len() as u64);
        let entries = tree.entries(first_leaf, usize::try_from(count).ok()?).ok()?;
        let at = entries.iter().zip(commitments).position(|(entry, own)| entry != own)?;
        Some(first_leaf + at as u64)
    }
}

/// What the state in a ledger's folder says, unverified.
#[derive(Debug)]
pub struct StateClaims {
    /// Number of leaves that the state covers.
    pub size: u64,
    /// The verifier key that signs the log.
    pub vkey: String,
    /// Leaves that are ordered to be erased and that segments may still hold.
    pub erasing: LeafRanges,
}

/// Reads the checkpoint in a ledger's folder and its note, without verification; `None` if there is
/// none.
///
/// # Errors
/// The file cannot be read, or is not a checkpoint.
pub fn claimed_checkpoint(
    disk: &dyn Disk,
    folder: &Path,
) -> io::Result<Option<(Checkpoint, String)>> {
    let Some(bytes) = read_small(disk, &folder.join(CHECKPOINT))? else { return Ok(None) };
    let note = String::from_utf8(bytes).map_err(io::Error::other)?;
    let signed = SignedNote::parse(&note).map_err(io::Error::other)?;
    let checkpoint = Checkpoint::parse(signed.unverified_text()).map_err(io::Error::other)?;
    Ok(Some((checkpoint, note)))
}

/// Reads the state in a ledger's folder, without verification; `None` if there is none.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn claimed_state(disk: &dyn Disk, folder: &Path) -> io::Result<Option<StateClaims>> {
    let state = State::load(disk, folder)?;
    Ok(state.map(|state| StateClaims {
        size: state.size,
        vkey: state.key().unwrap_or_default().to_owned(),
        erasing: state.erasing(),
    }))
}

/// Computes the root of the first `size` leaves from the tree files in a ledger's folder; `None` if
/// they cover fewer leaves.
///
/// # Errors
/// A file cannot be read.
pub fn tree_root(disk: &dyn Disk, folder: &Path, size: TreeSize) -> io::Result<Option<Hash>> {
    let tree = TreeReader::open(disk, &folder.join(TREE), Mode::Read)?;
    if !tree.covers(size.get())? {
        return Ok(None);
    }
    let frontier = Frontier::<Rfc6962>::load_subtrees(size, tree.subtrees::<Rfc6962>(size))?;
    Ok(Some(frontier.root()))
}

/// Computes the root of the first `size` leaves of a log that verifies, from the tree files, or
/// from the segments if the tree files cover fewer leaves; `None` if the log has fewer leaves.
///
/// # Errors
/// A file cannot be read, or is not a segment.
pub fn log_root(disk: &dyn Disk, folder: &Path, size: TreeSize) -> Result<Option<Hash>, OpenError> {
    match tree_root(disk, folder, size).map_err(OpenError::Tree)? {
        Some(root) => Ok(Some(root)),
        None => Ok(examine_segments(disk, folder, size)?.root),
    }
}

/// Whether the tree files in a ledger's folder cover a tree of `size` leaves.
///
/// # Errors
/// A file cannot be read.
pub fn tree_covers(disk: &dyn Disk, folder: &Path, size: TreeSize) -> io::Result<bool> {
    TreeReader::open(disk, &folder.join(TREE), Mode::Read)?.covers(size.get())
}
