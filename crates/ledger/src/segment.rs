//! Segments: the write-ahead log, byte for byte as `docs/formats/ledger.md` says.
//!
//! A segment is a header and then commit groups. A group is what one fsync made durable: blocks of
//! envelopes, and what moved with them. Both carry checksums (CRC-32C), which find accidents; that
//! nobody changed an envelope on purpose is the tree's business.
//!
//! Segments of version 1, which hold envelopes one by one and uncompressed, are read and no longer
//! written.
//!
//! Invariant: groups follow each other without gaps, and a group's first leaf is the one after the
//! last of the group before.

use std::io::{self, Read};

use model::Envelope;
use tlog::Hash;

use crate::{
    block::{Leaf, Leaves, Packer, Unpacker},
    seal::MacBytes,
};

pub use crate::damage::Damage;

/// Version of the format that this crate writes; `docs/formats/ledger.md`.
pub const FORMAT: u32 = 4;

/// A new segment is begun when one is larger than this.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Payload of the largest group: what the writer puts in one, and one batch of the largest
/// envelopes more.
pub const GROUP_BYTES_MAX: usize = 32 << 20;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_LEN: usize = 24;
/// Bytes of a group's header.
pub const GROUP_HEADER_LEN: usize = 28;

const SEGMENT_MAGIC: [u8; 8] = *b"SEALWIRE";
const GROUP_MAGIC: [u8; 4] = *b"SWgr";
/// Version 1 only.
const KIND_ENVELOPE: u8 = 1;
const KIND_CURSOR: u8 = 2;
const KIND_BLOCK: u8 = 3;
/// Versions 2 and 3 only: a key of an append with a hash of what was appended, which is not looked
/// at any more.
const KIND_KEY_AND_EVENTS: u8 = 4;
const KIND_KEY: u8 = 5;
const KIND_MAC: u8 = 6;
/// Kind and length before each record.
const RECORD_HEADER_LEN: usize = 5;

/// Version of a segment's format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// Envelopes one by one. Read only.
    V1,
    /// Blocks of envelopes whose events have Sealwire's own fields within. Read only.
    V2,
    /// Blocks of envelopes as they are sealed now, in groups without a MAC. Read only.
    V3,
    /// The same in groups whose MAC the site's key makes.
    V4,
}

impl Version {
    /// What is written.
    pub(crate) const NEWEST: Self = Self::V4;

    /// Of the segment that a record with leaves is from.
    pub(crate) fn of_record(record: &[u8]) -> Self {
        if record.first() == Some(&KIND_ENVELOPE) { Self::V1 } else { Self::NEWEST }
    }
}

/// How far a consumer of the log has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// Which consumer.
    pub name: String,
    /// The first leaf it has not dealt with.
    pub next_leaf: u64,
}

/// That a batch was sealed under a caller's key. Of the batch itself nothing is kept: a retry is
/// compared with its envelopes, and what is left of those once they are erased tells nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyUsed {
    /// SHA-256 of the key.
    pub key: Hash,
    /// The batch's first leaf.
    pub first_leaf: u64,
    /// Number of its leaves.
    pub leaves: u32,
}

impl KeyUsed {
    /// The batch's leaves.
    #[must_use]
    pub fn batch(&self) -> std::ops::Range<u64> {
        self.first_leaf..self.first_leaf.saturating_add(u64::from(self.leaves))
    }
}

/// A commit group as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The leaf of its first envelope.
    pub first_leaf: u64,
    /// Number of leaves.
    pub leaves: u32,
    version: Version,
    payload: Vec<u8>,
}

/// One record of a group, with where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedRecord<'a> {
    /// Of its first byte, from the segment's begin.
    pub(crate) position: u32,
    /// Bytes, header and all.
    pub(crate) len: u32,
    pub(crate) record: Record<'a>,
}

/// What a record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Record<'a> {
    /// One leaf.
    Envelope(&'a [u8]),
    /// Several.
    Block(PackedBlock<'a>),
    /// A cursor moved.
    Cursor { name: &'a str, next_leaf: u64 },
    /// A batch had a key.
    Key(KeyUsed),
    /// The site's key vouches for the group.
    Mac(MacBytes),
}

/// A block that was not unpacked yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PackedBlock<'a> {
    pub(crate) leaves: u32,
    unpacked_len: u32,
    frame: &'a [u8],
}

impl<'a> Record<'a> {
    /// How many leaves it holds.
    pub(crate) const fn leaves(&self) -> u32 {
        match self {
            Self::Envelope(_) => 1,
            Self::Block(block) => block.leaves,
            Self::Cursor { .. } | Self::Key(_) | Self::Mac(_) => 0,
        }
    }

    /// Reads one record off the front of `bytes`; answers its length.
    pub(crate) fn decode(version: Version, bytes: &'a [u8]) -> Result<(Self, usize), Damage> {
        let mut fields = Fields(bytes);
        let [kind] = fields.take()?;
        let len = u32::from_le_bytes(fields.take()?) as usize;
        let content = fields.take_slice(len)?;
        let mut fields = Fields(content);
        let record = match (version, kind) {
            (Version::V1, KIND_ENVELOPE) => Self::Envelope(content),
            (_, KIND_CURSOR) => {
                let next_leaf = u64::from_le_bytes(fields.take()?);
                let name =
                    str::from_utf8(fields.0).map_err(|_| Damage("a cursor's name is not text"))?;
                Self::Cursor { name, next_leaf }
            }
            (Version::V2 | Version::V3 | Version::V4, KIND_BLOCK) => {
                let leaves = u32::from_le_bytes(fields.take()?);
                let unpacked_len = u32::from_le_bytes(fields.take()?);
                Self::Block(PackedBlock { leaves, unpacked_len, frame: fields.0 })
            }
            (Version::V2 | Version::V3, KIND_KEY_AND_EVENTS) => {
                let key = fields.take()?;
                let _events: [u8; Hash::LEN] = fields.take()?;
                Self::Key(fields.take_key(key)?)
            }
            (Version::V4, KIND_KEY) => {
                let key = fields.take()?;
                Self::Key(fields.take_key(key)?)
            }
            (Version::V4, KIND_MAC) => Self::Mac(fields.take()?),
            _ => return Err(Damage("a group has a record of an unknown kind")),
        };
        Ok((record, RECORD_HEADER_LEN + len))
    }

    /// The leaves of the record, unpacked; `None` where it holds none.
    pub(crate) fn unpack(&self, unpacker: &mut Unpacker) -> Result<Option<Leaves>, Damage> {
        match self {
            Self::Envelope(envelope) => {
                let mut leaves = Leaves::default();
                leaves.push(Leaf::Envelope(envelope));
                Ok(Some(leaves))
            }
            Self::Block(PackedBlock { leaves, unpacked_len, frame }) => {
                unpacker.unpack(frame, *leaves as usize, *unpacked_len as usize).map(Some)
            }
            Self::Cursor { .. } | Self::Key(_) | Self::Mac(_) => Ok(None),
        }
    }
}

/// The name of the segment that begins with this leaf.
#[must_use]
pub fn file_name(first_leaf: u64) -> String {
    format!("{first_leaf:020}.seg")
}

/// The leaf that the segment with this name begins with.
#[must_use]
pub fn first_leaf_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".seg")?;
    let first_leaf = digits.parse().ok()?;
    (self::file_name(first_leaf) == file_name).then_some(first_leaf)
}

/// Which of the segments that begin with these leaves holds `leaf`.
#[must_use]
pub fn position_of(first_leaves: &[u64], leaf: u64) -> Option<usize> {
    first_leaves.partition_point(|first_leaf| *first_leaf <= leaf).checked_sub(1)
}

/// A segment's header.
#[must_use]
pub fn encode_segment_header(first_leaf: u64) -> [u8; SEGMENT_HEADER_LEN] {
    let mut header = Vec::with_capacity(SEGMENT_HEADER_LEN);
    header.extend(SEGMENT_MAGIC);
    header.extend(FORMAT.to_le_bytes());
    header.extend(first_leaf.to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    header.try_into().expect("8 + 4 + 8 + 4 bytes are the header")
}

/// The version and the first leaf that a segment's header names.
///
/// # Errors
/// It is not the header of a segment of a version that is known.
pub fn decode_segment_header(header: &[u8; SEGMENT_HEADER_LEN]) -> Result<(Version, u64), Damage> {
    let mut fields = Fields(header);
    let magic = fields.take()?;
    let format = u32::from_le_bytes(fields.take()?);
    let first_leaf = u64::from_le_bytes(fields.take()?);
    let checksum = u32::from_le_bytes(fields.take()?);
    if magic != SEGMENT_MAGIC {
        return Err(Damage("it does not begin like a segment"));
    }
    let (covered, _checksum) = header.split_at(SEGMENT_HEADER_LEN - 4);
    if crc32c::crc32c(covered) != checksum {
        return Err(Damage("its header's checksum does not match"));
    }
    match format {
        1 => Ok((Version::V1, first_leaf)),
        2 => Ok((Version::V2, first_leaf)),
        3 => Ok((Version::V3, first_leaf)),
        4 => Ok((Version::V4, first_leaf)),
        _ => Err(Damage("it is of a format version that this sealwire does not know")),
    }
}

impl Group {
    /// Unpacks its leaves; `visit` is told each with its envelope, or with `None` where that was
    /// erased.
    ///
    /// # Errors
    /// A block cannot be unpacked; the leaves before it were visited.
    pub fn visit_leaves(&self, visit: &mut dyn FnMut(u64, Option<&[u8]>)) -> Result<(), Damage> {
        let mut unpacker = Unpacker::new();
        let mut next_leaf = self.first_leaf;
        for PlacedRecord { record, .. } in self.records(0) {
            let Some(leaves) = record.unpack(&mut unpacker)? else { continue };
            for content in leaves.iter() {
                match content {
                    Leaf::Envelope(envelope) => visit(next_leaf, Some(envelope)),
                    Leaf::Erased(_) => visit(next_leaf, None),
                }
                next_leaf += 1;
            }
        }
        Ok(())
    }

    /// The leaf after its last; where it has none, the leaf that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.first_leaf + u64::from(self.leaves)
    }

    /// Its MAC, which is its last record, if it has one.
    pub(crate) fn mac(&self) -> Option<MacBytes> {
        self.records(0).find_map(|placed| match placed.record {
            Record::Mac(mac) => Some(mac),
            _ => None,
        })
    }

    /// Its records without leaves but for the MAC, as they are written: what the MAC is of beside
    /// the log's tree.
    pub(crate) fn other_records(&self) -> Vec<u8> {
        let mut others = Vec::new();
        let mut rest = self.payload.as_slice();
        // The payload was read through once when it was decoded.
        while let Ok((record, len)) = Record::decode(self.version, rest) {
            if matches!(record, Record::Cursor { .. } | Record::Key(_)) {
                others.extend(rest.get(..len).unwrap_or_default());
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        others
    }

    /// Its records in order, if it begins at `position` of its segment.
    pub(crate) fn records(&self, position: u64) -> impl Iterator<Item = PlacedRecord<'_>> {
        let mut rest = self.payload.as_slice();
        let mut position = to_u32(position) + to_u32(GROUP_HEADER_LEN as u64);
        std::iter::from_fn(move || {
            // The payload was read through once when it was decoded, so it ends where a record
            // does.
            let (record, len) = Record::decode(self.version, rest).ok()?;
            rest = rest.get(len..)?;
            let len = to_u32(len as u64);
            let placed = PlacedRecord { position, len, record };
            position += len;
            Some(placed)
        })
    }

    /// Where its blocks lie in the segment that begins with `segment_first_leaf`, if it begins at
    /// `position` of that.
    pub(crate) fn places(
        &self,
        position: u64,
        segment_first_leaf: u64,
    ) -> impl Iterator<Item = Place> {
        let mut next_leaf = to_u32(self.first_leaf - segment_first_leaf);
        self.records(position).filter_map(move |PlacedRecord { position, len, record }| {
            let leaf = next_leaf;
            next_leaf += record.leaves();
            (record.leaves() > 0).then_some(Place { leaf, position, len })
        })
    }
}

/// A commit group in the making.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    written: Written,
    open: Leaves,
    packer: Packer,
}

/// What is in its final form.
#[derive(Debug)]
struct Written {
    /// Room for the header, then records.
    bytes: Vec<u8>,
    leaves: u32,
    places: Vec<Place>,
    /// The records without leaves among them, once more.
    others: Vec<u8>,
}

/// A group as it is written.
#[derive(Debug)]
pub(crate) struct EncodedGroup<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where its blocks lie: leaves counted from the group's first, positions from its begin.
    pub(crate) places: &'a [Place],
}

impl GroupBuilder {
    pub(crate) fn new() -> Self {
        let bytes = vec![0; GROUP_HEADER_LEN];
        let written = Written { bytes, leaves: 0, places: Vec::new(), others: Vec::new() };
        Self { written, open: Leaves::default(), packer: Packer::new() }
    }

    /// Begins a new group.
    pub(crate) fn clear(&mut self) {
        self.written.bytes.truncate(GROUP_HEADER_LEN);
        self.written.leaves = 0;
        self.written.places.clear();
        self.written.others.clear();
        self.open.clear();
    }

    pub(crate) fn push_leaf(&mut self, leaf: Leaf<'_>) {
        self.open.push(leaf);
        if self.open.is_full() {
            self.close_block();
        }
    }

    /// Appends a block as it is.
    pub(crate) fn push_packed(&mut self, block: &PackedBlock<'_>) {
        self.close_block();
        self.written
            .push_block(block.leaves, block.unpacked_len, |frame| frame.extend(block.frame));
    }

    pub(crate) fn push_cursor(&mut self, name: &str, next_leaf: u64) {
        self.close_block();
        let content = [next_leaf.to_le_bytes().as_slice(), name.as_bytes()].concat();
        self.written.push_other(KIND_CURSOR, &content);
    }

    pub(crate) fn push_key(&mut self, used: &KeyUsed) {
        self.close_block();
        let content = [
            used.key.as_bytes().as_slice(),
            &used.first_leaf.to_le_bytes(),
            &used.leaves.to_le_bytes(),
        ];
        self.written.push_other(KIND_KEY, &content.concat());
    }

    /// The records without leaves that were pushed so far: what a MAC is of.
    pub(crate) fn other_records(&self) -> &[u8] {
        &self.written.others
    }

    /// Appends the MAC, behind which nothing may follow.
    pub(crate) fn push_mac(&mut self, mac: &MacBytes) {
        self.close_block();
        self.written.push_record(KIND_MAC, mac);
    }

    /// Packs the leaves that were pushed since the last block.
    pub(crate) fn close_block(&mut self) {
        let Self { written, open, packer } = self;
        if open.count() > 0 {
            let (leaves, unpacked_len) =
                (to_u32(open.count() as u64), to_u32(open.unpacked().len() as u64));
            written.push_block(leaves, unpacked_len, |frame| packer.pack(open, frame));
            open.clear();
        }
    }

    /// The group, as one that begins with `first_leaf`.
    pub(crate) fn encode(&mut self, first_leaf: u64) -> EncodedGroup<'_> {
        self.close_block();
        let Written { bytes, leaves, places, .. } = &mut self.written;
        let payload = bytes.get(GROUP_HEADER_LEN..).unwrap_or_default();
        let mut header = Vec::with_capacity(GROUP_HEADER_LEN);
        header.extend(GROUP_MAGIC);
        header.extend(to_u32(payload.len() as u64).to_le_bytes());
        header.extend(first_leaf.to_le_bytes());
        header.extend(leaves.to_le_bytes());
        header.extend(crc32c::crc32c(payload).to_le_bytes());
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        write_at(bytes, 0, &header);
        EncodedGroup { bytes, places }
    }
}

impl Written {
    fn push_record(&mut self, kind: u8, content: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend(to_u32(content.len() as u64).to_le_bytes());
        self.bytes.extend(content);
    }

    /// Appends a record that a MAC is of.
    fn push_other(&mut self, kind: u8, content: &[u8]) {
        let begin = self.bytes.len();
        self.push_record(kind, content);
        self.others.extend(self.bytes.get(begin..).unwrap_or_default());
    }

    fn push_block(&mut self, leaves: u32, unpacked_len: u32, frame: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        self.bytes.push(KIND_BLOCK);
        self.bytes.extend([0; 4]);
        self.bytes.extend(leaves.to_le_bytes());
        self.bytes.extend(unpacked_len.to_le_bytes());
        frame(&mut self.bytes);
        let len = self.bytes.len() - begin;
        let content_len = to_u32((len - RECORD_HEADER_LEN) as u64);
        write_at(&mut self.bytes, begin + 1, &content_len.to_le_bytes());
        self.places.push(Place {
            leaf: self.leaves,
            position: to_u32(begin as u64),
            len: to_u32(len as u64),
        });
        self.leaves += leaves;
    }
}

fn write_at(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.get_mut(at..at + value.len()).expect("the room was made before").copy_from_slice(value);
}

/// Where a block lies, or an envelope of version 1: a record with leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Its first leaf, counted from the first of the segment.
    pub(crate) leaf: u32,
    /// Bytes from the segment's begin.
    pub(crate) position: u32,
    /// Number of bytes, the record's header among them.
    pub(crate) len: u32,
}

impl Place {
    /// The same, counted from the segment's begin and not from that of the group, which lies at
    /// `position` and has `leaves` before it.
    pub(crate) fn within(self, position: u64, leaves: u64) -> Self {
        let (leaf, position) = (self.leaf + to_u32(leaves), self.position + to_u32(position));
        Self { leaf, position, ..self }
    }
}

/// Reads a segment group by group.
#[derive(Debug)]
pub struct SegmentReader<R> {
    source: R,
    version: Version,
    /// Where the next group begins.
    position: u64,
    next_leaf: u64,
}

/// What comes next in a segment.
#[derive(Debug)]
pub enum Next {
    /// A group, and where it begins.
    Group(u64, Group),
    /// The segment ends where a group ends.
    End,
    /// From here on the segment cannot be read.
    Damaged(Damage),
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header, which must name `first_leaf`.
    ///
    /// # Errors
    /// Reading fails; the inner result says whether what was read is a header.
    pub fn open(mut source: R, first_leaf: u64) -> io::Result<Result<Self, Damage>> {
        let mut header = [0; SEGMENT_HEADER_LEN];
        if read_up_to(&mut source, &mut header)? < header.len() {
            return Ok(Err(Damage("its header is cut off")));
        }
        Ok(decode_segment_header(&header).and_then(|(version, named)| {
            if named == first_leaf {
                let position = SEGMENT_HEADER_LEN as u64;
                Ok(Self { source, version, position, next_leaf: first_leaf })
            } else {
                Err(Damage("its header names another first leaf than its file name"))
            }
        }))
    }

    /// Its format.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where the next group begins.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The leaf that the next envelope will be.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// Reads on.
    ///
    /// # Errors
    /// Reading fails.
    pub fn read_next(&mut self) -> io::Result<Next> {
        let mut header = [0; GROUP_HEADER_LEN];
        match read_up_to(&mut self.source, &mut header)? {
            0 => return Ok(Next::End),
            GROUP_HEADER_LEN => {}
            _ => return Ok(Next::Damaged(Damage("a group's header is cut off"))),
        }
        let header = match GroupHeader::decode(&header) {
            Ok(header) => header,
            Err(damage) => return Ok(Next::Damaged(damage)),
        };
        if header.first_leaf != self.next_leaf {
            return Ok(Next::Damaged(Damage("a group does not begin with the leaf that follows")));
        }
        let mut payload = vec![0; header.payload_len];
        if read_up_to(&mut self.source, &mut payload)? < payload.len() {
            return Ok(Next::Damaged(Damage("a group is cut off")));
        }
        let len = GROUP_HEADER_LEN + payload.len();
        let group = match header.decode_payload(self.version, payload) {
            Ok(group) => group,
            Err(damage) => return Ok(Next::Damaged(damage)),
        };
        let begin = self.position;
        self.position += len as u64;
        self.next_leaf += u64::from(group.leaves);
        Ok(Next::Group(begin, group))
    }
}

/// Whether a whole group header stands anywhere in `bytes`: then what lies before it was not torn
/// by a crash, which only ever cuts off the end.
#[must_use]
pub fn holds_a_group(bytes: &[u8]) -> bool {
    bytes
        .array_windows::<GROUP_HEADER_LEN>()
        .any(|header| header.starts_with(&GROUP_MAGIC) && GroupHeader::decode(header).is_ok())
}

struct GroupHeader {
    payload_len: usize,
    first_leaf: u64,
    leaves: u32,
    payload_checksum: u32,
}

impl GroupHeader {
    fn decode(header: &[u8; GROUP_HEADER_LEN]) -> Result<Self, Damage> {
        let mut fields = Fields(header);
        let magic: [u8; 4] = fields.take()?;
        let payload_len = u32::from_le_bytes(fields.take()?) as usize;
        let first_leaf = u64::from_le_bytes(fields.take()?);
        let leaves = u32::from_le_bytes(fields.take()?);
        let payload_checksum = u32::from_le_bytes(fields.take()?);
        let checksum = u32::from_le_bytes(fields.take()?);
        let (covered, _checksum) = header.split_at(GROUP_HEADER_LEN - 4);
        if magic != GROUP_MAGIC || crc32c::crc32c(covered) != checksum {
            return Err(Damage("a group's header does not match its checksum"));
        }
        if payload_len > GROUP_BYTES_MAX {
            return Err(Damage("a group is larger than any that is written"));
        }
        Ok(Self { payload_len, first_leaf, leaves, payload_checksum })
    }

    fn decode_payload(&self, version: Version, payload: Vec<u8>) -> Result<Group, Damage> {
        if crc32c::crc32c(&payload) != self.payload_checksum {
            return Err(Damage("a group's records do not match their checksum"));
        }
        let mut leaves: u32 = 0;
        let mut rest = payload.as_slice();
        let mut is_closed = false;
        while !rest.is_empty() {
            let (record, len) = Record::decode(version, rest)?;
            if std::mem::replace(&mut is_closed, matches!(record, Record::Mac(_))) {
                return Err(Damage("a group goes on behind its MAC"));
            }
            leaves = leaves.saturating_add(record.leaves());
            rest = rest.get(len..).unwrap_or_default();
        }
        if leaves == self.leaves {
            Ok(Group { first_leaf: self.first_leaf, leaves, version, payload })
        } else {
            Err(Damage("a group has another number of leaves than its header says"))
        }
    }
}

/// Bytes that are taken off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Damage("a record is cut off"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn take_key(&mut self, key: [u8; Hash::LEN]) -> Result<KeyUsed, Damage> {
        Ok(KeyUsed {
            key: Hash::from_bytes(key),
            first_leaf: u64::from_le_bytes(self.take()?),
            leaves: u32::from_le_bytes(self.take()?),
        })
    }

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or(Damage("a record is cut off"))?;
        self.0 = rest;
        Ok(slice)
    }
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).expect("envelopes, groups and segments are bounded well below 4 GiB")
}

/// Reads until `buffer` is full or the source ends; answers how many bytes came.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

const _: () =
    assert!(Envelope::BYTES_MAX < GROUP_BYTES_MAX / 2, "a group holds the largest envelope");
const _: () = assert!(
    SEGMENT_BYTES_MAX + (2 * GROUP_BYTES_MAX as u64) < u32::MAX as u64,
    "a place fits 32 bits"
);

#[cfg(test)]
mod tests;
