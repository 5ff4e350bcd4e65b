//! The operator's files, on their way into a backup and out of it.
//!
//! A restore trusts none of them as such, because others may have written to the backup. It takes
//! the files that the log's key signed when the backup was made, and those that the caller names by
//! hash. It shows the rest and leaves them out.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use durable::{PlainError, read_plain};
use tlog::Hash;

use super::{
    error::BackupError,
    manifest::{Listed, Manifest, ManifestError},
};
use crate::folder::CONFIGURATION;

/// Largest file of an operator in bytes. A policy has at most 96 KiB, and the others are smaller.
const BYTES_MAX: u64 = 1 << 20;

/// A file that an operator wrote.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
}

/// Reads the operator's files from a site's own folder. Links are followed here: the operator made
/// them.
pub(crate) fn read_own(data_dir: &Path) -> Result<Vec<Written>, BackupError> {
    let mut written = Vec::new();
    for name in CONFIGURATION {
        let path = data_dir.join(name);
        let failed = |source| BackupError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed)?,
        };
        let mut content = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > BYTES_MAX {
            return Err(PlainError::TooLong { path, bytes_max: BYTES_MAX }.into());
        }
        written.push(Written { name, content });
    }
    Ok(written)
}

/// An operator's file in a backup, and whether the restored site has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Configured {
    /// File name.
    pub name: &'static str,
    /// SHA-256 of the file in the backup. For a file that is gone, the hash that the manifest
    /// lists.
    pub sha256: Hash,
    /// What the restore did with the file.
    pub fate: Fate,
}

/// What a restore does with an operator's file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Restores it, because the log's key signed it when the backup was made.
    Signed,
    /// Restores it, because the caller named its hash.
    AskedFor,
    /// Leaves it out, because no signature covers it.
    LeftOut {
        /// Why no signature covers it.
        reason: String,
    },
    /// Cannot restore it: the manifest lists it, but the backup no longer has it.
    Gone,
}

/// The fate of each operator's file in a backup, and the files to restore.
pub(crate) struct Judged {
    pub(crate) files: Vec<Configured>,
    pub(crate) taken: Vec<Written>,
}

/// Decides about the files of a backup by its manifest and by the hashes that the caller named.
pub(crate) fn judge(
    backup: &Path,
    manifest: Result<&Manifest, &UnknownManifest>,
    asked: &[Hash],
) -> Result<Judged, TakeError> {
    let mut judged = Judged { files: Vec::new(), taken: Vec::new() };
    for name in CONFIGURATION {
        let path = backup.join(name);
        let listed = manifest.ok().and_then(|manifest| manifest.file(name));
        let Some(read) = read_plain(&path, BYTES_MAX)? else {
            judged.files.extend(listed.map(|listed| Configured {
                name,
                sha256: listed.sha256,
                fate: Fate::Gone,
            }));
            continue;
        };
        let found = Listed::of(name, &read.content);
        let fate = match (listed, manifest) {
            (Some(listed), _) if *listed == found => Fate::Signed,
            _ if asked.contains(&found.sha256) && read.names > 1 => {
                return Err(TakeError::Linked { path, names: read.names });
            }
            _ if asked.contains(&found.sha256) => Fate::AskedFor,
            (Some(_), _) => {
                let reason = "the log's key signed a different file of this name".to_owned();
                Fate::LeftOut { reason }
            }
            (None, Ok(_)) => {
                let reason = "the site had no such file when the backup was made".to_owned();
                Fate::LeftOut { reason }
            }
            (None, Err(unknown)) => Fate::LeftOut { reason: unknown.to_string() },
        };
        if !matches!(fate, Fate::LeftOut { .. }) {
            judged.taken.push(Written { name, content: read.content });
        }
        judged.files.push(Configured { name, sha256: found.sha256, fate });
    }
    let is_there = |asked: &&Hash| judged.files.iter().any(|file| file.sha256 == **asked);
    match asked.iter().find(|asked| !is_there(asked)) {
        Some(sha256) => Err(TakeError::NotThere { backup: backup.to_owned(), sha256: *sha256 }),
        None => Ok(judged),
    }
}

/// Why the backup has no usable manifest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum UnknownManifest {
    /// The backup has no manifest.
    #[error("the backup has no manifest that the log's key signed")]
    None,
    /// The manifest does not speak for this backup.
    #[error("the backup's manifest cannot be used: {reason}")]
    Invalid {
        /// The rule that it breaks.
        reason: String,
    },
}

impl From<ManifestError> for UnknownManifest {
    fn from(error: ManifestError) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

/// Why no file is restored.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A file cannot be read, or is not a regular file.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// The file has further names (hard links), so its content may change.
    #[error("{} has {names} hard links, so it could change under another name: copy the backup, and restore from the copy", path.display())]
    Linked {
        /// Path of the file.
        path: PathBuf,
        /// Number of names.
        names: u64,
    },
    /// No file has the hash that the caller named.
    #[error("no configuration file in {} has the SHA-256 {sha256}", backup.display())]
    NotThere {
        /// Path of the backup.
        backup: PathBuf,
        /// The hash that the caller named.
        sha256: Hash,
    },
}
