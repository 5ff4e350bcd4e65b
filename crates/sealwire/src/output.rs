//! What the person at the terminal sees: results on standard output, progress and errors on
//! standard error.
//!
//! Much of what is printed came from outside: an evidence bundle says who exported it, a site
//! answers with words of its own, an error quotes a file. So all text is escaped here, once, on its
//! way out: no control character reaches the terminal, no line is more than one, and nothing turns
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

/// Why a result was not printed, where it was not.
static LOST: OnceLock<String> = OnceLock::new();

/// A line of the result.
pub(crate) fn line(text: &str) {
    print(Escaped(text));
}

/// Several lines of the result. Each is escaped; what is within a line must not be from outside
/// where it can hold the end of a line.
pub(crate) fn lines(text: &str) {
    text.split('\n').for_each(line);
}

/// A line of the result that is JSON, and stays the same JSON.
pub(crate) fn json(text: &str) {
    print(EscapedJson(text));
}

fn print(line: impl fmt::Display) {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => {}
        // A reader that has gone away wants no more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            LOST.get_or_init(|| error.to_string());
        }
    }
}

/// A line about what is going on.
pub(crate) fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{}", Escaped(text));
}

/// How a line about a file is printed: beside the file where that is standard output itself.
pub(crate) fn about(file: &Path) -> fn(&str) {
    if is_standard_output(file) { note } else { line }
}

/// Fails where a part of the result could not be printed: the disk that it went to may be full.
pub(crate) fn check() -> Result<()> {
    match LOST.get() {
        Some(error) => bail!("the result cannot be printed: {error}"),
        None => Ok(()),
    }
}

/// A path as a shell takes it.
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

/// Text of one line, in which whatever does more than show itself is escaped as Rust does it: `\n`,
/// `\u{1b}`.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        each(self.0, formatter, |formatter, character| match character {
            '\n' | '\r' | '\t' => write!(formatter, "{}", character.escape_default()),
            _ => write!(formatter, "{}", character.escape_unicode()),
        })
    }
}

/// JSON in which the same is escaped as JSON does it. It can stand only within a string there.
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

/// Whether a character does nothing but show itself: it is no control character, does not turn the
/// direction of text, and is not invisible.
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
            ("a\n  ok  the log holds", "a\\n  ok  the log holds"),
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
