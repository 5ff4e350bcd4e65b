//! Values by id: in memory, and in a file of lines, so that they survive the process.
//!
//! A line has the id, the time at which the value expires, and the value's members. New lines are
//! not fsynced, so a loss of power may remove the newest.
//!
//! Locks: `file` is held while a value is added in memory and on disk, so the lines are in the
//! order of the values. `values` is held only briefly, so a caller who asks for a value does not
//! wait for the disk. Code that takes both takes `file` first.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    hash::Hash,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::recent::Recent;

/// Bytes of the lines of one file: some 50,000 searches or 80,000 requests of the usual length. A
/// file is rewritten before it has twice as many.
const BYTES_MAX: usize = 16 << 20;

/// The newest values by id, each until it expires.
#[derive(Debug)]
pub(crate) struct SavedById<I, V> {
    path: PathBuf,
    values: Mutex<Recent<I, Expiring<V>>>,
    file: Mutex<SavedFile>,
}

#[derive(Debug)]
struct SavedFile {
    file: File,
    bytes: usize,
}

#[derive(Debug, Deserialize, Serialize)]
struct Expiring<V> {
    expires_at: Timestamp,
    #[serde(flatten)]
    value: V,
}

/// A line of the file.
#[derive(Deserialize, Serialize)]
struct Line<I, E> {
    id: I,
    #[serde(flatten)]
    expiring: E,
}

impl<I, V> SavedById<I, V>
where
    I: Clone + Display + Eq + FromStr + Hash,
    V: Clone + DeserializeOwned + Serialize,
{
    /// Reads the values of this file that have not expired, and rewrites the file with them. Lines
    /// that cannot be parsed are skipped. The file may be missing.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let values = read_all(&path)?;
        let file = SavedFile::write(&path, &text_of(&values))?;
        Ok(Self { path, values: Mutex::new(values), file: Mutex::new(file) })
    }

    /// Saves a value. If the file cannot be written, the value is kept in memory only. Blocks on
    /// the disk.
    pub(crate) fn save(&self, id: &I, value: V, expires_at: Timestamp) -> io::Result<()> {
        let value = Expiring { expires_at, value };
        let line = line(id, &value);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.values().insert_weighing(line.len(), id.clone(), value);
        file.file.write_all(line.as_bytes())?;
        file.bytes += line.len();
        if file.bytes > 2 * BYTES_MAX {
            let text = text_of(&self.values());
            *file = SavedFile::write(&self.path, &text)?;
        }
        Ok(())
    }

    /// Deletes all values, also in the file. If the file cannot be written, they are deleted in
    /// memory only. Blocks on the disk.
    pub(crate) fn forget_all(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *self.values() = Recent::new(BYTES_MAX);
        *file = SavedFile::write(&self.path, "")?;
        Ok(())
    }

    /// The value under an id, if it has not expired.
    pub(crate) fn get(&self, id: &I, now: Timestamp) -> Option<V> {
        let values = self.values();
        let found = values.get(id).filter(|found| found.expires_at > now);
        found.map(|found| found.value.clone())
    }

    fn values(&self) -> MutexGuard<'_, Recent<I, Expiring<V>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SavedFile {
    /// Replaces the file.
    fn write(path: &Path, text: &str) -> io::Result<Self> {
        durable::replace(path, text.as_bytes())?;
        Ok(Self { file: OpenOptions::new().append(true).open(path)?, bytes: text.len() })
    }
}

/// Whether a file of values can be read. Changes nothing.
pub(crate) fn look(path: &Path) -> io::Result<()> {
    read_text(path).map(drop)
}

fn read_all<I, V>(path: &Path) -> io::Result<Recent<I, Expiring<V>>>
where
    I: Clone + Eq + FromStr + Hash,
    V: DeserializeOwned,
{
    let text = read_text(path)?;
    let (now, mut values) = (clock::now(), Recent::new(BYTES_MAX));
    for line in text.split_inclusive('\n') {
        // A crash may have cut off the last line.
        let Ok(Line::<String, Expiring<V>> { id, expiring }) = serde_json::from_str(line) else {
            continue;
        };
        if expiring.expires_at > now
            && let Ok(id) = id.parse()
        {
            values.insert_weighing(line.len(), id, expiring);
        }
    }
    Ok(values)
}

/// The file's text. A line that the disk damaged is skipped; the others stay usable.
fn read_text(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn line<I: Display, V: Serialize>(id: &I, expiring: &Expiring<V>) -> String {
    let line = Line { id: id.to_string(), expiring };
    let mut line = serde_json::to_string(&line).expect("what is saved has only text keys");
    line.push('\n');
    line
}

fn text_of<I, V>(values: &Recent<I, Expiring<V>>) -> String
where
    I: Clone + Display + Eq + Hash,
    V: Serialize,
{
    values.iter().map(|(id, value)| line(id, value)).collect()
}

#[cfg(test)]
mod tests {
    use pangea::RequestId;

    use super::*;

    #[test]
    fn what_is_saved_outlives_the_process_and_ends_when_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values");
        let now = clock::now();
        let at = |micros| Timestamp::from_unix_micros(now.unix_micros() + micros);
        let (lives, is_over) = (RequestId::new(1, [1; 14]), RequestId::new(2, [2; 14]));
        let open = || SavedById::<RequestId, Value>::open(path.clone()).unwrap();
        let saved = open();
        saved.save(&lives, Value { number: 7 }, at(60_000_000)).unwrap();
        saved.save(&is_over, Value { number: 8 }, at(0)).unwrap();
        assert_eq!(saved.get(&lives, at(60_000_000)), None);
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"id\":").unwrap();
        let saved = open();
        assert_eq!(saved.get(&lives, now), Some(Value { number: 7 }));
        assert_eq!(saved.get(&is_over, now), None);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
    struct Value {
        number: u64,
    }
}
