//! A reader's pool of connections. Each is lent to one question at a time, so that a slow search
//! does not delay other questions.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, ffi};

use crate::schema;

/// Longest wait for a locked file: the writer creates its tables, or a checkpoint restarts the
/// write-ahead log.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Page cache of a connection in KiB. All connections of a reader together have as much as the
/// writer.
const CACHE_KIB: i64 = schema::CACHE_KIB / Connections::MAX as i64;

/// A reader's connections. A new one is opened only when all open ones are lent.
#[derive(Debug)]
pub(crate) struct Connections {
    path: PathBuf,
    /// Connections that are not lent. The one used last, with the warmest cache, is at the end;
    /// `None` is a connection that was not needed yet.
    free: Mutex<Vec<Option<(FileId, Connection)>>>,
    given_back: Condvar,
}

impl Connections {
    /// Most questions answered at the same time; another one waits. A site builds as many pages of
    /// Pangea's API at once, so none of those waits. Each connection costs its part of the cache
    /// and some open files.
    pub(crate) const MAX: usize = 4;

    /// Opens connections to an existing file.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let free = std::iter::repeat_with(|| None).take(Self::MAX).collect();
        let connections =
            Self { path: path.to_owned(), free: Mutex::new(free), given_back: Condvar::new() };
        // Report an unusable file now, not at the first question.
        connections.lend().opened()?;
        Ok(connections)
    }

    /// Lends a free connection; waits until there is one.
    pub(crate) fn lend(&self) -> Lent<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_while(free, |free| free.is_empty());
        let connection = waited.unwrap_or_else(PoisonError::into_inner).pop().flatten();
        Lent { of: self, connection }
    }
}

/// A connection that is lent for one question.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    of: &'a Connections,
    connection: Option<(FileId, Connection)>,
}

/// Identity of a file: its device and inode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> rusqlite::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self(metadata.dev(), metadata.ino())),
            Err(error) => {
                let cannot_open = ffi::Error::new(ffi::SQLITE_CANTOPEN);
                Err(rusqlite::Error::SqliteFailure(cannot_open, Some(error.to_string())))
            }
        }
    }
}

impl Lent<'_> {
    /// The connection, to the file that exists now. If the index was rebuilt, a connection to the
    /// old file is replaced.
    pub(crate) fn opened(&mut self) -> rusqlite::Result<&mut Connection> {
        let file = FileId::of(&self.of.path)?;
        let connection = match self.connection.take() {
            Some((opened, connection)) if opened == file => connection,
            _ => open(&self.of.path)?,
        };
        Ok(&mut self.connection.insert((file, connection)).1)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut free = self.of.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(self.connection.take());
        self.of.given_back.notify_one();
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    schema::prepare(&connection, CACHE_KIB)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_opened_as_are_asked_over_at_once_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        drop(schema::open(&path, model::LogId::from_sha256([1; 32]), |_| Ok(None)).unwrap());
        let connections = Connections::open(&path).unwrap();
        let opened = || connections.free.lock().unwrap().iter().flatten().count();
        let ask = |lent: &mut Lent<'_>| {
            let connection = lent.opened().unwrap();
            connection.query_row("SELECT next_leaf FROM log", [], |row| row.get::<_, i64>(0))
        };
        for _one_after_the_other in 0..3 {
            assert_eq!(ask(&mut connections.lend()), Ok(0));
        }
        assert_eq!(opened(), 1);
        let mut lent: Vec<_> = (0..Connections::MAX).map(|_| connections.lend()).collect();
        assert!(lent.iter_mut().all(|lent| ask(lent) == Ok(0)));
        std::thread::scope(|scope| {
            let one_more = scope.spawn(|| ask(&mut connections.lend()));
            assert!(connections.free.lock().unwrap().is_empty(), "there is none for it");
            drop(lent.pop());
            assert_eq!(one_more.join().unwrap(), Ok(0), "it waited until one was given back");
        });
        drop(lent);
        assert_eq!(opened(), Connections::MAX);
    }
}
