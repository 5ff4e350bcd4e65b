//! The fields that an event may have: the contract's, and those of a log's configuration.
//!
//! The contract's fields always exist, because readings use them. A custom schema only adds fields.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

pub use crate::redact::REDACTED;
use crate::redact::Redaction;

/// Type of a field's value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A text.
    #[serde(alias = "text", alias = "string-unindexed")]
    String,
    /// A time, RFC 3339.
    #[serde(rename = "datetime")]
    DateTime,
    /// An integer.
    Integer,
    /// A boolean.
    Boolean,
    /// A number, stored as the text that the client wrote.
    Float,
}

/// One field of a schema.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Name of the field.
    pub id: String,
    /// Type of the field's value.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Longest text, in characters.
    #[serde(default = "custom_chars_max")]
    pub size: usize,
    /// Whether every event must have the field.
    #[serde(default)]
    pub required: bool,
}

impl Field {
    /// Whether the field also accepts a nested value, which is stored as canonical JSON. Fields of
    /// free text do; fields that hold names do not.
    pub(crate) fn takes_nested(&self) -> bool {
        matches!(&*self.id, "message" | "new" | "old") || !Schema::is_standard(&self.id)
    }
}

/// What a log's configuration says of its fields, beside the contract's.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The custom fields.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// For each field, the regular expressions whose matches are removed before sealing.
    #[serde(default)]
    pub redact: BTreeMap<String, Vec<String>>,
}

impl TryFrom<Definition> for Schema {
    type Error = InvalidSchema;

    fn try_from(Definition { fields, redact }: Definition) -> Result<Self, InvalidSchema> {
        Self::with(fields)?.redacting(redact)
    }
}

/// All fields that events of a log may have.
#[derive(Clone, Debug)]
pub struct Schema {
    fields: BTreeMap<String, Field>,
    /// For each field, the patterns whose matches are removed before sealing.
    redactions: BTreeMap<String, Redaction>,
}

/// Longest `message`, `new`, `old` or custom field, in characters.
pub const TEXT_CHARS_MAX: usize = 32_766;
/// Most custom fields of a log. The index reads each.
pub const CUSTOM_FIELDS_MAX: usize = 100;
/// Longest name of a field in characters, from the contract.
const ID_CHARS_MAX: usize = 32;

/// The contract's fields and their longest texts in characters.
const STANDARD: [(&str, usize); 10] = [
    ("action", 32),
    ("actor", 128),
    ("message", TEXT_CHARS_MAX),
    ("new", TEXT_CHARS_MAX),
    ("old", TEXT_CHARS_MAX),
    ("source", 128),
    ("status", 32),
    ("target", 128),
    ("tenant_id", 128),
    ("timestamp", 128),
];

const fn custom_chars_max() -> usize {
    TEXT_CHARS_MAX
}

impl Schema {
    /// The contract's fields alone.
    #[must_use]
    pub fn standard() -> Self {
        let field = |(id, size): (&str, usize)| {
            let kind = if id == "timestamp" { Kind::DateTime } else { Kind::String };
            let field = Field { id: id.to_owned(), kind, size, required: id == "message" };
            (field.id.clone(), field)
        };
        Self { fields: STANDARD.into_iter().map(field).collect(), redactions: BTreeMap::new() }
    }

    /// This schema with redaction: for each named field, matches of its regular expressions are
    /// removed from the text before it is sealed.
    ///
    /// # Errors
    /// A field is missing or not a text, or a pattern is invalid or matches the empty text.
    pub fn redacting(
        mut self,
        patterns: BTreeMap<String, Vec<String>>,
    ) -> Result<Self, InvalidSchema> {
        for (id, patterns) in patterns {
            if self.field(&id).is_none_or(|field| field.kind != Kind::String) {
                return Err(InvalidSchema::NotText { id });
            }
            let regex = |pattern: String| match Regex::new(&pattern) {
                Ok(regex) if regex.is_match("") => {
                    Err(InvalidSchema::MatchesNothing { id: id.clone(), pattern })
                }
                Ok(regex) => Ok(regex),
                Err(error) => {
                    let reason = error.to_string();
                    Err(InvalidSchema::Pattern { id: id.clone(), pattern, reason })
                }
            };
            let regexes = patterns.into_iter().map(regex).collect::<Result<_, _>>()?;
            self.redactions.insert(id, Redaction::of(regexes));
        }
        Ok(self)
    }

    /// A field's text without what must not be sealed; `None` if nothing matches.
    pub(crate) fn redact(&self, id: &str, text: &str) -> Option<String> {
        self.redactions.get(id)?.apply(text)
    }

    /// The contract's fields and these custom fields.
    ///
    /// # Errors
    /// There are too many fields, or a name is invalid or taken.
    pub fn with(custom: Vec<Field>) -> Result<Self, InvalidSchema> {
        if custom.len() > CUSTOM_FIELDS_MAX {
            return Err(InvalidSchema::TooMany { fields: custom.len() });
        }
        let mut schema = Self::standard();
        for mut field in custom {
            let is_name = |id: &str| {
                id.len() <= ID_CHARS_MAX
                    && id.starts_with(|first: char| first.is_ascii_lowercase())
                    && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            // Two of these names stand beside the event in an envelope. The third is the search
            // field for the site's own sensors.
            if !is_name(&field.id) || matches!(&*field.id, "received_at" | "sealwire" | "sensor") {
                return Err(InvalidSchema::Name { id: field.id });
            }
            field.size = field.size.min(TEXT_CHARS_MAX);
            let id = field.id.clone();
            if schema.fields.insert(id.clone(), field).is_some() {
                return Err(InvalidSchema::Taken { id });
            }
        }
        Ok(schema)
    }

    /// The field of this name, if there is one.
    #[must_use]
    pub fn field(&self, id: &str) -> Option<&Field> {
        self.fields.get(id)
    }

    /// All fields, sorted by name.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.values()
    }

    /// Whether there is a custom field of this name.
    #[must_use]
    pub fn has_custom(&self, id: &str) -> bool {
        self.fields.contains_key(id) && !Self::is_standard(id)
    }

    /// Whether the contract has a field of this name.
    pub(crate) fn is_standard(id: &str) -> bool {
        STANDARD.iter().any(|(standard, _)| *standard == id)
    }
}

/// Why a schema is invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSchema {
    /// There are too many custom fields.
    #[error("{fields} custom fields, but at most {CUSTOM_FIELDS_MAX} are allowed")]
    TooMany {
        /// Number of custom fields.
        fields: usize,
    },
    /// A text cannot be the name of a field.
    #[error(
        "`{id}` cannot be a custom field: use 1 to {ID_CHARS_MAX} characters of a-z, 0-9 and `_`, \
         begin with a letter, and do not use `received_at`, `sealwire` or `sensor`"
    )]
    Name {
        /// The refused text.
        id: String,
    },
    /// Redaction is configured for a field that is missing or not a text.
    #[error("there is no text field `{id}`, so nothing can be redacted from it")]
    NotText {
        /// Name of the field.
        id: String,
    },
    /// A pattern is not a regular expression.
    #[error("the pattern `{pattern}` to redact from `{id}` is not a regular expression: {reason}")]
    Pattern {
        /// Name of the field.
        id: String,
        /// The refused pattern.
        pattern: String,
        /// The parser's message.
        reason: String,
    },
    /// A pattern matches the empty text, and therefore everywhere.
    #[error(
        "the pattern `{pattern}` to redact from `{id}` matches the empty text, and therefore everywhere"
    )]
    MatchesNothing {
        /// Name of the field.
        id: String,
        /// The refused pattern.
        pattern: String,
    },
    /// Another field already has this name.
    #[error("there already is a field `{id}`: choose another name for the custom field")]
    Taken {
        /// The name that is taken.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_fields_are_named_as_the_contract_has_it() {
        let field =
            |id: &str| Field { id: id.to_owned(), kind: Kind::Integer, size: 1, required: false };
        let schema = Schema::with(vec![field("field_int")]).unwrap();
        assert_eq!(schema.field("field_int").unwrap().kind, Kind::Integer);
        assert_eq!(schema.fields().count(), 11);
        for id in [
            "",
            "Field",
            "1st",
            "a-b",
            "received_at",
            "sealwire",
            "sensor",
            "message",
            &"x".repeat(33),
        ] {
            assert!(Schema::with(vec![field(id)]).is_err(), "{id}");
        }
        let read: Vec<Field> = serde_json::from_str(
            r#"[{"id":"a","type":"datetime"},{"id":"b","type":"string-unindexed","size":9}]"#,
        )
        .unwrap();
        assert_eq!((read[0].kind, read[1].kind, read[1].size), (Kind::DateTime, Kind::String, 9));
    }
}
