//! What a client may come back for: in memory, and in files of the data directory, so that it outlives the site's process.
//!
//! A search has words, and they may be those of an envelope: whenever envelopes are erased, searches
//! that were saved are forgotten. A command that erases on a stopped site forgets them, too.
//!
//! Lines that are added are not fsynced. A loss of power may take the newest: then a client
//! searches or exports again, and what it logged is sealed all the same.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    hash::Hash,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use data_dir::saved_searches;
use model::Timestamp;
use pangea::{RequestId, ResultId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{api::Promise, recent::Recent, search::SavedSearch};

/// For how long: as at Pangea, where it is two days for a search.
pub(crate) const LIFETIME: Duration = Duration::from_secs(2 * 86_400);
/// Bytes of one file's lines, of which it has twice as many at most before it is written anew: some 50,000 searches or 80,000 requests of the usual length.
const BYTES_MAX: usize = 16 << 20;

const REQUESTS: &str = "pangea-requests";

/// All that a client may come back for.
#[derive(Debug)]
pub struct Saved {
    /// Searches, for their pages.
    pub(crate) searches: SavedById<ResultId, SavedSearch>,
    /// What was answered with 202.
    pub(crate) promises: SavedById<RequestId, Promise>,
}

impl Saved {
    /// Whether what is saved in this data directory can be read; nothing is changed.
    pub fn look(data_dir: &Path) -> Result<(), SavedError> {
        for name in [saved_searches::NAME, REQUESTS] {
            let path = data_dir.join(name);
            read_text(&path).map_err(|source| SavedError { path, source })?;
        }
        Ok(())
    }

    /// What is saved in this data directory.
    pub fn open(data_dir: &Path) -> Result<Self, SavedError> {
        Ok(Self {
            searches: SavedById::open(data_dir.join(saved_searches::NAME))?,
            promises: SavedById::open(data_dir.join(REQUESTS))?,
        })
    }
}

impl Saved {
    /// Forgets what holds words of searches: they may be those of envelopes that were erased.
    pub(crate) fn forget_words(&self) {
        saved_searches::warn_of_words_left(self.searches.forget_all());
    }
}

/// A file of what is saved cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: remove it; clients will not find the searches or results that they come back for", path.display())]
pub struct SavedError {
    path: PathBuf,
    source: io::Error,
}

/// The newest values, each under its id until it expires.
#[derive(Debug)]
pub(crate) struct SavedById<I, V> {
    path: PathBuf,
    values: Mutex<Recent<I, Expiring<V>>>,
    /// Held while it is written: who asks for a value does not wait for the disk.
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

/// Of the file.
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
    /// Those of the file that have not expired; what cannot be read there is passed over.
    fn open(path: PathBuf) -> Result<Self, SavedError> {
        let opened = read_all(&path).and_then(|values| {
            let file = SavedFile::write(&path, &text_of(&values))?;
            Ok((Mutex::new(values), Mutex::new(file)))
        });
        match opened {
            Ok((values, file)) => Ok(Self { path, values, file }),
            Err(source) => Err(SavedError { path, source }),
        }
    }

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

    /// Forgets everything, in the file too.
    fn forget_all(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *self.values() = Recent::new(BYTES_MAX);
        *file = SavedFile::write(&self.path, "")?;
        Ok(())
    }

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
    /// Writes the file anew.
    fn write(path: &Path, text: &str) -> io::Result<Self> {
        durable::replace(path, text.as_bytes())?;
        Ok(Self { file: OpenOptions::new().append(true).open(path)?, bytes: text.len() })
    }
}

fn read_all<I, V>(path: &Path) -> io::Result<Recent<I, Expiring<V>>>
where
    I: Clone + Eq + FromStr + Hash,
    V: DeserializeOwned,
{
    let text = read_text(path)?;
    let (now, mut values) = (clock::now(), Recent::new(BYTES_MAX));
    for line in text.split_inclusive('\n') {
        // A crash may have cut the last one off.
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

/// The file's text. What a disk made of a line is no line, and the others are as good as before.
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
    use super::*;
    use crate::{api::Promised, bulk::Sealed};

    fn promise(first_leaf: u64) -> Promise {
        let sealed = Sealed { first_leaf, leaves: 1_000, verbose: true };
        let token_created_at = Timestamp::from_unix_micros(0);
        let of = Promised::Sealed(sealed);
        Promise { token: "scada".parse().unwrap(), token_created_at, of }
    }

    #[test]
    fn what_is_saved_outlives_the_process_and_ends_when_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pangea-requests");
        let now = clock::now();
        let at = |micros| Timestamp::from_unix_micros(now.unix_micros() + micros);
        let (lives, is_over) = (RequestId::new(1, [1; 14]), RequestId::new(2, [2; 14]));
        let open = || SavedById::<RequestId, Promise>::open(path.clone()).unwrap();
        let saved = open();
        saved.save(&lives, promise(7), at(60_000_000)).unwrap();
        saved.save(&is_over, promise(8), at(0)).unwrap();
        assert_eq!(saved.get(&lives, at(60_000_000)), None);
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"id\":").unwrap();
        let saved = open();
        assert_eq!(saved.get(&lives, now), Some(promise(7)));
        assert_eq!(saved.get(&is_over, now), None);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    /// Lines as earlier versions wrote them. They expire in 2096.
    const SEARCHES: &str = concat!(
        r#"{"id":"pas_00000000040g2081040g2081040g2081","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""search":{"query":"PIN 4711","start":"2026-01-02T03:04:05.000000Z","end":null,"#,
        r#""results_max":10000,"order":"Descending","order_by":"received_at","#,
        r#""restriction":{"actor":["ada","bob"]}},"end_leaf":9,"verbose":true}"#,
        "\n",
    );
    const PROMISES: &str = concat!(
        r#"{"id":"prq_00000000040g2081040g2081040g2081","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""token":"scada","token_created_at":"1970-01-01T00:00:00.000000Z","#,
        r#""of":{"sealed":{"first_leaf":7,"leaves":1000,"verbose":true}}}"#,
        "\n",
        r#"{"id":"prq_00000000080g4102080g4102080g4102","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""token":"scada","token_created_at":"1970-01-01T00:00:00.000000Z","#,
        r#""of":{"export":{"window":{"start":"2026-01-02T03:04:05.000000Z","#,
        r#""end":"2026-01-03T03:04:05.000000Z","order":"Ascending"},"format":"Json","end_leaf":12}}}"#,
        "\n",
    );

    #[test]
    fn lines_of_earlier_versions_are_read_and_written_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for (name, lines) in [(saved_searches::NAME, SEARCHES), (REQUESTS, PROMISES)] {
            fs::write(file(name), lines).unwrap();
        }
        let saved = Saved::open(folder.path()).unwrap();
        let id = "prq_00000000040g2081040g2081040g2081".parse().unwrap();
        assert_eq!(saved.promises.get(&id, clock::now()), Some(promise(7)));
        // An opened file is written again, from what was read of it.
        for (name, lines) in [(saved_searches::NAME, SEARCHES), (REQUESTS, PROMISES)] {
            assert_eq!(fs::read_to_string(file(name)).unwrap(), lines);
        }
    }
}
