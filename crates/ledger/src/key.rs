//! The log's signing key: 32 bytes of Ed25519 seed in hex, in a file that only its owner can read.
//!
//! A rotation makes the new key beside the old one, durable, before the log goes over to it; only then does it take the old one's place. Whatever a crash
//! interrupts, one of the two files holds the key that the log goes on with.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tlog::{KeyName, Signer, VerifierKey};

use crate::{layout::SEGMENTS, recover::Signers};

/// Where a log's key lies, and beside it the one that a rotation goes over to.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    current: PathBuf,
    next: PathBuf,
}

impl KeyFiles {
    /// The key in `current`; a rotation's new key is in the file of that name with `.next` behind it.
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

    /// Both keys; the current one is made if there is none and the log is new, too. `name` is the log's origin.
    ///
    /// # Errors
    /// As [`load_or_create_key`], of either file.
    pub fn load_or_create(&self, name: &KeyName, log: &Path) -> Result<Signers, KeyError> {
        let current = load_or_create_key(&self.current, name.clone(), log)?;
        let next = match read(&self.next)? {
            Some(text) => Some(parse(&self.next, &text, name.clone())?),
            None => None,
        };
        Ok(Signers { current, next })
    }

    /// Makes the key that a rotation goes over to, and makes it durable. One that is there already may be the only copy of the key that the log signs with:
    /// it is never replaced.
    ///
    /// # Errors
    /// The file cannot be made, or there is one.
    pub fn create_next(&self, name: KeyName) -> Result<Signer, KeyError> {
        if read(&self.next)?.is_some() {
            return Err(KeyError::Unsettled { path: self.next.clone() });
        }
        let text = create(&self.next)
            .map_err(|source| KeyError::Io { path: self.next.clone(), source })?;
        parse(&self.next, &text, name)
    }

    /// Keeps the key that the log goes on with, and removes what a rotation that was not sealed left.
    ///
    /// # Errors
    /// A file cannot be read, renamed or removed.
    pub fn settle(&self, vkey: &VerifierKey) -> Result<(), KeyError> {
        let Some(text) = read(&self.next)? else { return Ok(()) };
        let next = parse(&self.next, &text, vkey.name().clone())?;
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

/// The key in `path`; made if there is none and `log` says that the log is new, too. `name` is the log's origin.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it holds no key.
pub fn load_or_create_key(path: &Path, name: KeyName, log: &Path) -> Result<Signer, KeyError> {
    // A log has its key before its first segment.
    let is_new =
        fs::read_dir(log.join(SEGMENTS)).map_or(true, |mut segments| segments.next().is_none());
    if !is_new && read(path)?.is_none() {
        return Err(KeyError::Missing { path: path.to_owned(), log: log.to_owned() });
    }
    Ok(Signer::from_seed(name, &load_or_create_seed(path)?))
}

/// The seed in `path`; made if there is none.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it holds no key.
pub fn load_or_create_seed(path: &Path) -> Result<[u8; 32], KeyError> {
    let text = match read(path)? {
        Some(text) => text,
        None => create(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?,
    };
    parse_seed(path, &text)
}

/// The key in `path`. `name` is the log's origin.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no key.
pub fn load_key(path: &Path, name: KeyName) -> Result<Signer, KeyError> {
    let text = fs::read_to_string(path)
        .map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    parse(path, &text, name)
}

/// The text of a key's file; `None` where there is none.
fn read(path: &Path) -> Result<Option<String>, KeyError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

fn parse(path: &Path, text: &str, name: KeyName) -> Result<Signer, KeyError> {
    parse_seed(path, text).map(|seed| Signer::from_seed(name, &seed))
}

fn parse_seed(path: &Path, text: &str) -> Result<[u8; 32], KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut seed)
        .map_err(|_| KeyError::NotAKey { path: path.to_owned() })?;
    Ok(seed)
}

fn create(path: &Path) -> io::Result<String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let text = hex::encode(seed);
    write_secret(path, text.as_bytes())?;
    Ok(text)
}

/// Writes a file that only its owner can read, and a newline behind its content, whole or not at
/// all: a crash must not leave a part of a secret where one is looked for.
///
/// # Errors
/// A file cannot be written or renamed.
pub fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    durable::replace_with(path, |file| {
        file.write_all(content)?;
        file.write_all(b"\n")
    })
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
