//! Entry bundles: a decoded bundle is encoded back unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::EntryBundle;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = EntryBundle::decode(bytes) {
        assert_eq!(bundle.encode(), bytes);
        let _hashes = bundle.leaf_hashes();
    }
});
