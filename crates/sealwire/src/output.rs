//! Output for the person at the terminal: results on standard output, progress and errors on
//! standard error.
//!
//! Much of it comes from outside: an evidence bundle names its exporter, a site answers with text
//! of its own, an error quotes a file. So this module escapes all text once, on its way out: no
//! control character reaches the terminal, no line becomes more than one, and no character changes
//! the direction of text.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::OnceLock,
};

use anyhow::{Result, bail};
use durable::is_standard_output;

/// Why part of the result could not be printed, if any.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints a line of the result.
pub(crate) fn line(text: &str) {
    print(Escaped(text));
}

/// Prints several lines of the result, each escaped. Text from outside that may contain a line end
/// must not be part of `text`.
pub(crate) fn lines(text: &str) {
    text.split('\n').for_each(line);
}

/// Prints JSON as a line of the result. Escaping keeps its meaning.
pub(crate) fn json(text: &str) {
    print(EscapedJson(text));
}

fn print(line: impl fmt::Display) {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => {}
        // If the reader has gone away, it wants no more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            LOST.get_or_init(|| error.to_string());
        }
    }
}

/// Prints a line about progress, on standard error.
pub(crate) fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{}", Escaped(text));
}

/// How to print a line about a file. If the file is standard output itself, the line goes to
/// standard error.
pub(crate) fn about(file: &Path) -> fn(&str) {
    if is_standard_output(file) { note } else { line }
}

/// Checks that the whole result was printed.
///
/// # Errors
/// A part was not, for example because the disk behind standard output is full.
pub(crate) fn check() -> Result<()> {
    match LOST.get() {
        Some(error) => bail!("cannot print the result: {error}"),
        None => Ok(()),
    }
}

/// A path, quoted for a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => return text.to_owned(),
        Ok(text) if !text.contains(['\'', '\\']) && text.chars().all(shows_itself) => {
            return format!("'{text}'");
        }
        _ => {}
    }
    let escaped = |byte: &u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    let escaped: String = bytes.iter().map(escaped).collect();
    format!("$'{escaped}'")
}

/// Text of one line. Displays each character that would do more than show itself as Rust's escape:
/// `\n`, `\u{1b}`.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        each(self.0, formatter, |formatter, character| match character {
            '\n' | '\r' | '\t' => write!(formatter, "{}", character.escape_default()),
            _ => write!(formatter, "{}", character.escape_unicode()),
        })
    }
}

/// JSON with the same characters escaped as JSON escapes them. They can only be within strings.
struct EscapedJson<'a>(&'a str);

impl fmt::Display for EscapedJson<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        each(self.0, formatter, |formatter, character| {
            let mut units = [0; 2];
            let mut units = character.encode_utf16(&mut units).iter();
            units.try_for_each(|unit| write!(formatter, "\\u{unit:04x}"))
        })
    }
}

fn each(
    text: &str,
    formatter: &mut fmt::Formatter<'_>,
    escape: impl Fn(&mut fmt::Formatter<'_>, char) -> fmt::Result,
) -> fmt::Result {
    for character in text.chars() {
        if shows_itself(character) {
            formatter.write_char(character)?;
        } else {
            escape(formatter, character)?;
        }
    }
    Ok(())
}

/// Whether a character does nothing but show itself: it is not a control character, does not change
/// the direction of text, and is visible.
fn shows_itself(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, process::Command};

    use super::*;

    #[test]
    fn nothing_from_outside_does_more_than_show_itself() {
        for (text, shown) in [
            ("Boiler Room.T1: 23.50 °C – é 温度 🔥", "Boiler Room.T1: 23.50 °C – é 温度 🔥"),
            ("a\n  ok  the log verifies", "a\\n  ok  the log verifies"),
            ("\r  ok", "\\r  ok"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"), // the same in one character
            ("Temp\u{202e}10rosneS", "Temp\\u{202e}10rosneS"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("T\u{200b}1\u{feff}", "T\\u{200b}1\\u{feff}"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "x\u{202e}\u{9b}\u{e0041}\u{7f}é\"\\\n";
        let json = serde_json::to_string(text).unwrap();
        let shown = EscapedJson(&json).to_string();
        assert!(shown.chars().all(shows_itself) && shown.contains("\\u202e"), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn a_shell_takes_a_quoted_path_for_what_it_is() {
        for path in [
            b"sealwire-data".as_slice(),
            b"with space",
            b"it's",
            b"back\\slash",
            b"a\nb\x1b[31m",
            b"\xff\xfe",
            b"\xc3\xa4",
            "T\u{202e}1".as_bytes(),
            b"$HOME `id` *",
        ] {
            let quoted = quoted(Path::new(OsStr::from_bytes(path)));
            let command = format!("printf %s {quoted}");
            let said = Command::new("bash").args(["-c", &command]).output().unwrap();
            assert_eq!(said.stdout, path, "{quoted}");
            assert!(quoted.chars().all(shows_itself), "{quoted}");
        }
    }
}
