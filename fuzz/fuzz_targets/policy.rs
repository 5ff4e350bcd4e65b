//! Policies of witnesses: a note without signatures satisfies no policy, unless the policy requires
//! none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::Policy;

fuzz_target!(|file: &[u8]| {
    if let Ok(policy) = Policy::parse(file) {
        assert!(policy.quorum() == "none" || !policy.is_satisfied_by(&[]));
        assert!(policy.is_satisfied_if(|_witness| true) || policy.witnesses().is_empty());
    }
});
