//! Signed notes: a parsed note is formatted back byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::SignedNote;

fuzz_target!(|note: &str| {
    if let Ok(parsed) = SignedNote::parse(note) {
        assert_eq!(parsed.to_string(), note);
    }
});
