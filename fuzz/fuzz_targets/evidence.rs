//! Evidence bundles: whatever the lines are, the check ends. They come alone, and behind the header
//! of a bundle that holds: no fuzzer signs one.
#![no_main]

use ledger::evidence::{VerifiedBundle, verify_bundle};
use libfuzzer_sys::fuzz_target;

const HOLDS: &[u8] = include_bytes!("../../crates/ledger/testdata/evidence/v1.evidence");

fuzz_target!(|lines: &[u8]| {
    assert!(check(lines).is_none(), "nothing holds without a signed checkpoint");
    let header = HOLDS.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    let bundle = [header, lines].concat();
    let verified = check(&bundle).expect("the header holds");
    // Its header names a span of which no other rows can be shown.
    assert!(verified.findings > 0 || (verified.proved, verified.erased) == (6, 2));
});

fn check(bundle: &[u8]) -> Option<VerifiedBundle> {
    verify_bundle(bundle, None, &mut |_finding| {}).ok()
}
