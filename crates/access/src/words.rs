//! What someone says of themselves or of an order, for the log.

use serde::{Deserialize, Serialize};

/// A text that says something, and fits a field of an event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl Words {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longest text in characters: much shorter than what a field holds, for it stands in a line.
    pub const CHARS_MAX: usize = 1_000;
}

impl TryFrom<String> for Words {
    type Error = InvalidWords;

    fn try_from(text: String) -> Result<Self, InvalidWords> {
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > Self::CHARS_MAX || text.contains(char::is_control) {
            return Err(InvalidWords { chars });
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for Words {
    type Err = InvalidWords;

    fn from_str(text: &str) -> Result<Self, InvalidWords> {
        text.to_owned().try_into()
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

/// A text that says nothing, or too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a text of {chars} characters: use one line of 1 to {} that is not blank",
    Words::CHARS_MAX
)]
pub struct InvalidWords {
    chars: usize,
}
