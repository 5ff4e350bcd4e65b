//! What the person at the terminal sees: results on standard output, progress and errors on standard error.

use std::io::{self, Write as _};

/// A line of the result.
pub(crate) fn line(text: &str) {
    // A reader that has gone away wants no more.
    let _gone = writeln!(io::stdout().lock(), "{text}");
}

/// A line about what is going on.
pub(crate) fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{text}");
}
