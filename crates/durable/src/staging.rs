//! A folder that appears complete or not at all. It is built beside its place, under its name with
//! `.next` appended, and gets its name when everything in it is durable.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    lock::{Lock, LockError},
    private::{create_folder, private_file},
    replace::sync_folder,
};

/// Marks a folder as unfinished. The builder holds this lock, and removes the file when the folder
/// is complete.
const LOCK: &str = "copy.lock";
/// Suffix of the name of an unfinished folder.
const NEXT: &str = ".next";
/// Suffix of the name of the folder that is replaced, between the two renamings.
const OLD: &str = ".being-replaced";

/// An unfinished folder. Dropping this value removes it.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    path: PathBuf,
    _lock: Lock,
}

impl Staging {
    /// Begins to build the folder `target`. Removes what an interrupted attempt left.
    ///
    /// # Errors
    /// The path names no new folder, the folder is a mount point, another process is building it,
    /// something else has the name of the unfinished folder, or a file operation failed.
    pub fn begin(target: &Path) -> Result<Self, StagingError> {
        let path = beside(target, NEXT)?;
        let failed = |source| StagingError::Io { path: path.clone(), source };
        refuse_mount_point(target)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            // A link leads to something that is not ours to remove.
            Ok(found) if !found.is_dir() => return Err(StagingError::InTheWay { path }),
            Ok(_) if is_empty(&path).map_err(failed)? => {
                fs::remove_dir(&path).map_err(failed)?;
            }
            Ok(_) => {
                // Remove only a folder that its lock file marks as unfinished, and only if no
                // process is building it.
                let lock = path.join(LOCK);
                if fs::symlink_metadata(&lock).is_err() {
                    return Err(StagingError::InTheWay { path });
                }
                let _unused = take_lock(&lock, &path)?;
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        create_folder(&path).map_err(failed)?;
        let lock = take_lock(&path.join(LOCK), &path)?;
        Ok(Self { target: target.to_owned(), path, _lock: lock })
    }

    /// Repairs an earlier replacement that a crash interrupted. Between its two renamings, it puts
    /// the old folder back; after them, it removes the old folder.
    ///
    /// # Errors
    /// The old folder cannot be renamed or removed.
    pub fn settle(&self) -> Result<(), StagingError> {
        let (target, old) = (&self.target, beside(&self.target, OLD)?);
        if !old.exists() {
            return Ok(());
        }
        let settled =
            if target.exists() { fs::remove_dir_all(&old) } else { fs::rename(&old, target) };
        settled.map_err(|source| StagingError::Io { path: old, source })
    }

    /// Path of the folder until it is finished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file that only its owner can read, and makes it durable.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StagingError> {
        let path = self.path.join(name);
        let write = || {
            let mut file = private_file().write(true).create_new(true).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(|source| StagingError::Io { path: path.clone(), source })
    }

    /// Gives the folder its name and replaces a folder that has it. The caller has already made
    /// everything in the subfolders durable.
    ///
    /// # Errors
    /// A folder cannot be renamed, synced or removed.
    pub fn finish(self) -> Result<(), StagingError> {
        let old = beside(&self.target, OLD)?;
        let finish = || {
            sync_folder(&self.path)?;
            let parent = self.target.parent().unwrap_or_else(|| Path::new("/"));
            let replaces = self.target.exists();
            if replaces {
                fs::rename(&self.target, &old)?;
            }
            if let Err(error) = fs::rename(&self.path, &self.target) {
                if replaces {
                    fs::rename(&old, &self.target)?;
                }
                return Err(error);
            }
            // The folder is complete, so remove the mark. A mark that a crash leaves here has no
            // meaning any more.
            fs::remove_file(self.target.join(LOCK))?;
            sync_folder(&self.target)?;
            sync_folder(parent)?;
            if replaces { fs::remove_dir_all(&old) } else { Ok(()) }
        };
        finish().map_err(|source| StagingError::Io { path: self.target.clone(), source })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // A finished folder has its own name, so nothing is left here. If this removal fails, the
        // next attempt removes the folder.
        let _left = fs::remove_dir_all(&self.path);
    }
}

/// The absolute path of a folder. If the path is a link, the path that the link leads to.
///
/// # Errors
/// The current folder is unknown, or a link cannot be followed.
pub fn place(path: &Path) -> Result<PathBuf, StagingError> {
    let place = if path.exists() { path.canonicalize() } else { std::path::absolute(path) };
    place.map_err(|source| StagingError::Io { path: path.to_owned(), source })
}

/// Refuses the root of a file system: it cannot be renamed, and a folder beside it is on another
/// file system.
fn refuse_mount_point(target: &Path) -> Result<(), StagingError> {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let above = target.parent().and_then(device);
    match device(target) {
        Some(own) if above != Some(own) => {
            Err(StagingError::MountPoint { path: target.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Whether the folder is empty or does not exist.
///
/// # Errors
/// The folder cannot be read.
pub fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        entries => Ok(entries?.next().is_none()),
    }
}

fn beside(target: &Path, suffix: &str) -> Result<PathBuf, StagingError> {
    let name = target.file_name().map(OsStr::to_owned);
    let mut name = name.ok_or_else(|| StagingError::NoName { path: target.to_owned() })?;
    name.push(suffix);
    Ok(target.with_file_name(name))
}

fn take_lock(lock: &Path, folder: &Path) -> Result<Lock, StagingError> {
    Lock::take(lock).map_err(|error| match error {
        LockError::Held { .. } => StagingError::InUse { path: folder.to_owned() },
        error => StagingError::Lock(error),
    })
}

/// Why a folder was not built.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// A file or folder cannot be read, written or renamed.
    #[error("cannot create {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// The path does not end in a name for a new folder.
    #[error("{} does not end in a name for a new folder", path.display())]
    NoName {
        /// The path as the user gave it.
        path: PathBuf,
    },
    /// The folder is the root of a file system.
    #[error("{} is the root of a file system: name a folder inside it", path.display())]
    MountPoint {
        /// Path of the folder.
        path: PathBuf,
    },
    /// Something else has the name that the unfinished folder needs.
    #[error("{} is in the way of a temporary folder: move it", path.display())]
    InTheWay {
        /// Path of what is in the way.
        path: PathBuf,
    },
    /// The lock of the unfinished folder cannot be taken.
    #[error(transparent)]
    Lock(LockError),
    /// Another process is building the folder.
    #[error("another sealwire is writing {}: wait until it is done", path.display())]
    InUse {
        /// Path of the unfinished folder.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_root_of_a_file_system_is_refused() {
        for root in ["/", "/proc"] {
            let refusal = refuse_mount_point(Path::new(root));
            assert!(matches!(refusal, Err(StagingError::MountPoint { .. })), "{root}");
        }
        for folder in ["/proc/self", "/proc/no such folder"] {
            refuse_mount_point(Path::new(folder)).unwrap();
        }
    }
}
