//! Names made of what a rule captured: `tasmota/{device}/{part}`.

use std::{collections::BTreeMap, fmt};

/// What a topic pattern and a path captured, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Captures(BTreeMap<String, String>);

impl Captures {
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), text.to_owned());
    }
}

impl fmt::Display for Captures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, text)| format!("{name}={text}")).collect();
        formatter.write_str(&pairs.join(" "))
    }
}

/// A text with places for what was captured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Capture(String),
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(String::from("it is empty"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("`{` has no `}`")?;
            is_name(name)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Capture(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let has_stray = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('}'));
        if pieces.iter().any(has_stray) {
            return Err(String::from("`}` has no `{`"));
        }
        Ok(Self(pieces))
    }

    /// Names that the template needs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text. A name that was not captured is left empty; a rule with one is refused.
    pub(crate) fn fill(&self, captures: &Captures) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Capture(name) => captures.0.get(name).cloned().unwrap_or_default(),
        };
        self.0.iter().map(text).collect()
    }
}

/// Whether a text can be the name of a capture.
pub(crate) fn is_name(name: &str) -> Result<(), String> {
    const CHARS_MAX: usize = 32;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > CHARS_MAX || !name.bytes().all(is_plain) {
        return Err(format!("`{{{name}}}`: a name has 1 to {CHARS_MAX} of a-z, 0-9 and `_`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_what_was_captured() {
        let mut captures = Captures::default();
        captures.add("a", "1");
        captures.add("b", "{a}"); // what was captured is no template
        for (template, filled) in
            [("x", "x"), ("{a}", "1"), ("x/{a}/{b}y", "x/1/{a}y"), ("{a}{a}", "11")]
        {
            assert_eq!(Template::parse(template).unwrap().fill(&captures), filled);
        }
        for (template, words) in [
            ("", "empty"),
            ("{a", "no `}`"),
            ("a}", "no `{`"),
            ("{A}", "a-z"),
            ("{}", "a name has"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }
}
