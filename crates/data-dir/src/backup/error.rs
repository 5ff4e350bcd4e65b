//! Why a backup cannot be made or used.

use std::{io, path::PathBuf};

use durable::{PlainError, StagingError};
use ledger::{KeyError, copy::CopyError, verify::VerifyError};

use crate::folder::DataDirError;

/// Version of a backup's layout. Other versions are refused.
pub(super) const VERSION: u32 = 1;
pub(super) const DESCRIPTION: &str = "backup.json";

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The backup holds something that it may not, such as a link.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// The source is not a site's data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The new backup cannot be put in its place.
    #[error(transparent)]
    Folder(#[from] StagingError),
    /// The target folder holds something other than a backup.
    #[error("{} is not empty and not a backup: name a new folder", path.display())]
    NotEmpty {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The folder is not a backup.
    #[error("{} is not a backup: it has no {DESCRIPTION}, or no checkpoint", path.display())]
    NotABackup {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The backup's description is damaged.
    #[error("{} is not a valid description of a backup", path.display())]
    Description {
        /// Path of the description.
        path: PathBuf,
        /// Error of the JSON parser.
        source: serde_json::Error,
    },
    /// The backup is of another version.
    #[error("the backup {} has version {version}, but this sealwire reads version {VERSION}: use the sealwire that made the backup", path.display())]
    Version {
        /// Path of the backup.
        path: PathBuf,
        /// Version of the backup.
        version: u32,
    },
    /// The target is a backup of another site.
    #[error("{} is a backup of the site `{other}`, not of `{name}`: name another folder", path.display())]
    OtherSite {
        /// Path of the backup.
        path: PathBuf,
        /// Name of the site to back up.
        name: String,
        /// Name of the site in the backup.
        other: String,
    },
    /// The log cannot be copied.
    #[error("cannot copy the log")]
    Copy(#[from] CopyError),
    /// The copy does not verify.
    #[error(
        "the copy of the log does not verify: run `sealwire doctor` to find what is wrong with the data directory"
    )]
    Verify {
        /// The fault in the copy.
        source: VerifyError,
    },
    /// A secret key cannot be used.
    #[error("cannot use a secret key")]
    Key(#[from] KeyError),
    /// The log's secret key is not available.
    #[error(
        "{} {} the secret key of {vkey}: name its file with --key-file",
        path.display(),
        if *exists { "does not contain" } else { "does not exist, but should contain" }
    )]
    NoKey {
        /// Path of the expected key file.
        path: PathBuf,
        /// Whether the file exists and holds another key.
        exists: bool,
        /// The log's verifier key.
        vkey: String,
    },
    /// The earlier backup has more leaves than the log.
    #[error("the backup {} has {size} leaves, but the log has only {leaves}: the log has lost \
        leaves, so keep this backup and name another folder", path.display())]
    Behind {
        /// Path of the backup.
        path: PathBuf,
        /// Number of leaves in the backup's checkpoint.
        size: u64,
        /// Number of leaves in the copy.
        leaves: u64,
    },
    /// The earlier backup has other leaves than the log.
    #[error("the log does not contain the {size} leaves of the backup {}: it is another log, or \
        its history was changed; keep this backup and name another folder", path.display())]
    Diverged {
        /// Path of the backup.
        path: PathBuf,
        /// Number of leaves in the backup's checkpoint.
        size: u64,
    },
}

impl BackupError {
    /// Whether reused files of an earlier backup may be the cause.
    pub(super) const fn is_of_the_copy(&self) -> bool {
        matches!(self, Self::Verify { .. } | Self::Copy(CopyError::Erase(_)))
    }
}
