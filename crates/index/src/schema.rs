//! The tables, and when they are made anew.

use std::{fs, io, path::Path};

use rusqlite::{Connection, OptionalExtension as _};

/// Another number than a file's own makes the file anew.
const VERSION: i64 = 1;

/// `name` holds each text once: actions, statuses and sources repeat millions of times.
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
    CREATE TABLE reading (
        sensor INTEGER NOT NULL, at INTEGER NOT NULL, leaf INTEGER NOT NULL, status INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (sensor, at, leaf)) WITHOUT ROWID;
";

/// Opens the file for writing; one of another version, of another log, or that SQLite does not understand, is made anew.
pub(crate) fn open(path: &Path, vkey: &str) -> rusqlite::Result<Connection> {
    if let Ok(connection) = connect(path)
        && is_of(&connection, vkey).unwrap_or(false)
    {
        return Ok(connection);
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
    Ok(connection)
}

fn is_of(connection: &Connection, vkey: &str) -> rusqlite::Result<bool> {
    let found = connection
        .query_row("SELECT version, vkey FROM log", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found == Some((VERSION, vkey.to_owned())))
}
