//! Where envelopes lie, and reading them back.
//!
//! The places of the newest segment's blocks are in memory. Those of a closed segment are in a
//! file, `tree/blocks-<first leaf>`, which follows from the segment; where it is missing or
//! damaged, the segment itself is looked through each time it is opened.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use durable::disk::{self, Disk, DiskFile, Mode, Sequential};

use crate::{
    block::{Leaf, Leaves, Unpacker},
    damage::Damage,
    layout::{TREE, index_name, index_path, segment_path},
    segment::{self, Next, Place, Record, SegmentReader},
};

/// Closed segments whose places are kept in memory: 16 times at most 2.5 MB.
const SEGMENTS_KNOWN_MAX: usize = 16;
/// How often a closed segment is opened again because it was written anew meanwhile. Writing one
/// takes longer than opening it, so even one more time is rare.
const OPEN_ROUNDS_MAX: u32 = 8;
/// Bytes of one place in its file: leaf, position and length.
const PLACE_LEN: usize = 12;

/// The envelopes of a log.
///
/// The writer's thread begins segments and an erasure writes closed ones anew, while any number of
/// readers read. A reader keeps the `Arc` of a segment, and so reads the file that was opened, even
/// where another file has its name by then.
#[derive(Debug)]
pub(crate) struct Envelopes {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// The lock is held to look a segment up or to change the lists, never while the disk works,
    /// and no other lock is taken under it. It is free while a closed segment is opened, so
    /// `rewritten` shows whether what was opened may be kept.
    segments: RwLock<Segments>,
}

#[derive(Debug)]
struct Segments {
    /// First leaves of all segments, in order. `begin_segment` adds the newest.
    first_leaves: Vec<u64>,
    /// `begin_segment` replaces it.
    newest: Arc<Segment>,
    /// Some of the others, those opened last in front. `segment_of` and `begin_segment` add to it,
    /// [`Envelopes::rewritten`] takes one out.
    known: VecDeque<Arc<Segment>>,
    /// Segments that were written anew so far: what was opened before is not to be kept.
    /// [`Envelopes::rewritten`] counts it up, after the new file has its name.
    rewritten: u64,
}

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first_leaf: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Those of the newest segment grow: `Sealer::show` adds a group's before it tells the size.
    /// Those of the others never change. The lock is held to find one place, to add some or to copy
    /// all.
    pub(crate) places: RwLock<Vec<Place>>,
}

impl Envelopes {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        first_leaves: Vec<u64>,
        newest: Arc<Segment>,
    ) -> Self {
        let segments = Segments { first_leaves, newest, known: VecDeque::new(), rewritten: 0 };
        Self { disk, folder, segments: RwLock::new(segments) }
    }

    /// Goes over to a new segment.
    pub(crate) fn begin_segment(&self, newest: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.first_leaves.push(newest.first_leaf);
        let closed = std::mem::replace(&mut segments.newest, newest);
        segments.known.push_front(closed);
        segments.known.truncate(SEGMENTS_KNOWN_MAX);
    }

    /// A segment was written anew: what was known of it is forgotten.
    pub(crate) fn rewritten(&self, first_leaf: u64) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.rewritten += 1;
        segments.known.retain(|segment| segment.first_leaf != first_leaf);
    }

    /// First leaves of all segments but the newest, each with the leaf after its last.
    pub(crate) fn closed(&self) -> Vec<std::ops::Range<u64>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first_leaves.array_windows().map(|[first, next]| *first..*next).collect()
    }

    /// The leaves from `from` up to `end`, which the log must have, each told to `visit` until that
    /// answers `false`.
    pub(crate) fn read(
        &self,
        from: u64,
        end: u64,
        mut visit: impl FnMut(u64, Leaf<'_>) -> bool,
    ) -> io::Result<()> {
        let mut unpacker = Unpacker::new();
        let mut leaf = from;
        while leaf < end {
            let segment = self.segment_of(leaf)?;
            let (first, leaves) = segment.block_of(leaf, &mut unpacker)?;
            let skipped = usize::try_from(leaf - first).map_err(io::Error::other)?;
            let before = leaf;
            for content in leaves.iter().skip(skipped) {
                if leaf == end || !visit(leaf, content) {
                    return Ok(());
                }
                leaf += 1;
            }
            if leaf == before {
                return Err(io::Error::other(format!("no block holds the leaf {leaf}")));
            }
        }
        Ok(())
    }

    /// The segment that holds a leaf.
    fn segment_of(&self, leaf: u64) -> io::Result<Arc<Segment>> {
        let (first_leaf, rewritten) = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            if segments.newest.first_leaf <= leaf {
                return Ok(Arc::clone(&segments.newest));
            }
            let position = segment::position_of(&segments.first_leaves, leaf);
            let first_leaf = position
                .and_then(|at| segments.first_leaves.get(at))
                .ok_or_else(|| io::Error::other(format!("no segment holds the leaf {leaf}")))?;
            if let Some(segment) = segments.known.iter().find(|one| one.first_leaf == *first_leaf) {
                return Ok(Arc::clone(segment));
            }
            (*first_leaf, segments.rewritten)
        };
        let segment = Arc::new(Segment::open_closed(&*self.disk, &self.folder, first_leaf)?);
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if segments.rewritten == rewritten {
            segments.known.push_front(Arc::clone(&segment));
            segments.known.truncate(SEGMENTS_KNOWN_MAX);
        }
        Ok(segment)
    }
}

impl Segment {
    /// Opens a segment that does not grow any more.
    fn open_closed(disk: &dyn Disk, folder: &Path, first_leaf: u64) -> io::Result<Self> {
        let WithIndex { file, index } = open_with_index(disk, folder, first_leaf)?;
        let places = match index.as_deref().and_then(decode_index) {
            Some(places) => places,
            None => scan(&file, first_leaf, u64::MAX)?,
        };
        Ok(Self { first_leaf, file, places: RwLock::new(places) })
    }

    /// The block that holds a leaf, with its first leaf.
    fn block_of(&self, leaf: u64, unpacker: &mut Unpacker) -> io::Result<(u64, Leaves)> {
        let relative = u32::try_from(leaf - self.first_leaf).map_err(io::Error::other)?;
        let place = {
            let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
            let after = places.partition_point(|place| place.leaf <= relative);
            after.checked_sub(1).and_then(|at| places.get(at)).copied()
        };
        let place =
            place.ok_or_else(|| io::Error::other(format!("no block holds the leaf {leaf}")))?;
        let leaves = read_block(&*self.file, place, unpacker).map_err(|source| {
            let name = segment::file_name(self.first_leaf);
            io::Error::other(BlockError { name, position: place.position, source })
        })?;
        Ok((self.first_leaf + u64::from(place.leaf), leaves))
    }
}

/// A block cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name} at byte {position}")]
struct BlockError {
    name: String,
    position: u32,
    source: io::Error,
}

fn read_block(file: &dyn DiskFile, place: Place, unpacker: &mut Unpacker) -> io::Result<Leaves> {
    if place.len as usize > segment::GROUP_BYTES_MAX {
        return Err(io::Error::other("its block is larger than any that is written"));
    }
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, u64::from(place.position))?;
    let (record, _len) =
        Record::decode(segment::Version::of_record(&bytes), &bytes).map_err(io::Error::other)?;
    let no_leaves = Damage("there is no block");
    record.unpack(unpacker).and_then(|leaves| leaves.ok_or(no_leaves)).map_err(io::Error::other)
}

/// The places of a segment's blocks, from the segment itself; those of the groups up to the leaf
/// `end`, if it goes on after that.
pub(crate) fn scan(file: &Arc<dyn DiskFile>, first_leaf: u64, end: u64) -> io::Result<Vec<Place>> {
    let source = io::BufReader::new(Sequential::new(Arc::clone(file)));
    let mut reader = SegmentReader::open(source, first_leaf)?.map_err(io::Error::other)?;
    let mut places = Vec::new();
    while reader.next_leaf() < end {
        match reader.read_next()? {
            Next::Group(position, group) => places.extend(group.places(position, first_leaf)),
            Next::End => break,
            Next::Damaged(reason) => return Err(io::Error::other(reason)),
        }
    }
    Ok(places)
}

/// A closed segment, and the index that belongs to it.
struct WithIndex {
    file: Arc<dyn DiskFile>,
    /// `None` where there is none.
    index: Option<Vec<u8>>,
}

/// Opens a closed segment with its index. A segment may be written anew at any moment, with its
/// index removed before and written after: an index that was the same before and after the segment
/// was opened is the segment's.
fn open_with_index(disk: &dyn Disk, folder: &Path, first_leaf: u64) -> io::Result<WithIndex> {
    let read_index = || disk::read_small(disk, &index_path(folder, first_leaf));
    let mut index = read_index()?;
    for _round in 0..OPEN_ROUNDS_MAX {
        let file = disk.open(&segment_path(folder, first_leaf), Mode::Read)?;
        let after = read_index()?;
        if after == index {
            return Ok(WithIndex { file, index });
        }
        index = after;
    }
    let words = "the segment is being written anew again and again: try again later";
    Err(io::Error::new(io::ErrorKind::WouldBlock, words))
}

/// Whether the index of a closed segment says where its blocks lie, or there is none. `places` is
/// where they lay when the segment was read, which may have been written anew since.
pub(crate) fn index_is_right(
    disk: &dyn Disk,
    folder: &Path,
    first_leaf: u64,
    places: &[Place],
) -> io::Result<bool> {
    let is_right = |index: Option<Vec<u8>>, places: &[Place]| {
        index.is_none_or(|index| index == encode_index(places))
    };
    if is_right(disk::read_small(disk, &index_path(folder, first_leaf))?, places) {
        return Ok(true);
    }
    let WithIndex { file, index } = open_with_index(disk, folder, first_leaf)?;
    Ok(is_right(index, &scan(&file, first_leaf, u64::MAX)?))
}

/// Writes down where a closed segment's blocks lie: whole or not at all.
pub(crate) fn write_index(
    disk: &dyn Disk,
    folder: &Path,
    first_leaf: u64,
    places: &[Place],
) -> io::Result<()> {
    disk::replace(disk, &folder.join(TREE), &index_name(first_leaf), &encode_index(places))
}

/// Places and a checksum.
pub(crate) fn encode_index(places: &[Place]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(places.len() * PLACE_LEN + 4);
    for place in places {
        bytes.extend(place.leaf.to_le_bytes());
        bytes.extend(place.position.to_le_bytes());
        bytes.extend(place.len.to_le_bytes());
    }
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode_index(bytes: &[u8]) -> Option<Vec<Place>> {
    let (places, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(places) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (numbers, rest) = places.as_chunks::<4>();
    let (places, incomplete) = numbers.as_chunks::<3>();
    let place = |[leaf, position, len]: &[[u8; 4]; 3]| Place {
        leaf: u32::from_le_bytes(*leaf),
        position: u32::from_le_bytes(*position),
        len: u32::from_le_bytes(*len),
    };
    (rest.is_empty() && incomplete.is_empty()).then(|| places.iter().map(place).collect())
}
