//! Short texts that a person writes into the log: a name or a reason.

use serde::{Deserialize, Serialize};

/// A text of one line that is not blank and fits a field of an event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl Words {
    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longest text in characters. It is far below the limit of a field, because it must fit a
    /// line.
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

/// The text is blank, too long or has more than one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the text has {chars} characters: use one line of 1 to {} characters that is not blank",
    Words::CHARS_MAX
)]
pub struct InvalidWords {
    chars: usize,
}
