//! How a refused text is shown in an error: short, and unable to disturb a terminal.

use alloc::string::String;

/// Enough to recognise a line of any of the formats here, a hash in base64 (44) included.
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
