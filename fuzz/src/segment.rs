//! Segments: the bytes as a file, and as the payload of a group with right checksums, because no
//! fuzzer finds those.

use ledger::segment::{GROUP_BYTES_MAX, Next, SegmentReader, encode_segment_header, holds_a_group};

pub(crate) fn run(bytes: &[u8]) {
    let _either = holds_a_group(bytes);
    read(bytes);
    // The first byte is the number of leaves in the group's header.
    if let Some((leaves, payload)) = bytes.split_first() {
        read(&segment_of(u32::from(*leaves), payload));
    }
}

fn read(bytes: &[u8]) {
    let Ok(mut reader) = SegmentReader::open(bytes, 0).unwrap() else { return };
    while let Next::Group(position, group) = reader.read_next().unwrap() {
        assert!(position < reader.position() && reader.position() <= bytes.len() as u64);
        let mut next_leaf = group.first_leaf;
        let unpacked = group.visit_leaves(&mut |leaf, _envelope| {
            assert_eq!(leaf, next_leaf);
            next_leaf += 1;
        });
        if unpacked.is_ok() {
            assert_eq!(next_leaf, group.first_leaf + u64::from(group.leaves));
        }
    }
}

/// A segment with one group, as `docs/formats/ledger.md` says.
fn segment_of(leaves: u32, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= GROUP_BYTES_MAX);
    let mut header = b"SWgr".to_vec();
    header.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    header.extend(0_u64.to_le_bytes());
    header.extend(leaves.to_le_bytes());
    header.extend(crc32c::crc32c(payload).to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    [encode_segment_header(0).as_slice(), &header, payload].concat()
}
