//! The fields of an event that are searched, and how each is indexed.

use std::{borrow::Cow, fmt, str::FromStr};

use model::{Event, event::FieldValue};
use serde::{Deserialize, Serialize};

use crate::term::Part;

/// A field of an event. What is left out is different in every event (times, salts) or for programs
/// rather than for people.
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
    /// Bytes of a custom field's text that is indexed whole. Names, numbers and codes are shorter;
    /// of what is longer, words are what is looked for, and the dictionary would grow by each of
    /// its bytes.
    const WHOLE_BYTES_MAX: usize = 256;

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

    /// Whether there are texts of which each word is indexed instead of the whole.
    pub(crate) const fn has_words(&self) -> bool {
        matches!(self, Self::Message | Self::New | Self::Old | Self::Custom(_))
    }

    /// Whether this text is indexed whole. Of messages and values one word is: it costs no more.
    pub(crate) fn is_whole(&self, text: &str) -> bool {
        match self {
            Self::Message | Self::New | Self::Old => !text.contains(char::is_whitespace),
            Self::Custom(_) => is_whole_custom(text),
            Self::Action
            | Self::Actor
            | Self::Source
            | Self::Status
            | Self::Target
            | Self::TenantId
            | Self::Sensor => true,
        }
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

/// A custom field's value as it is searched: what JSON would write, without the quotation marks of
/// a text.
fn words_of(value: &FieldValue) -> Cow<'_, str> {
    match value {
        FieldValue::Bool(yes) => yes.to_string().into(),
        FieldValue::Integer(number) => number.to_string().into(),
        FieldValue::Text(text) => text.into(),
    }
}

/// The terms of an event, each with its field's name: of each field the whole text, or each of its
/// words.
pub(crate) fn terms(event: &Event, mut visit: impl FnMut(&str, Part, &str)) {
    let mut visit_field = |name: &str, text: &str, is_whole: bool| {
        if is_whole {
            visit(name, Part::Whole, text);
        } else {
            words(text).for_each(|word| visit(name, Part::Word, word));
        }
    };
    for field in &Field::STANDARD {
        let Some(text) = field.text(event) else { continue };
        visit_field(field.name(), &text, field.is_whole(&text));
    }
    for (name, value) in &event.custom {
        let text = words_of(value);
        visit_field(name, &text, is_whole_custom(&text));
    }
}

const fn is_whole_custom(text: &str) -> bool {
    text.len() <= Field::WHOLE_BYTES_MAX
}

/// The words of a text of which each is indexed. One of nothing but spaces has the word of no
/// letters: the field is there all the same.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut words = text.split_whitespace();
    std::iter::once(words.next().unwrap_or_default()).chain(words)
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
    "`{0}` is not a field: use action, actor, source, status, target, tenant_id, sensor, message, new, old, or a custom field that some event has"
)]
pub struct UnknownField(String);
