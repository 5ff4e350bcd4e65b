//! Secrets in files that only their owner can read, among them the seeds of keys: 32 bytes, in hex.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::replace::replace_with;

/// The seed in `path`; made if there is none.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it holds no key.
pub fn load_or_create_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    match find_seed(path)? {
        Some(seed) => Ok(seed),
        None => create_seed(path),
    }
}

/// The seed in `path`; `None` where there is no file.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no key.
pub fn find_seed(path: &Path) -> Result<Option<[u8; 32]>, SeedError> {
    match load_seed(path) {
        Err(SeedError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        loaded => loaded.map(Some),
    }
}

/// The seed in `path`.
///
/// # Errors
/// The file cannot be read, others may read it, or it holds no key.
pub fn load_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    let failed = |source| SeedError::Io { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SeedError::Open { path: path.to_owned(), mode });
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut seed)
        .map_err(|_| SeedError::NotAKey { path: path.to_owned() })?;
    Ok(seed)
}

/// Puts a random seed in `path`, in place of what is there.
///
/// # Errors
/// The file cannot be made.
pub fn create_seed(path: &Path) -> Result<[u8; 32], SeedError> {
    let failed = |source| SeedError::Io { path: path.to_owned(), source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error)))?;
    write_secret(path, hex::encode(seed).as_bytes()).map_err(failed)?;
    // As every later start reads it.
    load_seed(path)
}

/// Writes a file that only its owner can read, and a newline behind its content, whole or not at
/// all: a crash must not leave a part of a secret where one is looked for.
///
/// # Errors
/// A file cannot be written or renamed.
pub fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| {
        file.write_all(content)?;
        file.write_all(b"\n")
    })
}

/// Why there is no seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
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
    /// It holds something else.
    #[error("the key file {} does not hold 64 hex digits", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}
