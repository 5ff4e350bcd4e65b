//! The tables, and when they are made anew.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{IndexError, Trouble};

/// A file of another version is made anew.
pub(crate) const VERSION: i64 = 6;

/// `log` has one row. `last_entry` is the log's entry of the leaf before `next_leaf`; `forgets`
/// says that something was erased whose bytes may still lie about in the file; `id_key` seals the
/// ids of searches. The column `sum` is scaled, see `Summary`. `passed_over` has the leaves that
/// the index could not take.
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
        out_of_range INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, not_judged INTEGER NOT NULL DEFAULT 0,
        poll INTEGER NOT NULL DEFAULT 0, seq INTEGER, numbered_until INTEGER,
        set_back INTEGER NOT NULL DEFAULT 0, answered INTEGER NOT NULL DEFAULT 0);
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

    CREATE TABLE passed_over (leaf INTEGER PRIMARY KEY, reason TEXT NOT NULL);
";

/// The log's entry of a leaf: what tells one history from another.
pub type Entry = [u8; 32];

/// Pages that the writer keeps in memory, in KiB: those of the tables' ends, where most is written.
pub(crate) const CACHE_KIB: i64 = 16 << 10;
/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS_MAX: usize = 64;

/// What the log says when it is asked for the entry of a leaf: `None` where it has no such leaf.
pub type FoundEntry = Result<Option<Entry>, Box<dyn Error + Send + Sync>>;

/// Opens the file for writing. One of another version, of another log or another history of it, or
/// that SQLite does not understand, is made anew. Nothing is deleted because something cannot be
/// read now.
pub(crate) fn open(
    path: &Path,
    vkey: &str,
    entry_of: impl FnOnce(u64) -> FoundEntry,
) -> Result<Connection, IndexError> {
    match connect(path).and_then(|connection| Ok((Cursor::read(&connection)?, connection))) {
        Ok((Some(cursor), connection)) if cursor.vkey == vkey && cursor.follows(entry_of)? => {
            Ok(connection)
        }
        Ok((_, connection)) => {
            drop(connection);
            begin(path, vkey)
        }
        Err(error) if Trouble::of(&error) == Trouble::Damage => begin(path, vkey),
        Err(error) => Err(IndexError::while_("opening")(error)),
    }
}

/// Deletes what there is and begins an index of nothing. Readers of the old file find out when they
/// ask next.
pub(crate) fn begin(path: &Path, vkey: &str) -> Result<Connection, IndexError> {
    let failed = IndexError::while_("beginning anew");
    // It gets its name when it has its tables: a reader finds the old one or the new one.
    let next = beside(path, ".next");
    remove(&next)?;
    let made = connect(&next).and_then(|connection| {
        connection.execute_batch(TABLES)?;
        connection.execute(
            "INSERT INTO log VALUES (?1, ?2, 0, ?3, 0, randomblob(32))",
            (VERSION, vkey, Entry::default()),
        )?;
        connection.close().map_err(|(_, error)| error)
    });
    made.map_err(&failed)?;
    remove(path)?;
    fs::rename(&next, path).map_err(IndexError::io("beginning anew"))?;
    connect(path).map_err(&failed)
}

/// Removes a file of SQLite's and then what it has beside it. Of a file without its write-ahead log
/// a half may be missing, and nobody would notice; a log without its file is removed by SQLite
/// itself, before it could be taken for another file's.
fn remove(path: &Path) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(IndexError::io("beginning anew")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut file = path.as_os_str().to_owned();
    file.push(suffix);
    file.into()
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
    // In WAL mode a crash costs the last transactions and nothing else; they are applied again from
    // the log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // What is deleted is overwritten. SQLite leaves copies of rows that it moved, so that is not
    // all: see `Indexer::forget`.
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

/// How far a file follows which log.
pub(crate) struct Cursor {
    vkey: String,
    pub(crate) next_leaf: u64,
    pub(crate) last_entry: Entry,
}

impl Cursor {
    /// That of an index of this version; `None` where the file is none.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        if !connection.table_exists(None, "log")? {
            return Ok(None);
        }
        let version: Option<i64> =
            connection.query_row("SELECT version FROM log", [], |row| row.get(0)).optional()?;
        if version != Some(VERSION) {
            return Ok(None);
        }
        connection
            .query_row("SELECT vkey, next_leaf, last_entry FROM log", [], |row| {
                Ok(Self {
                    vkey: row.get(0)?,
                    next_leaf: row.get(1).map(i64::cast_unsigned)?,
                    last_entry: row.get(2)?,
                })
            })
            .optional()
    }

    /// Whether it is of the history that the log has now: one restored from a copy lacks leaves, or
    /// has others.
    fn follows(&self, entry_of: impl FnOnce(u64) -> FoundEntry) -> Result<bool, IndexError> {
        let Some(last) = self.next_leaf.checked_sub(1) else { return Ok(true) };
        let entry = entry_of(last).map_err(IndexError::log("opening"))?;
        Ok(entry == Some(self.last_entry))
    }
}
