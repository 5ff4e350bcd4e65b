//! How a person or a program names the log that something is for.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_DNSSEC;
use model::LogId;
use serde::{Deserialize, Serialize};

/// The prefix of an id by which clients of Pangea's API name a log.
const CONFIG_PREFIX: &str = "pci_";
/// Bytes of the [`LogId`] in such an id.
const CONFIG_BYTES: usize = 20;

/// The name of a log: its [`LogId`], or the id that clients of Pangea's API know.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum LogName {
    /// The log's id.
    Id(LogId),
    /// The id that clients of Pangea's API know.
    Config(String),
}

impl LogName {
    /// Whether this is a name of the log.
    #[must_use]
    pub fn is_of(&self, log: LogId) -> bool {
        match self {
            Self::Id(id) => *id == log,
            Self::Config(id) => *id == config_id(log),
        }
    }
}

/// The id by which clients of Pangea's API name a log. It follows from the [`LogId`], so a key
/// rotation does not change it.
#[must_use]
pub fn config_id(log: LogId) -> String {
    let head: &[u8; CONFIG_BYTES] = log.as_bytes().first_chunk().expect("a log's id is longer");
    format!("{CONFIG_PREFIX}{}", BASE32_DNSSEC.encode(head))
}

impl FromStr for LogName {
    type Err = InvalidLogName;

    fn from_str(text: &str) -> Result<Self, InvalidLogName> {
        match text.parse() {
            Ok(log) => Ok(Self::Id(log)),
            Err(_) if text.starts_with(CONFIG_PREFIX) => Ok(Self::Config(text.to_owned())),
            Err(_) => Err(InvalidLogName),
        }
    }
}

impl TryFrom<String> for LogName {
    type Error = InvalidLogName;

    fn try_from(text: String) -> Result<Self, InvalidLogName> {
        text.parse()
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(log) => log.fmt(formatter),
            Self::Config(id) => id.fmt(formatter),
        }
    }
}

impl From<LogName> for String {
    fn from(name: LogName) -> Self {
        name.to_string()
    }
}

/// The text does not name a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("use the log's id, 64 hex digits in lower case, or its `{CONFIG_PREFIX}...`")]
pub struct InvalidLogName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_two_names_and_no_other_log_has_them() {
        let [log, other] = [1, 2].map(|byte| LogId::from_sha256([byte; LogId::LEN]));
        for text in [log.to_string(), config_id(log)] {
            let name: LogName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert!(name.is_of(log) && !name.is_of(other), "{text}");
        }
        for text in ["", "plant", "PCI_x", &log.to_string()[1..]] {
            assert_eq!(text.parse::<LogName>(), Err(InvalidLogName), "{text}");
        }
    }
}
