//! Verifier keys: a parsed key is formatted back unchanged.

use tlog::VerifierKey;

pub(crate) fn run(vkey: &str) {
    if let Ok(parsed) = VerifierKey::parse(vkey) {
        assert_eq!(parsed.to_string(), vkey);
    }
}
