//! Secrets in files that only their owner can read. A seed of a key is 32 bytes, in hex.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{private::open_to_others, replace::replace_with};

/// Loads the seed in `path`. Creates it if the file does not exist.
///
/// # Errors
/// The file cannot be read or created, others may read it, or it holds no seed.
pub fn load_or_create_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    match find_seed(path)? {
        Some(seed) => Ok(seed),
        None => create_seed(path),
    }
}

/// Loads the seed in `path`; `None` if the file does not exist.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no seed.
pub fn find_seed(path: &Path) -> Result<Option<[u8; 32]>, SeedError> {
    match load_seed(path) {
        Err(SeedError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        loaded => loaded.map(Some),
    }
}

/// Loads the seed in `path`.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no seed.
pub fn load_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    let failed = |source| SeedError::Io { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    if let Some(mode) = open_to_others(path).map_err(failed)? {
        return Err(SeedError::Open { path: path.to_owned(), mode });
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut seed)
        .map_err(|_| SeedError::NotAKey { path: path.to_owned() })?;
    Ok(seed)
}

/// Writes a random seed to `path` and replaces what is there.
///
/// # Errors
/// The file cannot be created.
pub fn create_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    let failed = |source| SeedError::Io { path: path.to_owned(), source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error)))?;
    write_secret(path, hex::encode(seed).as_bytes()).map_err(failed)?;
    // Read it back the way every later start does.
    load_seed(path)
}

/// Writes a file that only its owner can read, with a newline after the content. The file is
/// complete or not there: a crash must not leave a part of a secret where a program looks for it.
///
/// # Errors
/// The file cannot be written or renamed.
pub fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| {
        file.write_all(content)?;
        file.write_all(b"\n")
    })
}

/// Why a seed cannot be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The file cannot be read or created.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// Path of the key file.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// Other accounts may read the file.
    #[error("other accounts may read the key file {} (mode {mode:o}): change its mode to 600", path.display())]
    Open {
        /// Path of the key file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The file does not hold a seed in hex.
    #[error("the key file {} does not contain 64 hex digits", path.display())]
    NotAKey {
        /// Path of the key file.
        path: PathBuf,
    },
}
