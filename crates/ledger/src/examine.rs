//! Looks at a ledger's folder that may be damaged: where [`verify`](crate::verify) stops at the
//! first thing that is wrong, this looks at every segment.
//!
//! It helps to decide which of two things that differ is right: segments whose commitments lead to
//! the signed root are, whatever the tree files hold. Nothing is written.

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

/// What the segments hold.
#[derive(Debug)]
pub struct ExaminedSegments {
    /// Each of them, in order.
    pub segments: Vec<ExaminedSegment>,
    /// The root of as many leaves as were asked for, if all of them can be read.
    pub root: Option<Hash>,
}

/// What one segment holds.
#[derive(Debug)]
pub struct ExaminedSegment {
    /// The file.
    pub path: PathBuf,
    /// The leaves that can be read.
    pub leaves: Range<u64>,
    /// Why it cannot be read any further, if it cannot.
    pub damage: Option<Damage>,
    /// The first leaf that is not what the tree files have for it.
    pub differs: Option<u64>,
}

impl ExaminedSegments {
    /// Leaves that no segment holds although a later segment is there, and though no damaged
    /// segment stands where they should be.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut next_leaf = 0;
        for segment in &self.segments {
            if next_leaf < segment.leaves.start {
                missing.push(next_leaf..segment.leaves.start);
            }
            // A damaged one may hold more than can be read.
            next_leaf = if segment.damage.is_some() { u64::MAX } else { segment.leaves.end };
        }
        missing
    }
}

/// Reads every segment in `folder`, from one that is damaged on to the next. `size` is how many
/// leaves the root is wanted of.
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
    // Where there are none that can be read, there is nothing to hold the segments against.
    let mut reading = Replay::new(size, tree.ok());
    let mut segments = Vec::new();
    for first_leaf in list_segments(disk, folder)? {
        let path = segment_path(folder, first_leaf);
        let examined = reading.segment(disk, &path, first_leaf);
        segments.push(examined.map_err(|source| OpenError::Io { path, source })?);
    }
    Ok(ExaminedSegments { segments, root: reading.root })
}

/// When the newest envelope that can be read was received; `None` where there is none.
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
    /// The envelope that was read last.
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
        // Behind leaves that are missing no root can be computed.
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

/// What the state says.
#[derive(Debug)]
pub struct StateClaims {
    /// Leaves the log has.
    pub size: u64,
    /// The key that signs it.
    pub vkey: String,
    /// What is ordered to be erased and segments may still hold.
    pub erasing: LeafRanges,
}

/// The checkpoint in a ledger's folder and its note, unverified; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is no checkpoint.
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

/// What the state in a ledger's folder says, unverified; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn claimed_state(disk: &dyn Disk, folder: &Path) -> io::Result<Option<StateClaims>> {
    let state = State::load(disk, folder)?;
    Ok(state.map(|state| StateClaims {
        size: state.size,
        vkey: state.key().unwrap_or_default().to_owned(),
        erasing: state.erasing(),
    }))
}

/// The root of the first `size` leaves, as the tree files in a ledger's folder have it; `None`
/// where they have fewer.
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

/// The root of the first `size` leaves of a log that verifies: from the tree files, or from the
/// segments where those have fewer; `None` where the log has.
///
/// # Errors
/// A file cannot be read, or is not a segment.
pub fn log_root(disk: &dyn Disk, folder: &Path, size: TreeSize) -> Result<Option<Hash>, OpenError> {
    match tree_root(disk, folder, size).map_err(OpenError::Tree)? {
        Some(root) => Ok(Some(root)),
        None => Ok(examine_segments(disk, folder, size)?.root),
    }
}

/// Whether the tree files in a ledger's folder have what a tree of `size` leaves calls for.
///
/// # Errors
/// A file cannot be read.
pub fn tree_covers(disk: &dyn Disk, folder: &Path, size: TreeSize) -> io::Result<bool> {
    TreeReader::open(disk, &folder.join(TREE), Mode::Read)?.covers(size.get())
}
