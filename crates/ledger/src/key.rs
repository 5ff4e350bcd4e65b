//! The log's signing key: 32 bytes of Ed25519 seed in hex, in a file that only its owner can read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tlog::{KeyName, Signer};

use crate::{
    disk::{Disk as _, RealDisk},
    recover::SEGMENTS,
};

/// The key in `path`; made if there is none and `log` says that the log is new, too. `name` is the log's origin.
///
/// # Errors
/// The file cannot be read or made, others may read it, or it holds no key.
pub fn load_or_create_key(path: &Path, name: KeyName, log: &Path) -> Result<Signer, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A log has its key before its first segment.
            if fs::read_dir(log.join(SEGMENTS)).is_ok_and(|mut segments| segments.next().is_some())
            {
                return Err(KeyError::Missing { path: path.to_owned(), log: log.to_owned() });
            }
            create(path).map_err(failed)?
        }

        read => read.map_err(failed)?,
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut seed)
        .map_err(|_| KeyError::NotAKey { path: path.to_owned() })?;
    Ok(Signer::from_seed(name, &seed))
}

fn create(path: &Path) -> io::Result<String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let text = format!("{}\n", hex::encode(seed));
    // Beside its place first: a crash must not leave a part of a key where a key is looked for.
    let next = path.with_extension("next");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(next, path)?;
    path.parent().map_or(Ok(()), |folder| RealDisk.sync_folder(folder))?;
    Ok(text)
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
