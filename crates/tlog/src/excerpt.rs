//! Shortens a refused text for an error message, so that it cannot disturb a terminal.

use alloc::string::String;

/// Number of characters that suffices to recognise a line of every format here, including a hash in
/// base64 (44).
const CHARS_MAX: usize = 80;

/// The beginning of `text`, with control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}
