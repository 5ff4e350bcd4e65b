//! The searchable fields of an event, and how each is indexed.

use std::{borrow::Cow, fmt, str::FromStr};

use model::{Event, event::FieldValue};
use serde::{Deserialize, Serialize};

use crate::term::Part;

/// A searchable field of an event. Other fields differ in every event (times, salts) or serve
/// programs rather than people.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub enum Field {
    /// What was done.
    Action,
    /// Person, program or part of the site that did it.
    Actor,
    /// Where the event was observed.
    Source,
    /// How the action ended.
    Status,
    /// Object of the action.
    Target,
    /// Tenant that the event belongs to.
    TenantId,
    /// UUID of the event's sensor.
    Sensor,
    /// Description of the event for people.
    Message,
    /// Value after the event.
    New,
    /// Value before the event.
    Old,
    /// Field of a custom schema, by its name.
    Custom(String),
}

impl Field {
    /// Longest text of a custom field that is indexed whole, in bytes. Names, numbers and codes are
    /// shorter. People search longer texts by words, and each byte of a whole text would enlarge
    /// the dictionary.
    const WHOLE_BYTES_MAX: usize = 256;

    /// All fields except custom ones.
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

    /// The field's name, as a query writes it before a colon.
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

    /// Whether the index may hold each word of a text of this field instead of the whole text.
    pub(crate) const fn has_words(&self) -> bool {
        matches!(self, Self::Message | Self::New | Self::Old | Self::Custom(_))
    }

    /// Whether this text is indexed whole. A message or value of one word is, because that costs no
    /// more.
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

    /// The event's text in this field, if it has one.
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

/// A custom field's value as it is searched: its JSON, without the quotation marks of a text.
fn words_of(value: &FieldValue) -> Cow<'_, str> {
    match value {
        FieldValue::Bool(yes) => yes.to_string().into(),
        FieldValue::Integer(number) => number.to_string().into(),
        FieldValue::Text(text) => text.into(),
    }
}

/// Calls `visit` with each term of an event and its field's name. For each field, a term is the
/// whole text or one of its words.
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

/// The words of a text that is indexed by words. A text of only white space has one empty word,
/// which shows that the field is present.
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

/// The name of a field that is not a standard one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a field: use action, actor, source, status, target, tenant_id, sensor, message, new, old, or a custom field that an event has"
)]
pub struct UnknownField(String);
