//! The log's signing key: 32 bytes of Ed25519 seed in hex, in a file that only its owner can read.
//!
//! A rotation makes the new key durable in a file beside the old one before the log changes to it.
//! Only after the change does the new file replace the old one. Whatever a crash interrupts, one of
//! the two files holds the key with which the log continues.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use durable::{SeedError, create_seed, find_seed, load_or_create_seed, load_seed};
use tlog::{KeyName, Signer, VerifierKey};

use crate::{layout::SEGMENTS, recover::Signers};

/// Path of a log's key file, and of the file beside it for the new key of a rotation.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    current: PathBuf,
    next: PathBuf,
}

impl KeyFiles {
    /// The key in `current`. A rotation writes its new key to the file of that name with `.next`
    /// appended.
    #[must_use]
    pub fn new(current: PathBuf) -> Self {
        let mut next = current.clone().into_os_string();
        next.push(".next");
        Self { current, next: next.into() }
    }

    /// Paths of the current key and of the next one.
    #[must_use]
    pub fn paths(&self) -> [&Path; 2] {
        [&self.current, &self.next]
    }

    /// Loads both keys. Creates the current one if it does not exist and the log is new. `name` is
    /// the log's origin.
    ///
    /// # Errors
    /// As [`load_or_create_key`], for either file.
    pub fn load_or_create(&self, name: &KeyName, log: &Path) -> Result<Signers, KeyError> {
        let current = load_or_create_key(&self.current, name.clone(), log)?;
        let next = find_seed(&self.next)?.map(|seed| Signer::from_seed(name.clone(), &seed));
        Ok(Signers { current, next })
    }

    /// Creates the key that a rotation changes to, and makes it durable. It never replaces an
    /// existing file: that may be the only copy of the key with which the log signs.
    ///
    /// # Errors
    /// The file cannot be created, or it exists already.
    pub fn create_next(&self, name: KeyName) -> Result<Signer, KeyError> {
        if is_there(&self.next)? {
            return Err(KeyError::Unsettled { path: self.next.clone() });
        }
        Ok(Signer::from_seed(name, &create_seed(&self.next)?))
    }

    /// Keeps the key with which the log continues, and removes the new key of a rotation that was
    /// not sealed.
    ///
    /// # Errors
    /// A file cannot be read, renamed or removed.
    pub fn settle(&self, vkey: &VerifierKey) -> Result<(), KeyError> {
        let Some(seed) = find_seed(&self.next)? else { return Ok(()) };
        let next = Signer::from_seed(vkey.name().clone(), &seed);
        let settled = if next.vkey() == vkey {
            fs::rename(&self.next, &self.current)
        } else {
            fs::remove_file(&self.next)
        };
        settled
            .and_then(|()| durable::sync_folder_of(&self.current))
            .map_err(|source| SeedError::Io { path: self.next.clone(), source }.into())
    }
}

/// Loads the key in `path`. Creates it if it does not exist and `log` shows that the log is new.
/// `name` is the log's origin.
///
/// # Errors
/// The file cannot be read or created, others may read it, it holds no key, or it is missing
/// although the log is not new.
pub fn load_or_create_key(path: &Path, name: KeyName, log: &Path) -> Result<Signer, KeyError> {
    // The site writes the key before the log's first segment.
    let is_new =
        fs::read_dir(log.join(SEGMENTS)).map_or(true, |mut segments| segments.next().is_none());
    if !is_new && !is_there(path)? {
        return Err(KeyError::Missing { path: path.to_owned(), log: log.to_owned() });
    }
    Ok(Signer::from_seed(name, &load_or_create_seed(path)?))
}

/// Loads the key in `path`. `name` is the log's origin.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no key.
pub fn load_key(path: &Path, name: KeyName) -> Result<Signer, KeyError> {
    Ok(Signer::from_seed(name, &load_seed(path)?))
}

fn is_there(path: &Path) -> Result<bool, KeyError> {
    match File::open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(SeedError::Io { path: path.to_owned(), source }.into()),
    }
}

/// Why a key cannot be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be used, others may read it, or it holds no key.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The file may hold the key with which the log signs.
    #[error(
        "{} is the new key of a rotation that may or may not have been sealed: start the site again to find out",
        path.display()
    )]
    Unsettled {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is missing although the log that it belongs to exists.
    #[error("the key file {} is missing, and without it the log in {} cannot be continued: restore it from a copy", path.display(), log.display())]
    Missing {
        /// Path of the key file.
        path: PathBuf,
        /// Folder of the log.
        log: PathBuf,
    },
}
