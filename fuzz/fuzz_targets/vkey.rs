//! Verifier keys: a parsed key is formatted back unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::VerifierKey;

fuzz_target!(|vkey: &str| {
    if let Ok(parsed) = VerifierKey::parse(vkey) {
        assert_eq!(parsed.to_string(), vkey);
    }
});
