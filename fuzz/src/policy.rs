//! Policies of witnesses: a note without signatures satisfies no policy, unless the policy requires
//! none.

use tlog::Policy;

pub(crate) fn run(file: &[u8]) {
    if let Ok(policy) = Policy::parse(file) {
        assert!(policy.quorum() == "none" || !policy.is_satisfied_by(&[]));
        assert!(policy.is_satisfied_if(|_witness| true) || policy.witnesses().is_empty());
    }
}
