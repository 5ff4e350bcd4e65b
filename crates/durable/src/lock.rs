//! A lock that says that a folder is in use. The kernel drops it when its process ends, however
//! that ends.

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

/// How often a lock is tried that somebody has: [`Lock::is_held`] takes it for a moment.
const TRIES: u32 = 20;
/// Time between two tries: far longer than a look takes.
const LOOK_TIME: Duration = Duration::from_millis(5);

/// A lock, held for as long as this lives.
///
/// Its file is its owner's alone, so no other account can open it and hold the lock in the owner's
/// place; and it is a plain file, so nothing elsewhere is locked or emptied by way of a link.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in this file, which is made if it is not there.
    ///
    /// # Errors
    /// Somebody holds it, or the file is not what a lock is.
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

    /// Whether somebody holds the lock in this file now; nobody does where there is no file.
    ///
    /// # Errors
    /// It cannot be looked at.
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

/// Why a lock is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It is not a file that can be a lock.
    #[error(transparent)]
    File(#[from] PlainError),
    /// It belongs to another account.
    #[error(
        "{} belongs to the account with uid {owner}: run this as that account, or give the whole folder to yours (chown -R)",
        path.display()
    )]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Somebody holds it.
    #[error("another process holds {}", path.display())]
    Held {
        /// The file.
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
            // So often that some of them meet a look.
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
