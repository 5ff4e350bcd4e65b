//! The tables of the index, and when the file is rebuilt.

use std::{
    error::Error,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use model::LogId;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{IndexError, Trouble};

/// Version of the tables. A file of another version is rebuilt.
pub(crate) const VERSION: i64 = 13;

/// `log` has one row, because an index is of one log; `id` is the log's [`LogId`]. `last_entry` is
/// the log's entry of the leaf before `next_leaf`. `forgets` says that bytes of erased envelopes
/// may remain in the file. `in_force` is what is in force of the orders about a sensor, and
/// `standing` what components derived of it, if that is anything. A `sighting` has the text that
/// its action changes the sensor by: a heartbeat, an order, a time, the channel that it is about,
/// or the last two.
/// `id_key` authenticates the ids of searches. The column `sum` is scaled,
/// see `Summary`. `rollup` sums up the readings in `block`, without those in `newest`. A question
/// about `every_block` must select each column that sorts its rows; otherwise SQLite reads all rows
/// before it sorts them. `channel` leads from a sensor's channel to its series. `passed_over` holds
/// the leaves that could not be indexed. The key of a `posting` is the number of its run and the
/// first of its terms.
const TABLES: &str = "
    CREATE TABLE log (
        version INTEGER NOT NULL, id BLOB NOT NULL, next_leaf INTEGER NOT NULL, last_entry BLOB NOT NULL, forgets INTEGER NOT NULL,
        id_key BLOB NOT NULL);

    CREATE TABLE term (
        key INTEGER PRIMARY KEY, field TEXT NOT NULL, text TEXT NOT NULL, is_word INTEGER NOT NULL, UNIQUE (field, text, is_word));
    CREATE TABLE gram (chunk INTEGER NOT NULL, gram INTEGER NOT NULL, terms BLOB NOT NULL, PRIMARY KEY (chunk, gram)) WITHOUT ROWID;
    CREATE TABLE run (number INTEGER PRIMARY KEY, chunk INTEGER NOT NULL, row_count INTEGER NOT NULL);
    CREATE INDEX run_of_chunk ON run (chunk);
    CREATE TABLE posting (key INTEGER PRIMARY KEY, leaves BLOB NOT NULL);
    CREATE TABLE tail (part INTEGER PRIMARY KEY, leaves BLOB NOT NULL);

    CREATE TABLE leaves (first INTEGER PRIMARY KEY, first_at INTEGER NOT NULL, leaves BLOB NOT NULL);
    CREATE INDEX leaves_at ON leaves (first_at);

    CREATE TABLE sensor (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, heartbeat TEXT, in_force TEXT, state TEXT NOT NULL DEFAULT 'online',
        standing TEXT);
    CREATE TABLE channel (
        sensor INTEGER NOT NULL, name TEXT NOT NULL, series INTEGER NOT NULL UNIQUE, PRIMARY KEY (sensor, name)) WITHOUT ROWID;
    CREATE TABLE sighting (
        sensor INTEGER NOT NULL, leaf INTEGER NOT NULL, action TEXT NOT NULL, text TEXT, PRIMARY KEY (sensor, leaf)) WITHOUT ROWID;
    CREATE INDEX sighting_leaf ON sighting (leaf);

    CREATE TABLE block (
        sensor INTEGER NOT NULL, first_at INTEGER NOT NULL, first INTEGER NOT NULL, last_at INTEGER NOT NULL,
        readings INTEGER NOT NULL, numbers INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, sum REAL NOT NULL,
        first_leaf INTEGER NOT NULL, last_leaf INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (sensor, first_at, first)) WITHOUT ROWID;
    CREATE TABLE newest (
        sensor INTEGER PRIMARY KEY,
        poll INTEGER NOT NULL, seq INTEGER, numbered_until INTEGER, set_back INTEGER NOT NULL, answered INTEGER NOT NULL,
        first_at INTEGER NOT NULL, first INTEGER NOT NULL, last_at INTEGER NOT NULL,
        readings INTEGER NOT NULL, numbers INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, sum REAL NOT NULL,
        first_leaf INTEGER NOT NULL, last_leaf INTEGER NOT NULL, bytes BLOB NOT NULL);
    CREATE VIEW every_block AS
        SELECT sensor, first_at, first, last_at, readings, numbers, low, high, sum, first_leaf, last_leaf, bytes FROM block
        UNION ALL
        SELECT sensor, first_at, first, last_at, readings, numbers, low, high, sum, first_leaf, last_leaf, bytes FROM newest
        WHERE readings > 0;
    CREATE TABLE rollup (
        sensor INTEGER NOT NULL, number INTEGER NOT NULL,
        readings INTEGER NOT NULL, numbers INTEGER NOT NULL, low REAL NOT NULL, high REAL NOT NULL, sum REAL NOT NULL,
        first_leaf INTEGER NOT NULL, last_leaf INTEGER NOT NULL,
        PRIMARY KEY (sensor, number)) WITHOUT ROWID;

    CREATE TABLE passed_over (leaf INTEGER PRIMARY KEY, reason TEXT NOT NULL);
";

/// The log's entry of a leaf. It distinguishes one history of a log from another.
pub type Entry = [u8; 32];

/// Page cache of the writer in KiB. It holds the ends of the tables, where most writes go.
pub(crate) const CACHE_KIB: i64 = 8 << 10;
/// Pages in the write-ahead log after which they move into the file, which costs two fsyncs: 16
/// MiB, a few seconds of a large site. Most of them are versions of the same pages.
const WAL_PAGES: i64 = 4_096;
/// Most prepared statements that a connection keeps: more than the program has.
const STATEMENTS_MAX: usize = 64;

/// The log's answer to a request for a leaf's entry; `None` if it has no such leaf.
pub type FoundEntry = Result<Option<Entry>, Box<dyn Error + Send + Sync>>;

/// Opens the file for writing. It replaces a file of another version, of another log, of another
/// history of the log, or that SQLite cannot interpret. It deletes nothing only because something
/// cannot be read at the moment.
pub(crate) fn open(
    path: &Path,
    log: LogId,
    entry_of: impl FnOnce(u64) -> FoundEntry,
) -> Result<Connection, IndexError> {
    match connect(path).and_then(|connection| Ok((Cursor::read(&connection)?, connection))) {
        Ok((Some(cursor), connection))
            if cursor.log == *log.as_bytes() && cursor.follows(entry_of)? =>
        {
            Ok(connection)
        }
        Ok((_, connection)) => {
            drop(connection);
            begin(path, log)
        }
        Err(error) if Trouble::of(&error) == Trouble::Damage => begin(path, log),
        Err(error) => Err(IndexError::while_("opening")(error)),
    }
}

/// Deletes the file and creates an empty index. Readers of the old file notice at their next
/// question.
pub(crate) fn begin(path: &Path, log: LogId) -> Result<Connection, IndexError> {
    let failed = IndexError::while_("starting over");
    // The file gets its final name once it has its tables, so a reader finds the old index or the
    // new one.
    let next = beside(path, ".next");
    remove(&next)?;
    let made = connect(&next).and_then(|connection| {
        connection.execute_batch(TABLES)?;
        connection.execute(
            "INSERT INTO log VALUES (?1, ?2, 0, ?3, 0, randomblob(32))",
            (VERSION, log.as_bytes(), Entry::default()),
        )?;
        connection.close().map_err(|(_, error)| error)
    });
    made.map_err(&failed)?;
    remove(path)?;
    fs::rename(&next, path).map_err(IndexError::io("starting over"))?;
    connect(path).map_err(&failed)
}

/// Removes an SQLite file first, and then the files beside it. A file without its write-ahead log
/// may lack half of its content, unnoticed. SQLite itself removes a log without its file, before
/// the log could be taken for another file's.
fn remove(path: &Path) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(IndexError::io("starting over")(error));
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
    // SQLite creates files with the permissions that the umask leaves, and gives the files beside
    // it the same ones.
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let connection = Connection::open(path)?;
    // In WAL mode a crash loses at most the last transactions. The indexer applies them again from
    // the log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    // SQLite overwrites deleted rows. Copies of rows that it moved still remain; see
    // `Indexer::forget`.
    connection.pragma_update(None, "secure_delete", "ON")?;
    prepare(&connection, CACHE_KIB)?;
    Ok(connection)
}

/// Sets the options that readers and the writer share.
pub(crate) fn prepare(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Which log a file follows, and how far.
pub(crate) struct Cursor {
    log: [u8; LogId::LEN],
    pub(crate) next_leaf: u64,
    pub(crate) last_entry: Entry,
}

impl Cursor {
    /// The cursor of an index of this version; `None` if the file is not one.
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
            .query_row("SELECT id, next_leaf, last_entry FROM log", [], |row| {
                Ok(Self {
                    log: row.get(0)?,
                    next_leaf: row.get(1).map(i64::cast_unsigned)?,
                    last_entry: row.get(2)?,
                })
            })
            .optional()
    }

    /// Whether the file follows the log's present history. A log restored from a copy lacks leaves,
    /// or has different ones.
    fn follows(&self, entry_of: impl FnOnce(u64) -> FoundEntry) -> Result<bool, IndexError> {
        let Some(last) = self.next_leaf.checked_sub(1) else { return Ok(true) };
        let entry = entry_of(last).map_err(IndexError::log("opening"))?;
        Ok(entry == Some(self.last_entry))
    }
}
