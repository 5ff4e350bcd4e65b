//! Examines an index that may be damaged, in use or of another log. It changes nothing.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

use model::LogId;
use rusqlite::{Connection, OpenFlags};

use crate::{
    error::{IndexError, Trouble},
    reader::{self, PassedOver},
    schema,
};

/// What the index file says about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Examined {
    /// This program cannot use the file's version; a site rebuilds the index.
    OtherVersion,
    /// The file has the version that this program writes.
    Current {
        /// The log that the index follows.
        log: LogId,
        /// The first leaf that is not applied.
        next_leaf: u64,
        /// What is wrong with the file's pages. They are checked only if nobody uses the index and
        /// it was closed properly.
        damage: Option<String>,
    },
}

/// Examines an index. Returns `None` if there is none, or if SQLite cannot read it; the site then
/// rebuilds it. `is_in_use` says whether a site runs on it. If no site does, the examination
/// ignores a write-ahead log that a crash left.
///
/// # Errors
/// The file cannot be read.
pub fn examine(path: &Path, is_in_use: bool) -> Result<Option<Examined>, IndexError> {
    if !path.exists() {
        return Ok(None);
    }
    match look(path, is_in_use) {
        Err(error) if Trouble::of(&error) == Trouble::Damage => Ok(None),
        looked => looked.map_err(IndexError::while_("examining")),
    }
}

/// The leaves that an index has passed over, some of them by number, whether or not the index is in
/// use.
///
/// # Errors
/// The file cannot be read.
pub fn passed_over(
    path: &Path,
    is_in_use: bool,
    newest_max: u32,
) -> Result<PassedOver, IndexError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri(path, is_in_use), flags)
        .and_then(|connection| reader::passed_over(&connection, newest_max))
        .map_err(IndexError::while_("examining"))
}

fn look(path: &Path, is_in_use: bool) -> rusqlite::Result<Option<Examined>> {
    let was_closed = !is_in_use && !has_write_ahead_log(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, is_in_use), flags)?;
    if !connection.table_exists(None, "log")? {
        return Ok(None);
    }
    let version: i64 = connection.query_row("SELECT version FROM log", [], |row| row.get(0))?;
    if version != schema::VERSION {
        return Ok(Some(Examined::OtherVersion));
    }
    let (log, next_leaf): ([u8; LogId::LEN], i64) =
        connection
            .query_row("SELECT id, next_leaf FROM log", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let damage = if was_closed {
        let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        (report != "ok").then_some(report)
    } else {
        None
    };
    let (log, next_leaf) = (LogId::from_sha256(log), next_leaf.cast_unsigned());
    Ok(Some(Examined::Current { log, next_leaf, damage }))
}

/// The SQLite URI that opens an index read-only.
pub(crate) fn uri(path: &Path, is_in_use: bool) -> String {
    // If nobody uses the index, `immutable` keeps SQLite from creating files beside it.
    let options = if is_in_use { "mode=ro" } else { "mode=ro&immutable=1" };
    format!("file:{}?{options}", escaped(path))
}

/// Whether a crash left a write-ahead log that only the next start applies.
pub(crate) fn has_write_ahead_log(path: &Path) -> bool {
    fs::metadata(path.with_extension("sqlite-wal")).is_ok_and(|found| found.len() > 0)
}

/// Escapes a path of any bytes for a URI.
fn escaped(path: &Path) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let bytes = path.as_os_str().as_bytes();
    let escaped = |byte: &u8| match byte {
        byte if is_plain(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    bytes.iter().map(escaped).collect()
}
