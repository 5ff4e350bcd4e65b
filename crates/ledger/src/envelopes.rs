//! Knows where envelopes lie, and reads them.
//!
//! The places of the newest segment's blocks are in memory. Those of a closed segment are in a
//! file, `tree/blocks-<first leaf>`, which is derived from the segment. If the file is missing or
//! damaged, the segment is scanned each time it is opened.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use durable::disk::{self, Disk, DiskFile, Mode, Sequential};

use crate::{
    block::{Leaf, Leaves, Unpacker},
    damage::Damage,
    layout::{TREE, index_name, index_path, segment_path},
    segment::{self, Next, Place, Record, SegmentReader},
};

/// Number of closed segments whose places stay in memory: 16 times at most 2.5 MB.
const SEGMENTS_KNOWN_MAX: usize = 16;
/// Number of times that a closed segment is opened because an erasure rewrote it meanwhile.
/// Rewriting a segment takes longer than opening it, so even a second time is rare.
const OPEN_ROUNDS_MAX: u32 = 8;
/// Size in bytes of one place in its file: leaf, position and length.
const PLACE_LEN: usize = 12;

/// Most unpackers that are kept for later reads: as many as read at the same time all day, such as
/// the index, the pipeline and the live feed.
const UNPACKERS_MAX: usize = 4;

/// The envelopes of a log.
///
/// The writer's thread begins segments and an erasure rewrites closed ones, while any number of
/// readers read. A reader keeps the `Arc` of a segment, so it reads the file that was opened, even
/// after another file has taken its name.
#[derive(Debug)]
pub(crate) struct Envelopes {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// A holder of the lock only looks up a segment or changes the lists. It takes no other lock
    /// and does not use the disk. The lock is free while a closed segment is opened, so `rewritten`
    /// shows whether the opened segment may be kept.
    segments: RwLock<Segments>,
    /// Unpackers that no read uses now: each has a window of more than a hundred kilobytes, which
    /// costs more to make than a small read does. A holder of the lock only takes or adds one.
    unpackers: Mutex<Vec<Unpacker>>,
}

#[derive(Debug)]
struct Segments {
    /// First leaves of all segments, in order. `begin_segment` adds the newest.
    first_leaves: Vec<u64>,
    /// The segment that the writer appends to. `begin_segment` replaces it.
    newest: Arc<Segment>,
    /// Some closed segments, the last opened one first. `segment_of` and `begin_segment` add to
    /// them, and [`Envelopes::rewritten`] removes one.
    known: VecDeque<Arc<Segment>>,
    /// Number of rewrites so far. If it has changed since a segment was opened, that segment must
    /// not be kept. [`Envelopes::rewritten`] increases it after the new file has its name.
    rewritten: u64,
}

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first_leaf: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Places of the segment's blocks. Those of the newest segment grow: `Sealer::show` adds the
    /// places of a group before it publishes the size. Those of a closed segment never change. A
    /// holder of the lock only finds one place, adds some or copies all.
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
        Self { disk, folder, segments: RwLock::new(segments), unpackers: Mutex::default() }
    }

    /// Makes a new segment the newest one.
    pub(crate) fn begin_segment(&self, newest: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.first_leaves.push(newest.first_leaf);
        let closed = std::mem::replace(&mut segments.newest, newest);
        segments.known.push_front(closed);
        segments.known.truncate(SEGMENTS_KNOWN_MAX);
    }

    /// Forgets a segment that was rewritten.
    pub(crate) fn rewritten(&self, first_leaf: u64) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.rewritten += 1;
        segments.known.retain(|segment| segment.first_leaf != first_leaf);
    }

    /// The range of leaves of each segment but the newest.
    pub(crate) fn closed(&self) -> Vec<std::ops::Range<u64>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first_leaves.array_windows().map(|[first, next]| *first..*next).collect()
    }

    /// Calls `visit` with each leaf from `from` up to `end` until it returns `false`. The log must
    /// have the leaves.
    pub(crate) fn read(
        &self,
        from: u64,
        end: u64,
        visit: impl FnMut(u64, Leaf<'_>) -> bool,
    ) -> io::Result<()> {
        let unpackers = || self.unpackers.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = unpackers().pop();
        let mut unpacker = lent.unwrap_or_else(Unpacker::new);
        let read = self.read_with(&mut unpacker, from, end, visit);
        let mut free = unpackers();
        if free.len() < UNPACKERS_MAX {
            free.push(unpacker);
        }
        read
    }

    fn read_with(
        &self,
        unpacker: &mut Unpacker,
        from: u64,
        end: u64,
        mut visit: impl FnMut(u64, Leaf<'_>) -> bool,
    ) -> io::Result<()> {
        let mut leaf = from;
        while leaf < end {
            let segment = self.segment_of(leaf)?;
            let (first, leaves) = segment.block_of(leaf, unpacker)?;
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

    /// Finds or opens the segment that holds a leaf.
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
    /// Opens a segment that grows no further.
    fn open_closed(disk: &dyn Disk, folder: &Path, first_leaf: u64) -> io::Result<Self> {
        let WithIndex { file, index } = open_with_index(disk, folder, first_leaf)?;
        let places = match index.as_deref().and_then(decode_index) {
            Some(places) => places,
            None => scan(&file, first_leaf, u64::MAX)?,
        };
        Ok(Self { first_leaf, file, places: RwLock::new(places) })
    }

    /// Reads the block that holds a leaf, and returns it with its first leaf.
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

/// A block of a segment cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name} at byte {position}")]
struct BlockError {
    name: String,
    position: u32,
    source: io::Error,
}

fn read_block(file: &dyn DiskFile, place: Place, unpacker: &mut Unpacker) -> io::Result<Leaves> {
    if place.len as usize > segment::GROUP_BYTES_MAX {
        return Err(io::Error::other("its block is too large"));
    }
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, u64::from(place.position))?;
    let (record, _len) =
        Record::decode(segment::Version::of_record(&bytes), &bytes).map_err(io::Error::other)?;
    let no_leaves = Damage("there is no block");
    record.unpack(unpacker).and_then(|leaves| leaves.ok_or(no_leaves)).map_err(io::Error::other)
}

/// Finds the places of a segment's blocks in the segment itself, in the groups up to the leaf
/// `end`.
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

/// A closed segment and its index.
struct WithIndex {
    file: Arc<dyn DiskFile>,
    /// The bytes of the index file; `None` if it does not exist.
    index: Option<Vec<u8>>,
}

/// Opens a closed segment with its index. An erasure may rewrite the segment at any moment; it
/// removes the index before and writes it after. So an index that is the same before and after the
/// segment was opened belongs to the segment.
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
    let words = "the segment keeps being rewritten: try again later";
    Err(io::Error::new(io::ErrorKind::WouldBlock, words))
}

/// Whether the index of a closed segment gives the places of its blocks, or does not exist.
/// `places` are the places when the segment was read; an erasure may have rewritten it since.
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

/// Writes the index of a closed segment, whole or not at all.
pub(crate) fn write_index(
    disk: &dyn Disk,
    folder: &Path,
    first_leaf: u64,
    places: &[Place],
) -> io::Result<()> {
    disk::replace(disk, &folder.join(TREE), &index_name(first_leaf), &encode_index(places))
}

/// Encodes the places, followed by a CRC-32C of them.
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
