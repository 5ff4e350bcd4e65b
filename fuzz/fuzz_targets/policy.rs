//! Policies of witnesses: whatever the file says, nobody's note satisfies it by having no
//! signature, unless it demands none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::Policy;

fuzz_target!(|file: &[u8]| {
    if let Ok(policy) = Policy::parse(file) {
        assert!(policy.quorum() == "none" || !policy.is_satisfied_by(&[]));
        assert!(policy.is_satisfied_if(|_witness| true) || policy.witnesses().is_empty());
    }
});
