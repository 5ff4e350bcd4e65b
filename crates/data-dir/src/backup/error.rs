//! Why a backup was not made, or is none.

use std::{io, path::PathBuf};

use durable::{PlainError, StagingError};
use ledger::{KeyError, copy::CopyError, verify::VerifyError};

use crate::folder::DataDirError;

/// Layout of a backup. One of another version is refused.
pub(super) const VERSION: u32 = 1;
pub(super) const DESCRIPTION: &str = "backup.json";

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// What lies in a backup is not what may lie there.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// What is to be backed up is not a site's folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The backup's folder cannot be made.
    #[error(transparent)]
    Folder(#[from] StagingError),
    /// The folder holds something else.
    #[error("{} is not empty and not a backup: name a new folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is no backup.
    #[error("{} is not a backup: it has no {DESCRIPTION}, or no checkpoint", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
    },
    /// The description is damaged.
    #[error("{} does not describe a backup", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The backup is of another version.
    #[error("the backup {} has version {version}, this sealwire works with version {VERSION}: use the sealwire that made it", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The backup is another site's.
    #[error("{} is a backup of the site `{other}`, not of `{name}`: name another folder", path.display())]
    OtherSite {
        /// The folder.
        path: PathBuf,
        /// Which site is backed up.
        name: String,
        /// Whose backup it is.
        other: String,
    },
    /// The log cannot be copied.
    #[error("the log cannot be copied")]
    Copy(#[from] CopyError),
    /// The copy is not a log.
    #[error(
        "the copy of the log does not verify: `sealwire doctor` says what is wrong with the data directory"
    )]
    Verify {
        /// What is wrong, in the copy.
        source: VerifyError,
    },
    /// A secret key cannot be used.
    #[error("a secret key cannot be used")]
    Key(#[from] KeyError),
    /// The log's secret key is not there.
    #[error(
        "{} {} the log's key, which is {vkey}: name its file with --key-file",
        path.display(),
        if *exists { "does not hold" } else { "does not exist, and is to hold" }
    )]
    NoKey {
        /// Where it was looked for.
        path: PathBuf,
        /// Whether another key was there.
        exists: bool,
        /// The log's key.
        vkey: String,
    },
    /// The earlier backup has more.
    #[error("the backup {} has {size} leaves, the log {leaves}: the log has lost leaves, so keep that backup and name another folder", path.display())]
    Behind {
        /// The backup.
        path: PathBuf,
        /// Leaves of its checkpoint.
        size: u64,
        /// Leaves of the copy.
        leaves: u64,
    },
    /// The earlier backup has something else.
    #[error("the log does not hold what the backup {} holds in its {size} leaves: it is another log, or its history was changed; \
             keep that backup and name another folder", path.display())]
    Diverged {
        /// The backup.
        path: PathBuf,
        /// Leaves of its checkpoint.
        size: u64,
    },
}

impl BackupError {
    /// Whether it may be that what was taken over from an earlier backup is at fault.
    pub(super) const fn is_of_the_copy(&self) -> bool {
        matches!(self, Self::Verify { .. } | Self::Copy(CopyError::Erase(_)))
    }
}
