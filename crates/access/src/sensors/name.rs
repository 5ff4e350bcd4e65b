//! Names of credentials.

use std::{fmt, str::FromStr};

use model::Subject;
use serde::{Deserialize, Serialize};

/// Name of a credential: a level of a subject, a user name of MQTT, and a file name. It has none of
/// the characters by which a subject would reach another's.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialName(String);

impl CredentialName {
    /// Longest name in characters, as long as an alias in a heartbeat.
    pub const CHARS_MAX: usize = 60;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CredentialName {
    type Error = InvalidCredentialName;

    fn try_from(text: String) -> Result<Self, InvalidCredentialName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_short = (1..=Self::CHARS_MAX).contains(&text.len());
        // A file name that begins with a hyphen would be taken for an option.
        let is_plain = text.chars().all(allowed) && !text.starts_with('-');
        if is_short && is_plain && !Subject::RESERVED.contains(&text.as_str()) {
            Ok(Self(text))
        } else {
            Err(InvalidCredentialName { text: text.chars().take(80).collect() })
        }
    }
}

impl FromStr for CredentialName {
    type Err = InvalidCredentialName;

    fn from_str(text: &str) -> Result<Self, InvalidCredentialName> {
        text.to_owned().try_into()
    }
}

impl From<CredentialName> for String {
    fn from(name: CredentialName) -> Self {
        name.0
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not a name of a credential.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` cannot name a credential: use 1 to {} characters of A-Z, a-z, 0-9, `-` and `_`, with \
     no `-` first, and none of the names that the message bus reserves",
    CredentialName::CHARS_MAX
)]
pub struct InvalidCredentialName {
    text: String,
}
