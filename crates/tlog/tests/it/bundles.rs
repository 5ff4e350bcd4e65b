//! Entry bundles: decoded as they were encoded, or refused.

use proptest::prelude::*;
use tlog::{EntryBundle, InvalidBundle};

#[test]
fn entries_follow_their_length() {
    let bundle = EntryBundle::new(vec![b"one".to_vec(), vec![], b"two".to_vec()]).unwrap();
    assert_eq!(bundle.encode(), b"\0\x03one\0\0\0\x03two");
    assert_eq!(bundle.width().count(), 3);
}

#[test]
fn bundles_have_1_to_256_entries_of_up_to_65535_bytes() {
    assert_eq!(EntryBundle::decode(&[]), Err(InvalidBundle::Empty));
    assert_eq!(EntryBundle::new(vec![]), Err(InvalidBundle::Empty));
    assert_eq!(EntryBundle::new(vec![vec![]; 257]), Err(InvalidBundle::TooManyEntries));
    assert_eq!(EntryBundle::decode(&[0; 2 * 257]), Err(InvalidBundle::TooManyEntries));

    let longest = EntryBundle::new(vec![vec![7; 65_535]; 256]).unwrap();
    assert_eq!(EntryBundle::decode(&longest.encode()), Ok(longest));
    let refused = EntryBundle::new(vec![vec![], vec![7; 65_536]]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "entry 1 of a bundle has 65536 bytes, but at most 65535 are allowed"
    );
}

#[test]
fn a_bundle_that_is_cut_off_is_refused() {
    let bytes = EntryBundle::new(vec![b"one".to_vec(), b"two".to_vec()]).unwrap().encode();
    //  (bytes kept, entry it ends in)
    for (len, offset) in [(1, 0), (2, 0), (4, 0), (6, 1), (9, 1)] {
        let refused = EntryBundle::decode(&bytes[..len]);
        assert_eq!(refused, Err(InvalidBundle::CutOff { offset }), "{len} bytes");
    }
}

proptest! {
    #[test]
    fn bundles_round_trip(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256),
    ) {
        let bundle = EntryBundle::new(entries).unwrap();
        prop_assert_eq!(EntryBundle::decode(&bundle.encode()), Ok(bundle));
    }

    #[test]
    fn what_decodes_is_canonical(bytes in prop::collection::vec(0..4_u8, 0..60)) {
        if let Ok(bundle) = EntryBundle::decode(&bytes) {
            prop_assert_eq!(bundle.encode(), bytes);
        }
    }
}
