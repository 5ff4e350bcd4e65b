//! A term: what is indexed of an event, a field's text or one of its words.

use indexmap::Equivalent;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// Which part of a field's text a term is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// One of its words.
    Word,
}

/// What is indexed of an event.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Term {
    pub(crate) field: Box<str>,
    pub(crate) part: Part,
    pub(crate) text: Box<str>,
}

/// A term by its parts: the field's name, which part of its text, and that.
pub(crate) type Parts<'a> = (&'a str, Part, &'a str);

impl Term {
    pub(crate) fn parts(&self) -> Parts<'_> {
        (&self.field, self.part, &self.text)
    }

    pub(crate) fn new(field: &str, part: Part, text: &str) -> Self {
        Self { field: field.into(), part, text: text.into() }
    }
}

/// So that a set of terms can be asked for one without making it. It has the hash of the term: both
/// are hashed part by part.
impl Equivalent<Term> for (&str, Part, &str) {
    fn equivalent(&self, term: &Term) -> bool {
        *self == (&*term.field, term.part, &*term.text)
    }
}

/// As the column `is_word` has it.
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
