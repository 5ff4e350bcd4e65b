//! A term: the unit that is indexed of an event. It is a field's whole text or one of its words.

use indexmap::Equivalent;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// Which part of a field's text a term is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Part {
    /// The whole text.
    Whole,
    /// One word of the text.
    Word,
}

/// A field's whole text or one of its words.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Term {
    pub(crate) field: Box<str>,
    pub(crate) part: Part,
    pub(crate) text: Box<str>,
}

/// The parts of a term: the field's name, the part of its text, and the text.
pub(crate) type Parts<'a> = (&'a str, Part, &'a str);

impl Term {
    pub(crate) fn parts(&self) -> Parts<'_> {
        (&self.field, self.part, &self.text)
    }

    pub(crate) fn new(field: &str, part: Part, text: &str) -> Self {
        Self { field: field.into(), part, text: text.into() }
    }
}

/// Lets a set of terms be searched for a term without allocating one. The hashes agree, because
/// both are hashed part by part.
impl Equivalent<Term> for (&str, Part, &str) {
    fn equivalent(&self, term: &Term) -> bool {
        *self == (&*term.field, term.part, &*term.text)
    }
}

/// The value of the column `is_word`.
impl ToSql for Part {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self == Self::Word).into())
    }
}

impl FromSql for Part {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        bool::column_result(value).map(|is_word| if is_word { Self::Word } else { Self::Whole })
    }
}
