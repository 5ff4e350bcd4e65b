//! The log's signing key: 32 bytes of Ed25519 seed in hex, in a file that only its owner can read.
//!
//! A rotation makes the new key beside the old one, durable, before the log goes over to it; only
//! then does it take the old one's place. Whatever a crash interrupts, one of the two files holds
//! the key that the log goes on with.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use durable::{SeedError, create_seed, find_seed, load_or_create_seed, load_seed};
use tlog::{KeyName, Signer, VerifierKey};

use crate::{layout::SEGMENTS, recover::Signers};

/// Where a log's key lies, and beside it the one that a rotation goes over to.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    current: PathBuf,
    next: PathBuf,
}

impl KeyFiles {
    /// The key in `current`; a rotation's new key is in the file of that name with `.next` behind
    /// it.
    #[must_use]
    pub fn new(current: PathBuf) -> Self {
        let mut next = current.clone().into_os_string();
        next.push(".next");
        Self { current, next: next.into() }
    }

    /// Where the current key lies, and where the next.
    #[must_use]
    pub fn paths(&self) -> [&Path; 2] {
        [&self.current, &self.next]
    }

    /// Both keys; the current one is made if there is none and the log is new, too. `name` is the
    /// log's origin.
    ///
    /// # Errors
    /// As [`load_or_create_key`], of either file.
    pub fn load_or_create(&self, name: &KeyName, log: &Path) -> Result<Signers, KeyError> {
        let current = load_or_create_key(&self.current, name.clone(), log)?;
        let next = find_seed(&self.next)?.map(|seed| Signer::from_seed(name.clone(), &seed));
        Ok(Signers { current, next })
    }

    /// Makes the key that a rotation goes over to, and makes it durable. One that is there already
    /// may be the only copy of the key that the log signs with: it is never replaced.
    ///
    /// # Errors
    /// The file cannot be made, or there is one.
    pub fn create_next(&self, name: KeyName) -> Result<Signer, KeyError> {
        if is_there(&self.next)? {
            return Err(KeyError::Unsettled { path: self.next.clone() });
        }
        Ok(Signer::from_seed(name, &create_seed(&self.next)?))
    }

    /// Keeps the key that the log goes on with, and removes what a rotation that was not sealed
    /// left.
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
            .map_err(|source| KeyError::Io { path: self.next.clone(), source })
    }
}

/// The key in `path`; made if there is none and `log` says that the log is new, too. `name` is the
/// log's origin.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it holds no key.
pub fn load_or_create_key(path: &Path, name: KeyName, log: &Path) -> Result<Signer, KeyError> {
    // A log has its key before its first segment.
    let is_new =
        fs::read_dir(log.join(SEGMENTS)).map_or(true, |mut segments| segments.next().is_none());
    if !is_new && !is_there(path)? {
        return Err(KeyError::Missing { path: path.to_owned(), log: log.to_owned() });
    }
    Ok(Signer::from_seed(name, &load_or_create_seed(path)?))
}

/// The key in `path`. `name` is the log's origin.
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
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key file {} may be read by others (mode {mode:o}): make it 600", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It may be the key that the log signs with.
    #[error(
        "{} is the new key of a rotation of which it is not known whether it was sealed: start the site again, which finds out",
        path.display()
    )]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// It is gone, and the log it belongs to is not.
    #[error("the key file {} is missing, and the log in {} can only go on with it: restore it from a copy", path.display(), log.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// It holds something else.
    #[error("the key file {} does not hold 64 hex digits", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl From<SeedError> for KeyError {
    fn from(error: SeedError) -> Self {
        match error {
            SeedError::Io { path, source } => Self::Io { path, source },
            SeedError::Open { path, mode } => Self::Open { path, mode },
            SeedError::NotAKey { path } => Self::NotAKey { path },
        }
    }
}
