//! Where a message goes, in NATS' form.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

/// A NATS subject without wildcards that a device may name: not one of the engine's or the site's own.
///
/// Devices write topics the MQTT way (`picow/<id>/poll`), the NATS way, or mixed; NATS' MQTT gateway turns `/` into `.`, and so does
/// [`Subject::parse`].
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// Longest subject in bytes; NATS itself keeps to 4 KiB a protocol line.
    pub const LEN_MAX: usize = 255;

    /// First tokens that belong to wasmCloud, to this site and to NATS; a device that names one would have the poller speak in its place.
    pub const RESERVED: [&str; 4] = ["runtime", "sealwire", "_INBOX", "$SYS"];

    /// Reads a topic or a subject.
    pub fn parse(topic: &str) -> Result<Self, InvalidSubject> {
        let refuse =
            |reason| Err(InvalidSubject { topic: topic.chars().take(80).collect(), reason });
        let subject = topic.replace('/', ".");
        if let Err(reason) = check_levels(&subject) {
            return refuse(reason);
        }
        if subject.contains(['*', '>', '+', '#']) {
            return refuse("it has a wildcard");
        }
        Ok(Self(subject))
    }

    /// The subject as NATS takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;

    fn try_from(topic: String) -> Result<Self, Self::Error> {
        Self::parse(&topic)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

impl From<&Subject> for String {
    fn from(subject: &Subject) -> Self {
        subject.0.to_owned()
    }
}

/// A NATS subject with or without wildcards on which messages of devices are heard: not one of the engine's or the site's own.
///
/// Written the NATS way (`*.heartbeat`) or the MQTT way (`+/heartbeat`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let refuse = |reason| Err(InvalidPattern { text: text.chars().take(80).collect(), reason });
        let pattern = text.replace('/', ".").replace('+', "*").replace('#', ">");
        if let Err(reason) = check_levels(&pattern) {
            return refuse(reason);
        }
        let levels: Vec<&str> = pattern.split('.').collect();
        let before_last = levels.split_last().map_or(&[][..], |(_last, before)| before);
        if levels.iter().any(|level| level.len() > 1 && level.contains(['*', '>']))
            || before_last.contains(&">")
        {
            return refuse("a wildcard is a level of its own, and `>` the last one");
        }
        if pattern == ">" {
            return refuse("it takes every message there is");
        }
        Ok(Self(pattern))
    }

    /// The pattern as NATS takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Why a pattern is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is refused: {reason}; use levels such as `*.heartbeat` or `plant/+/hello`")]
pub struct InvalidPattern {
    text: String,
    reason: &'static str,
}

/// Why a topic is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "topic `{topic}` is refused: {reason}; use levels of visible characters separated by `/` or `.`"
)]
pub struct InvalidSubject {
    topic: String,
    reason: &'static str,
}

/// What holds for every subject that devices have to do with, with wildcards or without.
fn check_levels(subject: &str) -> Result<(), &'static str> {
    if subject.len() > Subject::LEN_MAX {
        return Err("it is longer than 255 bytes");
    }
    if subject.split('.').any(str::is_empty) {
        return Err("it has an empty level");
    }
    if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has a space or a control character");
    }
    let first = subject.split('.').next().unwrap_or_default();
    if first.starts_with('$') || Subject::RESERVED.contains(&first) {
        return Err("its first level is reserved");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_heard_as_nats_writes_them() {
        for (text, pattern) in [
            ("*.heartbeat", "*.heartbeat"),
            ("plant/+/hello", "plant.*.hello"),
            ("plant/#", "plant.>"),
            ("sim.heartbeat", "sim.heartbeat"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().as_str(), pattern);
        }
        for text in [
            "",
            ">",
            "#",
            "a.>.b",
            "a*.b",
            "a..b",
            "a b",
            "runtime.>",
            "$SYS.*",
            "sealwire.query.*",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn takes_either_form_and_mixtures() {
        for (topic, subject) in [
            ("sim.poll.7", "sim.poll.7"),
            ("picow/7/poll", "picow.7.poll"),
            ("sim.disconnect/7", "sim.disconnect.7"), // the reference fleet writes this one
        ] {
            assert_eq!(Subject::parse(topic).unwrap().as_str(), subject);
        }
    }

    #[test]
    fn refuses_what_would_reach_further_than_one_device() {
        for topic in
            ["", "a//b", "/a", "a b", "a.*", "a.>", "a/#", "runtime.host.x", "$SYS.REQ", "_INBOX.1"]
        {
            assert!(Subject::parse(topic).is_err(), "{topic}");
        }
    }
}
