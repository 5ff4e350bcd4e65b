//! Segments: the write-ahead log, byte for byte as `docs/formats/ledger.md` says.
//!
//! A segment is a header and then commit groups. A group is what one fsync made durable: envelopes, and the cursors that moved with them. Both carry
//! checksums (CRC-32C), which find accidents; that nobody changed an envelope on purpose is the tree's business.
//!
//! Invariant: groups follow each other without gaps, and a group's first leaf is the one after the last of the group before.

use std::io::{self, Read};

use model::Envelope;

/// A new segment is begun when one is larger than this.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Payload of the largest group: what the writer puts in one, and one batch of the largest envelopes more.
pub const GROUP_BYTES_MAX: usize = 32 << 20;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_LEN: usize = 24;
/// Bytes of a group's header.
pub const GROUP_HEADER_LEN: usize = 28;

const SEGMENT_MAGIC: [u8; 8] = *b"SEALWIRE";
const GROUP_MAGIC: [u8; 4] = *b"SWgr";
const KIND_ENVELOPE: u8 = 1;
const KIND_CURSOR: u8 = 2;
/// Kind and length before each record.
const RECORD_HEADER_LEN: usize = 5;

/// How far a consumer of the log has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// Which consumer.
    pub name: String,
    /// The first leaf it has not dealt with.
    pub next_leaf: u64,
}

/// One record of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// A leaf's envelope, canonical JSON.
    Envelope(Vec<u8>),
    /// A cursor that moved with the group's envelopes.
    Cursor(Cursor),
}

/// A commit group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The leaf of its first envelope.
    pub first_leaf: u64,
    /// Its records in order.
    pub records: Vec<Record>,
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
    header.extend(crate::FORMAT.to_le_bytes());
    header.extend(first_leaf.to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    header.try_into().expect("8 + 4 + 8 + 4 bytes are the header")
}

/// The first leaf that a segment's header names.
///
/// # Errors
/// It is not the header of a segment of this format.
pub fn decode_segment_header(header: &[u8; SEGMENT_HEADER_LEN]) -> Result<u64, Damage> {
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
    if format != crate::FORMAT {
        return Err(Damage("it is of another format version"));
    }
    Ok(first_leaf)
}

impl Group {
    /// Number of envelopes.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.envelopes().count() as u64
    }

    /// The envelopes in order.
    pub fn envelopes(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().filter_map(|record| match record {
            Record::Envelope(envelope) => Some(envelope.as_slice()),
            Record::Cursor(_) => None,
        })
    }

    /// The cursors in order.
    pub fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.records.iter().filter_map(|record| match record {
            Record::Cursor(cursor) => Some(cursor),
            Record::Envelope(_) => None,
        })
    }

    /// The group as it is written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        for record in &self.records {
            match record {
                Record::Envelope(envelope) => push_record(&mut payload, KIND_ENVELOPE, envelope),
                Record::Cursor(Cursor { name, next_leaf }) => {
                    let cursor = [next_leaf.to_le_bytes().as_slice(), name.as_bytes()].concat();
                    push_record(&mut payload, KIND_CURSOR, &cursor);
                }
            }
        }
        let mut group = Vec::with_capacity(GROUP_HEADER_LEN + payload.len());
        group.extend(GROUP_MAGIC);
        group.extend(length(payload.len()).to_le_bytes());
        group.extend(self.first_leaf.to_le_bytes());
        group.extend(length(self.envelopes().count()).to_le_bytes());
        group.extend(crc32c::crc32c(&payload).to_le_bytes());
        group.extend(crc32c::crc32c(&group).to_le_bytes());
        group.extend(payload);
        group
    }

    /// Where each envelope's bytes begin, with their length, if the group begins at `position` of its segment.
    pub fn places(&self, position: u64) -> impl Iterator<Item = Place> {
        let mut next = position + GROUP_HEADER_LEN as u64;
        self.records.iter().filter_map(move |record| {
            let begin = next + RECORD_HEADER_LEN as u64;
            let len = match record {
                Record::Envelope(envelope) => envelope.len(),
                Record::Cursor(cursor) => 8 + cursor.name.len(),
            };
            next = begin + len as u64;
            matches!(record, Record::Envelope(_))
                .then(|| Place { begin: length_u64(begin), len: length(len) })
        })
    }
}

/// Where an envelope's bytes lie in its segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Bytes from the segment's begin.
    pub begin: u32,
    /// Number of bytes.
    pub len: u32,
}

/// Reads a segment group by group.
#[derive(Debug)]
pub struct SegmentReader<R> {
    source: R,
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
        Ok(decode_segment_header(&header).and_then(|named| {
            if named == first_leaf {
                Ok(Self { source, position: SEGMENT_HEADER_LEN as u64, next_leaf: first_leaf })
            } else {
                Err(Damage("its header names another first leaf than its file name"))
            }
        }))
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
        let group = match header.decode_payload(&payload) {
            Ok(group) => group,
            Err(damage) => return Ok(Next::Damaged(damage)),
        };
        let begin = self.position;
        self.position += (GROUP_HEADER_LEN + payload.len()) as u64;
        self.next_leaf += group.leaves();
        Ok(Next::Group(begin, group))
    }
}

/// Whether a whole group header stands anywhere in `bytes`: then what lies before it was not torn by a crash, which only ever cuts off the end.
#[must_use]
pub fn holds_a_group(bytes: &[u8]) -> bool {
    bytes
        .array_windows::<GROUP_HEADER_LEN>()
        .any(|header| header.starts_with(&GROUP_MAGIC) && GroupHeader::decode(header).is_ok())
}

/// What is wrong with a segment's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(&'static str);

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

    fn decode_payload(&self, payload: &[u8]) -> Result<Group, Damage> {
        if crc32c::crc32c(payload) != self.payload_checksum {
            return Err(Damage("a group's envelopes do not match their checksum"));
        }
        let mut records = Vec::new();
        let mut rest = Fields(payload);
        while !rest.0.is_empty() {
            let [kind] = rest.take()?;
            let len = u32::from_le_bytes(rest.take()?) as usize;
            let record = rest.take_slice(len)?;
            records.push(match kind {
                KIND_ENVELOPE => Record::Envelope(record.to_vec()),
                KIND_CURSOR => {
                    let mut fields = Fields(record);
                    let next_leaf = u64::from_le_bytes(fields.take()?);
                    let name = String::from_utf8(fields.0.to_vec())
                        .map_err(|_| Damage("a cursor's name is not text"))?;
                    Record::Cursor(Cursor { name, next_leaf })
                }
                _ => return Err(Damage("a group has a record of an unknown kind")),
            });
        }
        let group = Group { first_leaf: self.first_leaf, records };
        if group.leaves() == u64::from(self.leaves) {
            Ok(group)
        } else {
            Err(Damage("a group has another number of envelopes than its header says"))
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

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or(Damage("a record is cut off"))?;
        self.0 = rest;
        Ok(slice)
    }
}

fn push_record(payload: &mut Vec<u8>, kind: u8, record: &[u8]) {
    payload.push(kind);
    payload.extend(length(record.len()).to_le_bytes());
    payload.extend(record);
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("envelopes and groups are bounded well below 4 GiB")
}

fn length_u64(position: u64) -> u32 {
    u32::try_from(position).expect("segments are bounded well below 4 GiB")
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
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    prop_compose! {
        fn group()(first_leaf in 0..1_u64 << 60, records in vec(record(), 1..6)) -> Group {
            Group { first_leaf, records }
        }
    }

    fn record() -> impl Strategy<Value = Record> {
        prop_oneof![
            vec(any::<u8>(), 0..200).prop_map(Record::Envelope),
            ("[a-z]{1,8}", any::<u64>())
                .prop_map(|(name, next_leaf)| Record::Cursor(Cursor { name, next_leaf })),
        ]
    }

    fn segment(group: &Group) -> Vec<u8> {
        [encode_segment_header(group.first_leaf).as_slice(), &group.encode()].concat()
    }

    fn read(bytes: &[u8], first_leaf: u64) -> Result<Next, Damage> {
        SegmentReader::open(bytes, first_leaf)
            .unwrap()
            .map(|mut reader| reader.read_next().unwrap())
    }

    proptest! {
        #[test]
        fn a_group_is_read_back_and_its_places_hold_its_envelopes(group in group()) {
            let bytes = segment(&group);
            let Ok(Next::Group(begin, read)) = read(&bytes, group.first_leaf) else {
                return Err(TestCaseError::fail("no group"));
            };
            prop_assert_eq!(&read, &group);
            for (place, envelope) in group.places(begin).zip(group.envelopes()) {
                let begin = place.begin as usize;
                prop_assert_eq!(&bytes[begin..begin + place.len as usize], envelope);
            }
        }

        #[test]
        fn a_flipped_bit_anywhere_is_noticed(group in group(), position: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = segment(&group);
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
            prop_assert!(!matches!(read(&bytes, group.first_leaf), Ok(Next::Group(..) | Next::End)));
        }

        #[test]
        fn a_cut_is_noticed_and_holds_no_group(group in group(), at: prop::sample::Index) {
            let bytes = segment(&group);
            let cut = SEGMENT_HEADER_LEN + 1 + at.index(bytes.len() - SEGMENT_HEADER_LEN - 1);
            prop_assert!(matches!(read(&bytes[..cut], group.first_leaf), Ok(Next::Damaged(_))));
            prop_assert!(!holds_a_group(&bytes[SEGMENT_HEADER_LEN + 1..cut]));
        }
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(first_leaf_of(&file_name(812)), Some(812));
        for name in [
            "812.seg",
            "00000000000000000812",
            "x0000000000000000812.seg",
            "00000000000000000812.seg.next",
        ] {
            assert_eq!(first_leaf_of(name), None, "{name}");
        }
    }
}
