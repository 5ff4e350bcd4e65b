//! Removes envelopes from segments for good: rewrites a segment without them and replaces the old
//! file.
//!
//! The commitment of an erased envelope stays, so every proof stays valid. The salt goes with the
//! envelope, so nobody can test guesses of the values against the commitment. The key of its batch
//! goes too: the caller may have derived it from the events, and it has no salt. Only segments that
//! grow no further are rewritten. A second erasure of the same leaves changes nothing, so a start
//! after a crash finishes an interrupted one.

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use durable::disk::{Disk, Mode, NEXT, Sequential};
use tlog::Hash;
use tracing::warn;

use crate::{
    batch::AppendError,
    block::{Leaf, Unpacker},
    damage::Damage,
    envelopes::{self, Envelopes},
    layout::{SEGMENTS, TREE, index_path, segment_path},
    ranges::LeafRanges,
    segment::{
        self, EncodedGroup, Group, GroupBuilder, Next, PlacedRecord, Record, SegmentReader,
        encode_segment_header,
    },
};

/// Rewrites every closed segment that still holds one of these leaves. Returns the number of bytes
/// by which the segments shrank. Before each segment it asks `is_ending` whether the log is being
/// closed.
pub(crate) fn erase(
    disk: &dyn Disk,
    folder: &Path,
    envelopes: &Envelopes,
    leaves: &LeafRanges,
    is_ending: &dyn Fn() -> bool,
) -> Result<u64, EraseError> {
    let mut freed = 0;
    let replaced = |first_leaf| envelopes.rewritten(first_leaf);
    for segment in envelopes.closed().iter().filter(|segment| leaves.overlap(segment)) {
        if is_ending() {
            return Err(EraseError::Ending);
        }
        freed += erase_in(disk, folder, segment.start, leaves, &replaced)?.unwrap_or_default();
    }
    Ok(freed)
}

/// Rewrites the segment that begins with `first_leaf`, if it holds one of these leaves. Nobody may
/// be writing to the segment. Calls `replaced` as soon as readers would open the new file. Returns
/// the number of bytes by which the segment shrank, or `None` if it held none of the leaves.
pub(crate) fn erase_in(
    disk: &dyn Disk,
    folder: &Path,
    first_leaf: u64,
    leaves: &LeafRanges,
    replaced: &dyn Fn(u64),
) -> Result<Option<u64>, EraseError> {
    let path = segment_path(folder, first_leaf);
    let failed = |source| EraseError::Io { path: path.clone(), source };
    let damaged = |reason| EraseError::Damaged { path: path.clone(), reason };
    let file = disk.open(&path, Mode::Read).map_err(failed)?;
    let len_before = file.len().map_err(failed)?;
    let mut reader = SegmentReader::open(BufReader::new(Sequential::new(file)), first_leaf)
        .map_err(failed)?
        .map_err(damaged)?;

    let segments = folder.join(SEGMENTS);
    let next_path = segments.join(format!("{}{NEXT}", segment::file_name(first_leaf)));
    let next = disk.open(&next_path, Mode::Empty).map_err(failed)?;
    let mut len = segment::SEGMENT_HEADER_LEN as u64;
    let mut places = Vec::new();
    next.write_all_at(&encode_segment_header(first_leaf), 0).map_err(failed)?;
    let mut rewriter = Rewriter {
        leaves,
        builder: GroupBuilder::new(),
        unpacker: Unpacker::new(),
        changed: false,
    };
    loop {
        match reader.read_next().map_err(failed)? {
            Next::Group(_, group) => {
                rewriter.group(&group).map_err(damaged)?;
                let EncodedGroup { bytes, places: in_group } =
                    rewriter.builder.encode(group.first_leaf);
                next.write_all_at(bytes, len).map_err(failed)?;
                places.extend(
                    in_group.iter().map(|place| place.within(len, group.first_leaf - first_leaf)),
                );
                len += bytes.len() as u64;
            }
            Next::End => break,
            Next::Damaged(reason) => return Err(damaged(reason)),
        }
    }
    if !rewriter.changed {
        disk.remove(&next_path).map_err(failed)?;
        return Ok(None);
    }
    next.sync().map_err(failed)?;
    // Remove the index first: it must never describe the new segment.
    match disk.remove(&index_path(folder, first_leaf)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => disk.sync_folder(&folder.join(TREE)).map_err(failed)?,
    }
    disk.rename(&next_path, &path).map_err(failed)?;
    replaced(first_leaf);
    disk.sync_folder(&segments).map_err(failed)?;
    if let Err(error) = envelopes::write_index(disk, folder, first_leaf, &places) {
        warn!(%error, "cannot write the block index of a segment; readers will search the segment");
    }
    Ok(Some(len_before.saturating_sub(len)))
}

struct Rewriter<'a> {
    leaves: &'a LeafRanges,
    builder: GroupBuilder,
    unpacker: Unpacker,
    /// Whether an envelope or a key was removed.
    changed: bool,
}

impl Rewriter<'_> {
    /// Builds the group without what is to be erased.
    fn group(&mut self, group: &Group) -> Result<(), Damage> {
        self.builder.clear();
        let mut next_leaf = group.first_leaf;
        let mut is_sealed = true;
        for PlacedRecord { record, .. } in group.records(0) {
            let first = next_leaf;
            next_leaf += u64::from(record.leaves());
            match record {
                Record::Cursor { name, next_leaf } => self.builder.push_cursor(name, next_leaf),
                // The caller may have derived the key from the erased events.
                Record::Key(used) if self.leaves.overlap(&used.batch()) => {
                    (self.changed, is_sealed) = (true, false);
                }
                Record::Key(used) => self.builder.push_key(&used),
                Record::Mac(mac) if is_sealed => self.builder.push_mac(&mac),
                // The MAC covered the removed key. A checkpoint covers the group, so it needs no
                // MAC.
                Record::Mac(_) => {}
                Record::Block(block) if !self.leaves.overlap(&(first..next_leaf)) => {
                    self.builder.push_packed(&block);
                }
                Record::Block(_) | Record::Envelope(_) => {
                    let leaves = record.unpack(&mut self.unpacker)?;
                    for (leaf, content) in (first..).zip(leaves.iter().flat_map(|all| all.iter())) {
                        let left = match content {
                            Leaf::Envelope(envelope) if self.leaves.contains(leaf) => {
                                self.changed = true;
                                Leaf::Erased(Hash::sha256(envelope))
                            }
                            kept => kept,
                        };
                        self.builder.push_leaf(left);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Why envelopes were not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A file cannot be read or written.
    #[error("cannot rewrite {}", path.display())]
    Io {
        /// Path of the segment.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// A segment is damaged.
    #[error("{} is damaged: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// Path of the segment.
        path: PathBuf,
        /// What is wrong with the segment.
        reason: Damage,
    },
    /// The log has no such leaf.
    #[error("leaf {leaf} is not in the log, which has {size} leaves")]
    NoSuchLeaf {
        /// The leaf that was asked for.
        leaf: u64,
        /// Number of leaves in the log.
        size: u64,
    },
    /// The leaf holds an event of the log itself.
    #[error("leaf {leaf} is an event of the log itself and cannot be erased")]
    OfTheLog {
        /// Leaf of the event.
        leaf: u64,
    },
    /// A hold covers the envelope.
    #[error("leaf {leaf} is under a hold (placed at leaf {hold}): release the hold first")]
    Held {
        /// Leaf of the envelope.
        leaf: u64,
        /// Leaf that placed the hold.
        hold: u64,
    },
    /// None of the leaves has an envelope.
    #[error("there is nothing to erase: the envelopes of these leaves are already erased")]
    Nothing,
    /// No hold in force was placed at this leaf.
    #[error("no hold placed at leaf {leaf} is in force")]
    NoSuchHold {
        /// The leaf that was asked for.
        leaf: u64,
    },
    /// The log is being closed. The order is sealed, and the next start carries it out.
    #[error("the log is closing: the order is sealed, and the next start will carry it out")]
    Ending,
    /// An envelope cannot be read.
    #[error("cannot read an envelope")]
    Read(#[source] io::Error),
    /// The event that records the erasure or the release was not sealed.
    #[error("cannot seal the event that records the order")]
    Append(#[from] AppendError),
}
