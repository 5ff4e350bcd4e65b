//! The credentials of a site in their file, `sensor-credentials` in the data directory.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Heartbeat, Timestamp};
use tokio::sync::watch;

use crate::sensors::{
    book::{Book, BookError, Credential},
    learning::Learning,
    refusals::{Refusal, Refusals, Told},
    sensor::{Alias, Sensor},
};

/// The credentials of a site. Cheap to clone. A change is in the file before it is in force.
#[derive(Clone, Debug)]
pub struct SensorCredentials {
    path: PathBuf,
    book: Arc<Mutex<Book>>,
    /// Held while the file is written, so that letting a device in does not wait for the disk.
    changing: Arc<Mutex<()>>,
    /// Tells of each change.
    changed: watch::Sender<()>,
    refusals: Arc<Mutex<Refusals>>,
    learning: Arc<Mutex<Learning>>,
}

impl SensorCredentials {
    /// Reads the credentials from the file; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn load(path: PathBuf) -> Result<Self, CredentialError> {
        let damaged = |reason| CredentialError::Damaged { path: path.clone(), reason };
        let book = match fs::read(&path) {
            Ok(bytes) => {
                let stored: Vec<Credential> =
                    serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                Book::restore(stored).map_err(|error| damaged(error.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
            Err(source) => return Err(CredentialError::Io { path, source }),
        };
        Ok(Self {
            path,
            book: Arc::new(Mutex::new(book)),
            changing: Arc::default(),
            changed: watch::Sender::new(()),
            refusals: Arc::default(),
            learning: Arc::default(),
        })
    }

    /// Looks at the credentials. Do not wait for anything meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.locked())
    }

    /// Changes the credentials. Blocks until the file is written; the change is in force then, and
    /// not at all if the file cannot be written.
    ///
    /// # Errors
    /// The change is refused, or the file cannot be written.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, BookError>,
    ) -> Result<T, CredentialError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.locked().clone();
        let result = change(&mut changed)?;
        let all: Vec<&Credential> = changed.all().collect();
        let json = serde_json::to_vec(&all).expect("credentials have only text keys");
        durable::write_secret(&self.path, &json)
            .map_err(|source| CredentialError::Io { path: self.path.clone(), source })?;
        *self.locked() = changed;
        self.changed.send_replace(());
        Ok(result)
    }

    /// Tells of each change from here on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Counts a refusal.
    pub fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.refusals().take(refusal, now);
    }

    /// The refusals to seal now, each with its count.
    #[must_use]
    pub fn refusals_due(&self, now: Timestamp) -> Vec<(Refusal, u64)> {
        self.refusals().due(now)
    }

    /// How much was refused since the site started.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refusals().total()
    }

    /// All refusals since the site started, the newest first.
    #[must_use]
    pub fn all_refusals(&self) -> Vec<Told> {
        self.refusals().all()
    }

    /// Takes a heartbeat that came on this subject, for those who learn of devices.
    pub fn hear(&self, subject: &str, heartbeat: &Heartbeat) {
        self.learning().hear(subject, heartbeat);
    }

    /// The sensors with these aliases that were heard since somebody first asked for them.
    #[must_use]
    pub fn learn(&self, aliases: BTreeSet<Alias>, now: Timestamp) -> Vec<Sensor> {
        self.learning().ask(aliases, now)
    }

    fn learning(&self) -> MutexGuard<'_, Learning> {
        self.learning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Path of the credentials' file in a data directory.
#[must_use]
pub fn credentials_path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("sensor-credentials")
}

/// Why credentials cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read or written.
    #[error("cannot use the credentials' file {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is damaged.
    #[error(
        "the credentials' file {} is damaged ({reason}): put it back from a copy, or remove it and \
         make new credentials", path.display()
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The change is refused.
    #[error(transparent)]
    Book(#[from] BookError),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::sensors::book::tests::new;

    #[test]
    fn credentials_outlive_the_process_and_their_secrets_are_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = credentials_path_in(folder.path());
        let credentials = SensorCredentials::load(path.clone()).unwrap();
        assert!(credentials.look(Book::is_empty));
        let mut watch = credentials.watch();
        credentials.change(|book| book.add(vec![new("Pump-1", 1), new("Pump-2", 2)])).unwrap();
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        credentials.change(|book| book.add(vec![new("Pump-1", 3)])).unwrap_err();
        assert!(!watch.has_changed().unwrap());
        let again = SensorCredentials::load(path.clone()).unwrap();
        assert_eq!(again.look(Book::describe), credentials.look(Book::describe));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains("secret-1"));
        fs::write(&path, "{").unwrap();
        let damaged = SensorCredentials::load(path);
        assert!(matches!(damaged, Err(CredentialError::Damaged { .. })));
    }
}
