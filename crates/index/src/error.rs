//! Errors of the index, and their remedies.

use rusqlite::{ErrorCode, ffi};

/// Why an operation of the index failed. The index holds only facts of the log, so deleting the
/// file loses nothing: the site rebuilds it.
#[derive(Debug, thiserror::Error)]
#[error("the index failed while {what}")]
pub struct IndexError {
    what: &'static str,
    trouble: Trouble,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kind of a failure, which decides the remedy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The file works but refuses this content. The indexer passes the leaf over.
    Content,
    /// The file holds what no writer wrote. The index is rebuilt from the log.
    Damage,
    /// The disk, memory or another process caused the failure. It may pass, so nothing is deleted.
    Passing,
}

impl IndexError {
    pub(crate) fn while_(what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self { what, trouble: Trouble::of(&source), source: Box::new(source) }
    }

    /// Reading the log failed.
    pub(crate) fn log(
        what: &'static str,
    ) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source }
    }

    /// A system call failed.
    pub(crate) fn io(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self { what, trouble: Trouble::Passing, source: Box::new(source) }
    }

    /// The kind of the failure.
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
                // SQLite reports a missing table or column as `Unknown`.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                    Self::Damage
                }
                // The file ends within a page: a crash has cut it.
                ErrorCode::SystemIoFailure
                    if failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ =>
                {
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
#[error("{0} is damaged")]
struct Damaged(&'static str);

pub(crate) fn damaged(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Blob,
        Box::new(Damaged(what)),
    )
}
