//! The fields of an event that are searched, and how each is indexed.

use std::{borrow::Cow, fmt, str::FromStr};

use model::Event;
use serde::{Deserialize, Serialize};

/// A field of an event. What is left out is different in every event (times, salts) or for programs rather than for people.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What was done.
    Action = 1,
    /// Who did it.
    Actor = 2,
    /// Where it was seen.
    Source = 3,
    /// How it ended.
    Status = 4,
    /// What it was done to.
    Target = 5,
    /// Whose it is.
    TenantId = 6,
    /// The sensor's id.
    Sensor = 7,
    /// What happened, for people.
    Message = 8,
    /// The value afterwards.
    New = 9,
    /// The value before.
    Old = 10,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Action,
        Self::Actor,
        Self::Source,
        Self::Status,
        Self::Target,
        Self::TenantId,
        Self::Sensor,
        Self::Message,
        Self::New,
        Self::Old,
    ];

    /// As it is written in a query before a colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Actor => "actor",
            Self::Source => "source",
            Self::Status => "status",
            Self::Target => "target",
            Self::TenantId => "tenant_id",
            Self::Sensor => "sensor",
            Self::Message => "message",
            Self::New => "new",
            Self::Old => "old",
        }
    }

    /// Whether the field is indexed as a whole, and so can be restricted to values. Of the others each word is indexed.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        !matches!(self, Self::Message | Self::New | Self::Old)
    }

    /// What the event says in this field.
    #[must_use]
    pub fn text(self, event: &Event) -> Option<Cow<'_, str>> {
        let text = match self {
            Self::Action => event.action.as_deref(),
            Self::Actor => event.actor.as_deref(),
            Self::Source => event.source.as_deref(),
            Self::Status => event.status.as_deref(),
            Self::Target => event.target.as_deref(),
            Self::TenantId => event.tenant_id.as_deref(),
            Self::Sensor => return event.sensor().map(|sensor| sensor.to_string().into()),
            Self::Message => Some(event.message.as_str()),
            Self::New => event.new.as_deref(),
            Self::Old => event.old.as_deref(),
        };
        text.map(Cow::Borrowed)
    }

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

/// The terms of an event: each field that is indexed as a whole, and each word of the others.
pub(crate) fn terms(event: &Event, mut visit: impl FnMut(Field, &str)) {
    for field in Field::ALL {
        let Some(text) = field.text(event) else { continue };
        if field.is_whole() {
            visit(field, &text);
        } else {
            let mut words = text.split_whitespace();
            // A field without a word is there all the same.
            visit(field, words.next().unwrap_or_default());
            words.for_each(|word| visit(field, word));
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|field| field.name() == name);
        known.ok_or_else(|| UnknownField(name.chars().take(64).collect()))
    }
}

/// A name that is no field's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a field: use action, actor, source, status, target, tenant_id, sensor, message, new or old"
)]
pub struct UnknownField(String);
