//! A lock file that marks a folder as in use. The kernel releases the lock when the process ends,
//! however it ends.

use std::{
    fs::{File, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::process::geteuid;

use crate::{
    plain::{PlainError, open_plain},
    private::private_file,
};

/// Number of tries before a lock counts as held: [`Lock::is_held`] takes the lock for a moment.
const TRIES: u32 = 20;
/// Time between two tries: far longer than [`Lock::is_held`] keeps the lock.
const LOOK_TIME: Duration = Duration::from_millis(5);

/// A lock that its process holds until this value is dropped.
///
/// Only the owner can open the file, so no other account can hold the lock in the owner's place. It
/// must be a plain file, so a link cannot redirect the lock to another file or have that file
/// emptied.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in this file, and creates the file if it does not exist.
    ///
    /// # Errors
    /// Another process holds the lock, or the file is not a plain file of this account.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut options = private_file();
        options.read(true).write(true).create(true).truncate(false);
        let file = open_plain(&mut options, path)?;
        let found = file.metadata().map_err(failed)?;
        if found.uid() != geteuid().as_raw() {
            return Err(LockError::OtherOwner { path: path.to_owned(), owner: found.uid() });
        }
        if found.mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        }
        for _try in 1..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => thread::park_timeout(LOOK_TIME),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether a process holds the lock in this file now. `false` if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be opened or is not a plain file.
    pub fn is_held(path: &Path) -> Result<bool, LockError> {
        let mut options = private_file();
        options.read(true);
        let file = match open_plain(&mut options, path) {
            Err(PlainError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => {
                Err(LockError::Io { path: path.to_owned(), source })
            }
        }
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file cannot be opened or changed.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the lock file.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// The path names something other than a plain file.
    #[error(transparent)]
    File(#[from] PlainError),
    /// The lock file belongs to another account.
    #[error(
        "{} belongs to the account with uid {owner}: run sealwire as that account, or give the whole folder to yours (chown -R)",
        path.display()
    )]
    OtherOwner {
        /// Path of the lock file.
        path: PathBuf,
        /// User id of the account that owns the file.
        owner: u32,
    },
    /// Another process holds the lock.
    #[error("another process holds {}", path.display())]
    Held {
        /// Path of the lock file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn one_has_it_and_it_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(!Lock::is_held(&path).unwrap());
        let lock = Lock::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Lock::is_held(&path).unwrap());
        assert!(matches!(Lock::take(&path), Err(LockError::Held { .. })));
        drop(lock);
        assert!(!Lock::is_held(&path).unwrap());
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_look_at_it_keeps_nobody_from_taking_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(Lock::take(&path).unwrap());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    Lock::is_held(&path).unwrap();
                }
            });
            // Often enough for some tries to meet a call of `is_held`.
            let taken: Result<(), LockError> =
                (0..1_000).try_for_each(|_| Lock::take(&path).map(drop));
            is_over.store(true, Ordering::Relaxed);
            taken.unwrap();
        });
    }

    #[test]
    fn what_is_not_a_plain_file_is_neither_locked_nor_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, theirs) = (folder.path().join("lock"), folder.path().join("theirs"));
        fs::write(&theirs, "theirs").unwrap();
        let plant: [&dyn Fn(); 3] =
            [&|| symlink(&theirs, &path).unwrap(), &|| fs::create_dir(&path).unwrap(), &|| {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            }];
        for plant in plant {
            plant();
            let is_refused = |error| matches!(error, LockError::File(PlainError::NotPlain { .. }));
            assert!(is_refused(Lock::take(&path).unwrap_err()));
            assert!(is_refused(Lock::is_held(&path).unwrap_err()));
            let _file = fs::remove_file(&path);
            let _folder = fs::remove_dir(&path);
        }
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    }
}
