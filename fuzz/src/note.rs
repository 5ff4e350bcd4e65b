//! Signed notes: a parsed note is formatted back byte for byte.

use tlog::SignedNote;

pub(crate) fn run(note: &str) {
    if let Ok(parsed) = SignedNote::parse(note) {
        assert_eq!(parsed.to_string(), note);
    }
}
