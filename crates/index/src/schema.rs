//! The tables, and when they are made anew.

use std::{fs, io, path::Path};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

/// Another number than a file's own makes the file anew.
pub(crate) const VERSION: i64 = 2;

/// `name` holds each text once: actions, statuses and sources repeat millions of times. `last_numbers` is apart from `sensor`, for numbers must go on also
/// where nothing else is known of a sensor any more.
const TABLES: &str = "
    CREATE TABLE log (version INTEGER NOT NULL, vkey TEXT NOT NULL, next_leaf INTEGER NOT NULL);
    CREATE TABLE name (key INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE event (leaf INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, action INTEGER, source INTEGER, status INTEGER);
    CREATE INDEX event_action ON event (action, leaf);
    CREATE INDEX event_source ON event (source, leaf);
    CREATE INDEX event_status ON event (status, leaf);
    CREATE TABLE sensor (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, heartbeat TEXT NOT NULL, state TEXT NOT NULL,
        out_of_range INTEGER NOT NULL, lost INTEGER NOT NULL);
    CREATE TABLE last_numbers (id TEXT PRIMARY KEY, poll INTEGER NOT NULL, seq INTEGER, numbered_until INTEGER) WITHOUT ROWID;
    CREATE TABLE reading (
        sensor INTEGER NOT NULL, at INTEGER NOT NULL, leaf INTEGER NOT NULL, status INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (sensor, at, leaf)) WITHOUT ROWID;
";

/// Opens the file for writing; one of another version, of another log, ahead of its log, or that SQLite does not understand, is made anew.
pub(crate) fn open(path: &Path, vkey: &str, size: u64) -> rusqlite::Result<Connection> {
    match connect(path).and_then(|connection| Ok((is_of(&connection, vkey, size)?, connection))) {
        Ok((true, connection)) => return Ok(connection),
        Ok((false, _)) => {}
        Err(error) if is_damage(&error) => {}
        Err(error) => return Err(error),
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error)));
            }
            _ => {}
        }
    }
    let connection = connect(path)?;
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO log VALUES (?1, ?2, 0)", (VERSION, vkey))?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // In WAL mode a crash costs the last transactions and nothing else; they are applied again from the log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // What is deleted is overwritten: erased envelopes must not linger in free pages.
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

/// Whether the file is an index of this version, of this log, and not of a future that the log, restored from a copy, has lost.
fn is_of(connection: &Connection, vkey: &str, size: u64) -> rusqlite::Result<bool> {
    let has_table = connection.table_exists(None, "log")?;
    if !has_table {
        return Ok(false);
    }
    let found = connection
        .query_row("SELECT version, vkey, next_leaf FROM log", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    Ok(found.is_some_and(|(version, key, next_leaf)| {
        version == VERSION && key == vkey && next_leaf.cast_unsigned() <= size
    }))
}

pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}
