//! The tables, and when they are made anew.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

/// Another number than a file's own makes the file anew.
pub(crate) const VERSION: i64 = 4;

/// `log` has one row. `last_entry` is the log's entry of the leaf before `next_leaf`; `forgets` says that something was erased whose bytes may still lie about
/// in the file; `id_key` seals the ids of searches.
const TABLES: &str = "
    CREATE TABLE log (
        version INTEGER NOT NULL, vkey TEXT NOT NULL, next_leaf INTEGER NOT NULL, last_entry BLOB NOT NULL, forgets INTEGER NOT NULL,
        id_key BLOB NOT NULL);

    CREATE TABLE term (
        key INTEGER PRIMARY KEY, field TEXT NOT NULL, text TEXT NOT NULL, is_word INTEGER NOT NULL, UNIQUE (field, text, is_word));
    CREATE TABLE gram (chunk INTEGER NOT NULL, gram INTEGER NOT NULL, terms BLOB NOT NULL, PRIMARY KEY (chunk, gram)) WITHOUT ROWID;
    CREATE TABLE posting (chunk INTEGER NOT NULL, term INTEGER NOT NULL, leaves BLOB NOT NULL, PRIMARY KEY (chunk, term)) WITHOUT ROWID;
    CREATE TABLE tail (part INTEGER PRIMARY KEY, leaves BLOB NOT NULL);

    CREATE TABLE leaves (first INTEGER PRIMARY KEY, first_at INTEGER NOT NULL, leaves BLOB NOT NULL);
    CREATE INDEX leaves_at ON leaves (first_at);

    CREATE TABLE sensor (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, heartbeat TEXT, state TEXT NOT NULL DEFAULT 'online',
        out_of_range INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
        poll INTEGER NOT NULL DEFAULT 0, seq INTEGER, numbered_until INTEGER);
    CREATE TABLE sighting (
        sensor INTEGER NOT NULL, leaf INTEGER NOT NULL, action TEXT NOT NULL, heartbeat TEXT, PRIMARY KEY (sensor, leaf)) WITHOUT ROWID;
    CREATE INDEX sighting_leaf ON sighting (leaf);

    CREATE TABLE block (
        sensor INTEGER NOT NULL, first_at INTEGER NOT NULL, first INTEGER NOT NULL, last_at INTEGER NOT NULL,
        readings INTEGER NOT NULL, numbers INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, sum REAL NOT NULL,
        first_leaf INTEGER NOT NULL, last_leaf INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (sensor, first_at, first)) WITHOUT ROWID;
    CREATE TABLE rollup (
        sensor INTEGER NOT NULL, number INTEGER NOT NULL,
        readings INTEGER NOT NULL, numbers INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, sum REAL NOT NULL,
        first_leaf INTEGER NOT NULL, last_leaf INTEGER NOT NULL,
        PRIMARY KEY (sensor, number)) WITHOUT ROWID;
";

/// The log's entry of a leaf: what tells one history from another.
pub type Entry = [u8; 32];

/// Pages that the writer keeps in memory, in KiB: those of the tables' ends, where most is written.
pub(crate) const CACHE_KIB: i64 = 16 << 10;
/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS_MAX: usize = 64;

/// Opens the file for writing; one of another version, of another log or another history of it, or that SQLite does not understand, is made anew.
pub(crate) fn open(
    path: &Path,
    vkey: &str,
    entry_of: impl FnOnce(u64) -> Option<Entry>,
) -> rusqlite::Result<Connection> {
    match connect(path).and_then(|connection| Ok((is_of(&connection, vkey, entry_of)?, connection)))
    {
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
    connection.execute(
        "INSERT INTO log VALUES (?1, ?2, 0, ?3, 0, randomblob(32))",
        (VERSION, vkey, Entry::default()),
    )?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite takes whatever the user's mask leaves, and gives the files beside it the same.
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let connection = Connection::open(path)?;
    // In WAL mode a crash costs the last transactions and nothing else; they are applied again from the log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // What is deleted is overwritten. SQLite leaves copies of rows that it moved, so that is not all: see `Indexer::forget`.
    connection.pragma_update(None, "secure_delete", "ON")?;
    prepare(&connection, CACHE_KIB)?;
    Ok(connection)
}

/// What readers and the writer have in common.
pub(crate) fn prepare(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Whether the file is an index of this version, of this log, and of the history that the log has now: one restored from a copy lacks leaves, or has others.
fn is_of(
    connection: &Connection,
    vkey: &str,
    entry_of: impl FnOnce(u64) -> Option<Entry>,
) -> rusqlite::Result<bool> {
    let has_table = connection.table_exists(None, "log")?;
    if !has_table {
        return Ok(false);
    }
    let version: Option<i64> =
        connection.query_row("SELECT version FROM log", [], |row| row.get(0)).optional()?;
    if version != Some(VERSION) {
        return Ok(false);
    }
    let found = connection
        .query_row("SELECT vkey, next_leaf, last_entry FROM log", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Entry>(2)?))
        })
        .optional()?;
    Ok(found.is_some_and(|(key, next_leaf, last_entry)| {
        let last = next_leaf.cast_unsigned().checked_sub(1);
        key == vkey && last.is_none_or(|last| entry_of(last) == Some(last_entry))
    }))
}

pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}
