//! Which fields an event may have: the contract's, and those that a log's configuration adds.
//!
//! The contract's fields are always there: readings have them. So a custom schema adds fields and
//! takes none away.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

pub use crate::redact::REDACTED;
use crate::redact::Redaction;

/// What may stand in a field.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Text.
    #[serde(alias = "text", alias = "string-unindexed")]
    String,
    /// RFC 3339.
    #[serde(rename = "datetime")]
    DateTime,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A number, stored as the text that the client wrote.
    Float,
}

/// One field.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub id: String,
    /// What may stand in it.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Most characters of a text.
    #[serde(default = "custom_chars_max")]
    pub size: usize,
    /// Whether every event has it.
    #[serde(default)]
    pub required: bool,
}

impl Field {
    /// Whether a nested value is taken, too, and stored as its canonical JSON: where text is free,
    /// not in names.
    pub(crate) fn takes_nested(&self) -> bool {
        matches!(&*self.id, "message" | "new" | "old") || !Schema::is_standard(&self.id)
    }
}

/// The fields of a log's events.
#[derive(Clone, Debug)]
pub struct Schema {
    fields: BTreeMap<String, Field>,
    /// By field, what is cut out of its text before it is sealed.
    redactions: BTreeMap<String, Redaction>,
}

/// Most characters of `message`, `new`, `old`, and of a custom field.
pub const TEXT_CHARS_MAX: usize = 32_766;
/// Custom fields of a log: the index looks at each.
pub const CUSTOM_FIELDS_MAX: usize = 100;
/// Characters of a field's name, from the contract.
const ID_CHARS_MAX: usize = 32;

/// The contract's fields, with the most characters of each.
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

    /// The same, and of these fields' texts what matches one of the regular expressions is cut out
    /// before it is sealed.
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

    /// A field's text without what is not to be sealed; `None` where nothing of it has to go.
    pub(crate) fn redact(&self, id: &str, text: &str) -> Option<String> {
        self.redactions.get(id)?.apply(text)
    }

    /// The contract's fields and these.
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
            // Two have their places beside the event's fields; by the third the site's own sensors
            // are searched for.
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

    /// A field by its name.
    #[must_use]
    pub fn field(&self, id: &str) -> Option<&Field> {
        self.fields.get(id)
    }

    /// All fields, by their names.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.values()
    }

    /// Whether there is a field of this name that the contract does not have.
    #[must_use]
    pub fn has_custom(&self, id: &str) -> bool {
        self.fields.contains_key(id) && !Self::is_standard(id)
    }

    /// Whether this is a field that the contract itself has.
    pub(crate) fn is_standard(id: &str) -> bool {
        STANDARD.iter().any(|(standard, _)| *standard == id)
    }
}

/// Fields that cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSchema {
    /// Too many.
    #[error("{fields} custom fields: at most {CUSTOM_FIELDS_MAX} are taken")]
    TooMany {
        /// How many.
        fields: usize,
    },
    /// A name that is none.
    #[error(
        "`{id}` cannot be a custom field: use 1 to {ID_CHARS_MAX} of a-z, 0-9 and `_`, a letter first, and none of `received_at`, `sealwire` and `sensor`"
    )]
    Name {
        /// The text.
        id: String,
    },
    /// What is no text cannot be redacted.
    #[error("there is no field `{id}` of text, so nothing of it can be redacted")]
    NotText {
        /// The name.
        id: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}`, to be redacted from `{id}`, is not a regular expression: {reason}")]
    Pattern {
        /// The field.
        id: String,
        /// The text.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// A pattern that matches everywhere.
    #[error("`{pattern}`, to be redacted from `{id}`, matches the empty text, and so everywhere")]
    MatchesNothing {
        /// The field.
        id: String,
        /// The pattern.
        pattern: String,
    },
    /// A name that another field has.
    #[error("there is a field `{id}` already: name the custom field otherwise")]
    Taken {
        /// The name.
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
