//! Verifier keys: what is parsed is formatted as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::VerifierKey;

fuzz_target!(|vkey: &str| {
    if let Ok(parsed) = VerifierKey::parse(vkey) {
        assert_eq!(parsed.to_string(), vkey);
    }
});
