//! Tests that a reader returns what was written and refuses everything else.

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Clone, Debug)]
enum Push {
    Envelope(Vec<u8>),
    Erased([u8; 32]),
    Cursor(String, u64),
    Key([u8; 32], u64, u32),
}

const MAC: MacBytes = [7; 32];

fn pushes() -> impl Strategy<Value = Vec<Push>> {
    let push = prop_oneof![
        4 => vec(any::<u8>(), 0..200).prop_map(Push::Envelope),
        1 => any::<[u8; 32]>().prop_map(Push::Erased),
        1 => ("[a-z]{1,8}", any::<u64>()).prop_map(|(name, next_leaf)| Push::Cursor(name, next_leaf)),
        1 => any::<([u8; 32], u64, u32)>().prop_map(|(key, first_leaf, leaves)| Push::Key(key, first_leaf, leaves)),
    ];
    vec(push, 1..12)
}

fn used(key: [u8; 32], first_leaf: u64, leaves: u32) -> KeyUsed {
    KeyUsed { key: Hash::from_bytes(key), first_leaf, leaves }
}

fn build(pushes: &[Push]) -> GroupBuilder {
    let mut builder = GroupBuilder::new();
    for push in pushes {
        match push {
            Push::Envelope(envelope) => builder.push_leaf(Leaf::Envelope(envelope)),
            Push::Erased(hash) => builder.push_leaf(Leaf::Erased(Hash::from_bytes(*hash))),
            Push::Cursor(name, next_leaf) => builder.push_cursor(name, *next_leaf),
            Push::Key(key, first_leaf, leaves) => {
                builder.push_key(&used(*key, *first_leaf, *leaves));
            }
        }
    }
    builder.push_mac(&MAC);
    builder
}

fn segment(first_leaf: u64, pushes: &[Push]) -> Vec<u8> {
    let mut builder = build(pushes);
    [encode_segment_header(first_leaf).as_slice(), builder.encode(first_leaf).bytes].concat()
}

fn read(bytes: &[u8], first_leaf: u64) -> Result<Next, Damage> {
    SegmentReader::open(bytes, first_leaf).unwrap().map(|mut reader| reader.read_next().unwrap())
}

proptest! {
    #[test]
    fn a_group_is_read_back_and_its_places_hold_its_blocks(pushes in pushes(), first_leaf in 0..1_u64 << 60) {
        let bytes = segment(first_leaf, &pushes);
        let Ok(Next::Group(begin, group)) = read(&bytes, first_leaf) else {
            return Err(TestCaseError::fail("no group"));
        };
        let mut read = Vec::new();
        let mut unpacker = Unpacker::new();
        for PlacedRecord { position, len, record } in group.records(begin) {
            let placed = &bytes[position as usize..(position + len) as usize];
            prop_assert_eq!(Record::decode(Version::NEWEST, placed).unwrap(), (record, len as usize));
            match record {
                Record::Cursor { name, next_leaf } => read.push(Push::Cursor(name.into(), next_leaf)),
                Record::Key(used) => read.push(Push::Key(*used.key.as_bytes(), used.first_leaf, used.leaves)),
                Record::Mac(mac) => prop_assert_eq!(mac, MAC),
                block => read.extend(block.unpack(&mut unpacker).unwrap().unwrap().iter().map(|leaf| match leaf {
                    Leaf::Envelope(envelope) => Push::Envelope(envelope.into()),
                    Leaf::Erased(hash) => Push::Erased(*hash.as_bytes()),
                })),
            }
        }
        prop_assert_eq!(format!("{read:?}"), format!("{pushes:?}"));
        let mut builder = build(&pushes);
        prop_assert_eq!(group.mac(), Some(MAC));
        prop_assert_eq!(group.other_records(), builder.other_records());
        let leaves: Vec<u32> = builder.encode(first_leaf).places.iter().map(|place| place.leaf).collect();
        prop_assert!(leaves.is_sorted() && leaves.first().is_none_or(|first| *first == 0));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(pushes in pushes(), position: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = segment(7, &pushes);
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        prop_assert!(!matches!(read(&bytes, 7), Ok(Next::Group(..) | Next::End)));
    }

    #[test]
    fn a_cut_is_noticed_and_holds_no_group(pushes in pushes(), at: prop::sample::Index) {
        let bytes = segment(7, &pushes);
        let cut = SEGMENT_HEADER_LEN + 1 + at.index(bytes.len() - SEGMENT_HEADER_LEN - 1);
        prop_assert!(matches!(read(&bytes[..cut], 7), Ok(Next::Damaged(_))));
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
