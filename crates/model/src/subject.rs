//! NATS subjects: where messages go and on which patterns they are received.

// A chip without compare-and-swap has no threads that could share a subject.
#[cfg(not(target_has_atomic = "ptr"))]
use alloc::rc::Rc as Shared;
#[cfg(target_has_atomic = "ptr")]
use alloc::sync::Arc as Shared;
use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

/// Protocol of a device. It decides how the device writes topic names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// NATS: the topic is the subject, except that `/` stands for `.`.
    Nats,
    /// MQTT 3.1.1, through the gateway of `nats-server`.
    Mqtt,
}

/// A NATS subject without wildcards that a device may name. Subjects of the engines and of the site
/// itself are refused. Cheap to clone: a poller names each subject in several places.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(Shared<str>);

impl Subject {
    /// Longest subject in bytes. NATS limits a whole protocol line to 4 KiB.
    pub const LEN_MAX: usize = 255;

    /// First tokens reserved for wasmCloud, for this site and for NATS. If a device could name one,
    /// the poller would send messages there on the device's behalf.
    pub const RESERVED: [&str; 4] = ["runtime", "sealwire", "_INBOX", "$SYS"];

    /// The subject that carries messages of `topic`, as a device names it in this protocol.
    ///
    /// # Errors
    /// The subject is too long, has an invalid or reserved level, or contains a wildcard.
    pub fn of_topic(topic: &str, protocol: Protocol) -> Result<Self, InvalidSubject> {
        let subject = match protocol {
            Protocol::Nats => topic.replace('/', "."),
            Protocol::Mqtt => of_mqtt(topic),
        };
        // This also refuses wildcards of MQTT, which the translation leaves in place.
        Self::check(topic, subject)
    }

    /// Parses a subject as stored, including each `/` that the translation of a topic put into it.
    ///
    /// # Errors
    /// The subject is too long, has an invalid or reserved level, or contains a wildcard.
    pub fn parse(subject: &str) -> Result<Self, InvalidSubject> {
        Self::check(subject, subject.to_owned())
    }

    fn check(topic: &str, subject: String) -> Result<Self, InvalidSubject> {
        let refuse =
            |reason| Err(InvalidSubject { topic: topic.chars().take(80).collect(), reason });
        if let Err(reason) = check_levels(&subject) {
            return refuse(reason);
        }
        if subject.contains(['*', '>', '+', '#']) {
            return refuse("it has a wildcard");
        }
        Ok(Self(subject.into()))
    }

    /// The subject in NATS syntax.
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

    fn try_from(subject: String) -> Result<Self, Self::Error> {
        Self::parse(&subject)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        Self::from(&subject)
    }
}

impl From<&Subject> for String {
    fn from(subject: &Subject) -> Self {
        subject.as_str().to_owned()
    }
}

/// The MQTT topic of which `nats-server` makes this subject.
#[must_use]
pub fn topic_of(subject: &str) -> String {
    let level = |level: &str| match level {
        "/" => String::new(),
        level => level.replace("//", "."),
    };
    let levels: Vec<String> = subject.split('.').map(level).collect();
    levels.join("/")
}

/// The subject of an MQTT topic, exactly as `nats-server` translates it: an empty level becomes
/// `/`, and a dot within a level becomes `//`.
fn of_mqtt(topic: &str) -> String {
    let mut subject = String::with_capacity(topic.len() + 8);
    let mut rest = topic.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '/' if subject.is_empty() || subject.ends_with('.') => subject.push_str("/."),
            '/' if matches!(rest.peek(), None | Some('/')) => subject.push_str("./"),
            '/' => subject.push('.'),
            '.' => subject.push_str("//"),
            other => subject.push(other),
        }
    }
    if subject.ends_with('.') {
        subject.push('/');
    }
    subject
}

/// A NATS subject, possibly with wildcards, on which the site receives messages of devices.
/// Subjects of the engines and of the site itself are refused.
///
/// It is written in NATS syntax (`*.heartbeat`) or, if it contains a `/`, in MQTT syntax
/// (`+/heartbeat`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(String);

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// A level is invalid or reserved, a wildcard is misplaced, or the pattern matches every
    /// subject.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let refuse = |reason| Err(InvalidPattern { text: text.chars().take(80).collect(), reason });
        let subject = if text.contains('/') { of_mqtt(text) } else { text.to_owned() };
        let pattern = subject.replace('+', "*").replace('#', ">");
        if let Err(reason) = check_levels(&pattern) {
            return refuse(reason);
        }
        let levels: Vec<&str> = pattern.split('.').collect();
        let before_last = levels.split_last().map_or(&[][..], |(_last, before)| before);
        if levels.iter().any(|level| level.len() > 1 && level.contains(['*', '>']))
            || before_last.contains(&">")
        {
            return refuse("a wildcard must be a whole level, and `>` must be the last one");
        }
        if pattern == ">" {
            return refuse("it matches every message");
        }
        Ok(Self(pattern))
    }

    /// Whether the pattern matches messages on `subject`.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut levels = subject.0.split('.');
        for wanted in self.0.split('.') {
            match (wanted, levels.next()) {
                (">", level) => return level.is_some(),
                (_, None) => return false,
                ("*", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// The pattern in NATS syntax.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl core::str::FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A pattern that is refused, and the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is refused: {reason}; use levels such as `*.heartbeat` or `plant/+/hello`")]
pub struct InvalidPattern {
    text: String,
    reason: &'static str,
}

/// A topic that is refused, and the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "topic `{topic}` is refused: {reason}; use levels of visible characters separated by `/` or `.`"
)]
pub struct InvalidSubject {
    topic: String,
    reason: &'static str,
}

/// Checks the rules for all subjects of devices, with or without wildcards.
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
            "sealwire.query.*.*",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_is_a_topic_is_translated_as_nats_does() {
        for (text, pattern) in [
            ("/picow/heartbeat", "/.picow.heartbeat"),
            ("/+/heartbeat", "/.*.heartbeat"),
            ("plant.1/+/hello", "plant//1.*.hello"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().as_str(), pattern);
        }
    }

    #[test]
    fn a_pattern_hears_what_nats_delivers() {
        for (pattern, subject, heard) in [
            ("*.heartbeat", "sim.heartbeat", true),
            ("*.heartbeat", "sim.heartbeat.7", false),
            ("*.heartbeat", "heartbeat", false),
            ("*.heartbeat", "sim.poll", false),
            ("plant.>", "plant.7", true),
            ("plant.>", "plant.7.read", true),
            ("plant.>", "plant", false),
            ("sim.heartbeat", "sim.heartbeat", true),
            ("sim.*.beat", "sim.7.beat", true),
            ("/.a", "/.a", true),
        ] {
            let parsed = Pattern(pattern.to_owned());
            assert_eq!(
                parsed.matches(&Subject::parse(subject).unwrap()),
                heard,
                "{pattern} {subject}"
            );
        }
    }

    #[test]
    fn nats_devices_may_mix_both_forms() {
        for (topic, subject) in [
            ("sim.poll.7", "sim.poll.7"),
            ("picow/7/poll", "picow.7.poll"),
            ("sim.disconnect/7", "sim.disconnect.7"), // the reference fleet writes this one
        ] {
            assert_eq!(Subject::of_topic(topic, Protocol::Nats).unwrap().as_str(), subject);
        }
    }

    /// The expected subjects come from nats-server 2.15.1.
    #[test]
    fn mqtt_topics_are_translated_exactly_as_nats_server_does() {
        for (topic, subject) in [
            ("a/b", "a.b"),
            ("/a", "/.a"),
            ("a/", "a./"),
            ("/", "/./"),
            ("//", "/././"),
            ("///", "/./././"),
            ("a//b", "a./.b"),
            ("a///b", "a././.b"),
            ("a//", "a././"),
            ("//a", "/./.a"),
            ("tp/192.168.1.5/poll", "tp.192//168//1//5.poll"),
            ("sim.disconnect/7", "sim//disconnect.7"),
            ("a.b", "a//b"),
            ("a.", "a//"),
            (".", "//"),
            ("..", "////"),
            ("/a.b", "/.a//b"),
            ("a./b", "a//.b"),
            ("é/ü", "é.ü"),
        ] {
            let translated = Subject::of_topic(topic, Protocol::Mqtt).unwrap();
            assert_eq!(translated.as_str(), subject, "{topic}");
            assert_eq!(Subject::parse(subject).unwrap(), translated, "it is read back as it is");
            assert_eq!(topic_of(subject), topic, "and back again");
        }
    }

    #[test]
    fn refuses_what_would_reach_further_than_one_device() {
        let both = [
            "",
            "a b",
            "a/*",
            "a/>",
            "a/#",
            "runtime/host",
            "$SYS/REQ",
            "_INBOX/1",
            "a\tb",
            "a\u{7f}b",
        ];
        for topic in both {
            for protocol in [Protocol::Nats, Protocol::Mqtt] {
                assert!(Subject::of_topic(topic, protocol).is_err(), "{topic} {protocol:?}");
            }
        }
        for topic in ["a//b", "/a", "a.*", "a.>", "runtime.host.x", "$SYS.REQ", "_INBOX.1"] {
            assert!(Subject::of_topic(topic, Protocol::Nats).is_err(), "{topic}");
        }
    }
}
