//! Evidence bundles: the check ends for any lines. They come alone, and after the header of a valid
//! bundle, because no fuzzer can sign one.

use ledger::evidence::{VerifiedBundle, verify_bundle};

const HOLDS: &[u8] = include_bytes!("../../crates/ledger/testdata/evidence/v1.evidence");

pub(crate) fn run(lines: &[u8]) {
    assert!(check(lines).is_none(), "nothing holds without a signed checkpoint");
    let header = HOLDS.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    let bundle = [header, lines].concat();
    let verified = check(&bundle).expect("the header holds");
    // Its header names a span that has no other rows.
    assert!(verified.findings > 0 || (verified.proved, verified.erased) == (6, 2));
}

fn check(bundle: &[u8]) -> Option<VerifiedBundle> {
    verify_bundle(bundle, None, &mut |_finding| {}).ok()
}
