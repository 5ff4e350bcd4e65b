//! Segments: the write-ahead log, byte for byte as in `docs/formats/ledger.md`.
//!
//! A segment is a header followed by commit groups. A group is what one fsync made durable: blocks
//! of envelopes, and the cursors and keys that were committed with them. Header and groups carry
//! checksums (CRC-32C), which find accidental changes; the tree finds deliberate ones.
//!
//! This module reads segments of version 1, which hold single uncompressed envelopes, but does not
//! write them.
//!
//! Invariant: groups follow each other without gaps, and the first leaf of a group follows the last
//! leaf of the group before.

use std::io::{self, Read};

use model::Envelope;
use tlog::Hash;

use crate::{
    block::{Leaf, Leaves, Packer, Unpacker},
    seal::MacBytes,
};

pub use crate::damage::Damage;

/// Version of the format that this crate writes (`docs/formats/ledger.md`).
pub const FORMAT: u32 = 4;

/// Default size in bytes beyond which the writer begins a new segment.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Largest payload of a group in bytes: what the writer puts in one group, and one more batch of
/// the largest envelopes.
pub const GROUP_BYTES_MAX: usize = 32 << 20;

/// Length of a segment's header in bytes.
pub const SEGMENT_HEADER_LEN: usize = 24;
/// Length of a group's header in bytes.
pub const GROUP_HEADER_LEN: usize = 28;

const SEGMENT_MAGIC: [u8; 8] = *b"SEALWIRE";
const GROUP_MAGIC: [u8; 4] = *b"SWgr";
/// In version 1 only.
const KIND_ENVELOPE: u8 = 1;
const KIND_CURSOR: u8 = 2;
const KIND_BLOCK: u8 = 3;
/// In versions 2 and 3 only: the key of an append, with a hash of its events that is no longer
/// used.
const KIND_KEY_AND_EVENTS: u8 = 4;
const KIND_KEY: u8 = 5;
const KIND_MAC: u8 = 6;
/// Length in bytes of the kind and the length before each record.
const RECORD_HEADER_LEN: usize = 5;

/// Version of a segment's format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// Single envelopes. Read only.
    V1,
    /// Blocks of envelopes whose events include Sealwire's own fields. Read only.
    V2,
    /// Blocks of envelopes in their present form, in groups without a MAC. Read only.
    V3,
    /// As version 3, with a MAC by the site's key in each group.
    V4,
}

impl Version {
    /// The version that this crate writes.
    pub(crate) const NEWEST: Self = Self::V4;

    /// The version of the segment that a record with leaves comes from, as far as decoding it
    /// requires.
    pub(crate) fn of_record(record: &[u8]) -> Self {
        if record.first() == Some(&KIND_ENVELOPE) { Self::V1 } else { Self::NEWEST }
    }
}

/// The position of a consumer of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// Name of the consumer.
    pub name: String,
    /// First leaf that the consumer has not processed.
    pub next_leaf: u64,
}

/// Records that a batch was sealed under a caller's key. It holds nothing of the batch itself: the
/// writer compares a retry with the batch's envelopes, and once those are erased, the record
/// reveals nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyUsed {
    /// SHA-256 of the key.
    pub key: Hash,
    /// First leaf of the batch.
    pub first_leaf: u64,
    /// Number of leaves of the batch.
    pub leaves: u32,
}

impl KeyUsed {
    /// The range of the batch's leaves.
    #[must_use]
    pub fn batch(&self) -> std::ops::Range<u64> {
        self.first_leaf..self.first_leaf.saturating_add(u64::from(self.leaves))
    }
}

/// A commit group that was read from a segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Leaf of the group's first envelope.
    pub first_leaf: u64,
    /// Number of leaves in the group.
    pub leaves: u32,
    version: Version,
    payload: Vec<u8>,
}

/// One record of a group, and its place in the segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedRecord<'a> {
    /// Position of its first byte, counted from the beginning of the segment.
    pub(crate) position: u32,
    /// Length in bytes, with the header.
    pub(crate) len: u32,
    pub(crate) record: Record<'a>,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Record<'a> {
    /// An envelope, which is one leaf (version 1).
    Envelope(&'a [u8]),
    /// A block of several leaves.
    Block(PackedBlock<'a>),
    /// A cursor moved to a leaf.
    Cursor { name: &'a str, next_leaf: u64 },
    /// A batch was sealed under a key.
    Key(KeyUsed),
    /// The MAC by which the site's key vouches for the group.
    Mac(MacBytes),
}

/// A block that is not unpacked yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PackedBlock<'a> {
    pub(crate) leaves: u32,
    unpacked_len: u32,
    frame: &'a [u8],
}

impl<'a> Record<'a> {
    /// Number of leaves in the record.
    pub(crate) const fn leaves(&self) -> u32 {
        match self {
            Self::Envelope(_) => 1,
            Self::Block(block) => block.leaves,
            Self::Cursor { .. } | Self::Key(_) | Self::Mac(_) => 0,
        }
    }

    /// Decodes the first record of `bytes`. Returns it with its length.
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

    /// Unpacks the leaves of the record; `None` if it has none.
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

/// Name of the file of the segment that begins with this leaf.
#[must_use]
pub fn file_name(first_leaf: u64) -> String {
    format!("{first_leaf:020}.seg")
}

/// First leaf of the segment with this file name; `None` if it is not the name of a segment.
#[must_use]
pub fn first_leaf_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".seg")?;
    let first_leaf = digits.parse().ok()?;
    (self::file_name(first_leaf) == file_name).then_some(first_leaf)
}

/// Index of the segment that holds `leaf`, among segments that begin with these leaves.
#[must_use]
pub fn position_of(first_leaves: &[u64], leaf: u64) -> Option<usize> {
    first_leaves.partition_point(|first_leaf| *first_leaf <= leaf).checked_sub(1)
}

/// Encodes the header of a segment.
#[must_use]
pub fn encode_segment_header(first_leaf: u64) -> [u8; SEGMENT_HEADER_LEN] {
    let mut header = Vec::with_capacity(SEGMENT_HEADER_LEN);
    header.extend(SEGMENT_MAGIC);
    header.extend(FORMAT.to_le_bytes());
    header.extend(first_leaf.to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    header.try_into().expect("8 + 4 + 8 + 4 bytes are the header")
}

/// Decodes the version and the first leaf in a segment's header.
///
/// # Errors
/// It is not the header of a segment of a known version.
pub fn decode_segment_header(header: &[u8; SEGMENT_HEADER_LEN]) -> Result<(Version, u64), Damage> {
    let mut fields = Fields(header);
    let magic = fields.take()?;
    let format = u32::from_le_bytes(fields.take()?);
    let first_leaf = u64::from_le_bytes(fields.take()?);
    let checksum = u32::from_le_bytes(fields.take()?);
    if magic != SEGMENT_MAGIC {
        return Err(Damage("it does not begin with the marker of a segment"));
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
        _ => Err(Damage("it has a format version that this sealwire does not know")),
    }
}

impl Group {
    /// Unpacks the group's leaves. Calls `visit` with each leaf and its envelope, or `None` if that
    /// was erased.
    ///
    /// # Errors
    /// A block cannot be unpacked. The leaves before it were visited.
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

    /// The leaf after the group's last leaf. If the group has no leaves, its first leaf.
    pub(crate) fn end(&self) -> u64 {
        self.first_leaf + u64::from(self.leaves)
    }

    /// The group's MAC, if it has one. It is the last record.
    pub(crate) fn mac(&self) -> Option<MacBytes> {
        self.records(0).find_map(|placed| match placed.record {
            Record::Mac(mac) => Some(mac),
            _ => None,
        })
    }

    /// The bytes of the group's records without leaves, except for the MAC. The MAC covers these
    /// bytes and the log's tree.
    pub(crate) fn other_records(&self) -> Vec<u8> {
        let mut others = Vec::new();
        let mut rest = self.payload.as_slice();
        // Decoding the group has read the whole payload, so no record fails here.
        while let Ok((record, len)) = Record::decode(self.version, rest) {
            if matches!(record, Record::Cursor { .. } | Record::Key(_)) {
                others.extend(rest.get(..len).unwrap_or_default());
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        others
    }

    /// The group's records in order. `position` is that of the group in its segment.
    pub(crate) fn records(&self, position: u64) -> impl Iterator<Item = PlacedRecord<'_>> {
        let mut rest = self.payload.as_slice();
        let mut position = to_u32(position) + to_u32(GROUP_HEADER_LEN as u64);
        std::iter::from_fn(move || {
            // Decoding the group has read the whole payload, so it ends where a record ends.
            let (record, len) = Record::decode(self.version, rest).ok()?;
            rest = rest.get(len..)?;
            let len = to_u32(len as u64);
            let placed = PlacedRecord { position, len, record };
            position += len;
            Some(placed)
        })
    }

    /// The places of the group's blocks. `position` is that of the group in its segment, which
    /// begins with `segment_first_leaf`.
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

/// A commit group that is being built.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    written: Written,
    open: Leaves,
    packer: Packer,
}

/// The part of a group that is in its final form.
#[derive(Debug)]
struct Written {
    /// Space for the header, followed by records.
    bytes: Vec<u8>,
    leaves: u32,
    places: Vec<Place>,
    /// A copy of the records without leaves, which the MAC covers.
    others: Vec<u8>,
}

/// A group in the form in which it is written.
#[derive(Debug)]
pub(crate) struct EncodedGroup<'a> {
    pub(crate) bytes: &'a [u8],
    /// Places of the blocks. Leaves count from the group's first, positions from the group's
    /// beginning.
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

    /// Appends a packed block unchanged.
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

    /// The records without leaves that were pushed so far, which a MAC covers.
    pub(crate) fn other_records(&self) -> &[u8] {
        &self.written.others
    }

    /// Appends the MAC. No record may follow it.
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

    /// Encodes the group with `first_leaf` as its first leaf.
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

    /// Appends a record that the MAC covers.
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

/// The place of a record with leaves: a block, or an envelope of version 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// First leaf of the record, counted from the first leaf of the segment.
    pub(crate) leaf: u32,
    /// Position in bytes from the beginning of the segment.
    pub(crate) position: u32,
    /// Length in bytes, with the record's header.
    pub(crate) len: u32,
}

impl Place {
    /// Converts a place within a group to a place within the segment. The group lies at `position`
    /// and has `leaves` leaves before it.
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
    /// Position of the next group in bytes.
    position: u64,
    next_leaf: u64,
}

/// The next item of a segment.
#[derive(Debug)]
pub enum Next {
    /// A group, and the position of its first byte.
    Group(u64, Group),
    /// The segment ends after a complete group.
    End,
    /// The segment cannot be read from here on.
    Damaged(Damage),
}

impl<R: Read> SegmentReader<R> {
    /// Reads the header. It must name `first_leaf`.
    ///
    /// # Errors
    /// The source cannot be read. The inner result says whether the bytes are a valid header.
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
                Err(Damage("the first leaf in its header differs from its file name"))
            }
        }))
    }

    /// Format version of the segment.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Position of the next group in bytes.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Leaf of the next envelope.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// Reads the next group.
    ///
    /// # Errors
    /// The source cannot be read.
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
            return Ok(Next::Damaged(Damage("a group does not begin with the next leaf")));
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

/// Whether `bytes` contain a whole group header anywhere. If so, a crash did not tear what lies
/// before it: a crash only ever cuts off the end.
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
            return Err(Damage("a group is too large"));
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
                return Err(Damage("a group continues after its MAC"));
            }
            leaves = leaves.saturating_add(record.leaves());
            rest = rest.get(len..).unwrap_or_default();
        }
        if leaves == self.leaves {
            Ok(Group { first_leaf: self.first_leaf, leaves, version, payload })
        } else {
            Err(Damage("the number of leaves in a group differs from its header"))
        }
    }
}

/// Bytes from which fields are taken in order.
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

/// Reads until `buffer` is full or the source ends. Returns the number of bytes that it read.
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
