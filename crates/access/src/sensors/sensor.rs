//! A sensor that a credential covers, and what follows from it: who may publish and hear what.

use std::{collections::BTreeSet, fmt, str::FromStr};

use model::{Heartbeat, InvalidSubject, SensorId, Subject};
use serde::{Deserialize, Serialize};

use crate::sensors::name::CredentialName;

/// The name that a sensor's heartbeats carry.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl Alias {
    /// The alias as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Alias {
    type Error = InvalidAlias;

    fn try_from(text: String) -> Result<Self, InvalidAlias> {
        let chars = text.chars().count();
        let is_allowed = (1..=Heartbeat::NAME_CHARS_MAX).contains(&chars)
            && !text.contains(char::is_control)
            && text.trim() == text;
        if is_allowed { Ok(Self(text)) } else { Err(InvalidAlias) }
    }
}

impl FromStr for Alias {
    type Err = InvalidAlias;

    fn from_str(text: &str) -> Result<Self, InvalidAlias> {
        text.to_owned().try_into()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not an alias.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "an alias has 1 to {} characters, none of them a control character, and no space at an end",
    Heartbeat::NAME_CHARS_MAX
)]
pub struct InvalidAlias;

/// A sensor that a credential covers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sensor {
    /// The name that its heartbeats carry.
    pub alias: Alias,
    /// The id that its heartbeats carry.
    pub id: SensorId,
    /// The topics that it uses.
    pub topics: Topics,
}

/// The subjects that a sensor uses.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Topics {
    /// It sends heartbeats there.
    pub heartbeat: Subject,
    /// It hears polls there.
    pub poll: Subject,
    /// It answers there.
    pub read: Subject,
    /// Any message there means that it disconnects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<Subject>,
}

impl Topics {
    /// The topics of a sensor that has none of its own yet: below its name.
    ///
    /// # Panics
    /// Never: a name is a level of a subject.
    #[must_use]
    pub fn below(name: &CredentialName) -> Self {
        let topic =
            |level: &str| Subject::parse(&format!("{name}.{level}")).expect("it is a level");
        Self {
            heartbeat: topic("heartbeat"),
            poll: topic("poll"),
            read: topic("read"),
            disconnect: Some(topic("disconnect")),
        }
    }

    /// Subjects that no other sensor may have.
    pub(super) fn own(&self) -> impl Iterator<Item = &Subject> {
        [&self.poll, &self.read].into_iter().chain(&self.disconnect)
    }
}

/// What a device uses that reports by itself, without heartbeats and polls.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reporting {
    /// It reports there.
    pub reports: BTreeSet<Subject>,
    /// It hears there what is meant for it, such as a wish for its births.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hears: BTreeSet<Subject>,
}

impl Reporting {
    /// All of its subjects. No other credential may have them.
    pub(super) fn own(&self) -> BTreeSet<&Subject> {
        self.reports.union(&self.hears).collect()
    }
}

/// A sensor that is described in a way that cannot work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSensor {
    /// A topic is not one.
    #[error(transparent)]
    Topic(#[from] InvalidSubject),
    /// The sensor has no topics of its own, and its alias is no level of a subject.
    #[error(
        "the alias `{0}` cannot be part of a topic: name the sensor's topics, and a set that covers it"
    )]
    NoTopics(Alias),
}

/// What a device may publish, and what it may hear. There are no wildcards.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Permissions {
    /// Subjects to which it may publish.
    pub publish: BTreeSet<Subject>,
    /// Subjects to which it may subscribe.
    pub subscribe: BTreeSet<Subject>,
}

impl Permissions {
    /// Of a credential with this name that covers these sensors and reports by itself.
    pub(super) fn of<'a>(
        name: &CredentialName,
        sensors: impl IntoIterator<Item = &'a Sensor>,
        reporting: Option<&Reporting>,
    ) -> Self {
        let mut permissions = Self::default();
        permissions.subscribe.insert(receipts(name));
        if let Some(Reporting { reports, hears }) = reporting {
            permissions.publish.extend(reports.iter().cloned());
            permissions.subscribe.extend(hears.iter().cloned());
        }
        for Sensor { topics: Topics { heartbeat, poll, read, disconnect }, .. } in sensors {
            permissions.publish.extend([heartbeat, read].into_iter().chain(disconnect).cloned());
            permissions.subscribe.insert(poll.clone());
        }
        permissions
    }
}

/// The subject on which the device that has this credential hears receipts.
pub(super) fn receipts(name: &CredentialName) -> Subject {
    Subject::parse(&format!("{name}.receipt")).expect("a name is a level of a subject")
}
