//! The fields of an event that are searched, and how each is indexed.

use std::{borrow::Cow, fmt, str::FromStr};

use model::{Event, event::FieldValue};
use serde::{Deserialize, Serialize};

/// A field of an event. What is left out is different in every event (times, salts) or for programs rather than for people.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub enum Field {
    /// What was done.
    Action,
    /// Who did it.
    Actor,
    /// Where it was seen.
    Source,
    /// How it ended.
    Status,
    /// What it was done to.
    Target,
    /// Whose it is.
    TenantId,
    /// The sensor's id.
    Sensor,
    /// What happened, for people.
    Message,
    /// The value afterwards.
    New,
    /// The value before.
    Old,
    /// One of a custom schema, of this name.
    Custom(String),
}

impl Field {
    /// All but the custom ones.
    pub const STANDARD: [Self; 10] = [
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
    pub fn name(&self) -> &str {
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
            Self::Custom(name) => name,
        }
    }

    /// Whether the field is indexed as a whole, and so can be restricted to values. Of the others each word is indexed.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !matches!(self, Self::Message | Self::New | Self::Old | Self::Custom(_))
    }

    /// What the event says in this field.
    #[must_use]
    pub fn text<'a>(&self, event: &'a Event) -> Option<Cow<'a, str>> {
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
            Self::Custom(name) => return event.custom.get(name).map(words_of),
        };
        text.map(Cow::Borrowed)
    }
}

/// A custom field's value as it is searched: what JSON would write, without the quotation marks of a text.
fn words_of(value: &FieldValue) -> Cow<'_, str> {
    match value {
        FieldValue::Bool(yes) => yes.to_string().into(),
        FieldValue::Integer(number) => number.to_string().into(),
        FieldValue::Text(text) => text.into(),
    }
}

/// The terms of an event, each with its field's name: each field that is indexed as a whole, and each word of the others.
pub(crate) fn terms(event: &Event, mut visit: impl FnMut(&str, &str)) {
    let words_of_field = |name: &str, text: &str, visit: &mut dyn FnMut(&str, &str)| {
        let mut words = text.split_whitespace();
        // A field without a word is there all the same.
        visit(name, words.next().unwrap_or_default());
        words.for_each(|word| visit(name, word));
    };
    for field in &Field::STANDARD {
        let Some(text) = field.text(event) else { continue };
        if field.is_whole() {
            visit(field.name(), &text);
        } else {
            words_of_field(field.name(), &text, &mut visit);
        }
    }
    for (name, value) in &event.custom {
        words_of_field(name, &words_of(value), &mut visit);
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<String> for Field {
    fn from(name: String) -> Self {
        name.parse().unwrap_or(Self::Custom(name))
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.name().to_owned()
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::STANDARD.into_iter().find(|field| field.name() == name);
        known.ok_or_else(|| UnknownField(name.chars().take(64).collect()))
    }
}

/// A name that is no standard field's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a field: use action, actor, source, status, target, tenant_id, sensor, message, new or old"
)]
pub struct UnknownField(String);
