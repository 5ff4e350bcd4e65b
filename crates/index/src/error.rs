//! Why the index failed, and what helps.

use rusqlite::ErrorCode;

/// Why the index failed. It holds nothing that the log does not: delete it to have it made again.
#[derive(Debug, thiserror::Error)]
#[error("the index {what} failed")]
pub struct IndexError {
    what: &'static str,
    trouble: Trouble,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What kind of failure it is, and so what helps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The file takes everything but what was to be written: that is passed over.
    Content,
    /// The file holds what no writer wrote: it is made again from the log.
    Damage,
    /// The disk, the memory or another process is in the way: it may pass, and nothing is deleted
    /// for it.
    Passing,
}

impl IndexError {
    pub(crate) fn while_(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self { what, trouble: Trouble::of(&source), source: Box::new(source) }
    }

    /// The log failed that the index was to be held against.
    pub(crate) fn log(
        what: &'static str,
    ) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source }
    }

    /// The system failed.
    pub(crate) fn io(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source: Box::new(source) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn trouble(&self) -> Trouble {
        self.trouble
    }
}

impl Trouble {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::Error;
        match error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
                    Self::Content
                }
                // The last is what SQLite says of a table or column that is not there.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                    Self::Damage
                }
                _ => Self::Passing,
            },
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => Self::Damage,
            _ => Self::Passing,
        }
    }
}

/// A blob that no writer wrote.
#[derive(Debug, thiserror::Error)]
#[error("{0} is damaged: no writer wrote it so")]
struct Damaged(&'static str);

pub(crate) fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Blob,
        Box::new(Damaged(what)),
    )
}
