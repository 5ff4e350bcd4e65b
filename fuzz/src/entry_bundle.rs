//! Entry bundles: a decoded bundle is encoded back unchanged.

use tlog::EntryBundle;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(bundle) = EntryBundle::decode(bytes) {
        assert_eq!(bundle.encode(), bytes);
        let _hashes = bundle.leaf_hashes();
    }
}
