//! The identity of a log.

use alloc::string::{String, ToString as _};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The SHA-256 of a log's first verifier key, as text in the form of C2SP signed-note. It outlives
/// every rotation of the key. Always written as 64 hex digits in lower case.
///
/// A program derives the id from the log's first key; it never believes an id that the log or a
/// server claims.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogId([u8; Self::LEN]);

impl LogId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The id with this digest.
    #[must_use]
    pub const fn from_sha256(digest: [u8; Self::LEN]) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for LogId {
    type Err = InvalidLogId;

    /// Only the form that `Display` writes is an id, so that an address has one spelling.
    fn from_str(text: &str) -> Result<Self, InvalidLogId> {
        let mut digest = [0; Self::LEN];
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut digest) {
            Ok(()) if is_lower => Ok(Self(digest)),
            _ => Err(InvalidLogId),
        }
    }
}

impl TryFrom<String> for LogId {
    type Error = InvalidLogId;

    fn try_from(text: String) -> Result<Self, InvalidLogId> {
        text.parse()
    }
}

impl From<LogId> for String {
    fn from(log: LogId) -> Self {
        log.to_string()
    }
}

/// The text is not the id of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of a log is 64 hex digits in lower case")]
pub struct InvalidLogId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let log = LogId::from_sha256([0xa7; LogId::LEN]);
        let text = "a7".repeat(LogId::LEN);
        assert_eq!((log.to_string(), text.parse()), (text.clone(), Ok(log)));
        assert_eq!(serde_json::to_string(&log).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<LogId>(&format!("\"{text}\"")).unwrap(), log);
        for other in [&text.to_uppercase(), &text[1..], "", "own", &format!("{text}0")] {
            assert_eq!(other.parse::<LogId>(), Err(InvalidLogId), "{other}");
        }
    }
}
