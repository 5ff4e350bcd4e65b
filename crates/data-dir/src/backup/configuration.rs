//! What an operator wrote, on its way into a backup and out of it.
//!
//! On the way out nothing of it is believed: a backup may have lain where others write. What the
//! log's key signed when the backup was made is taken, and what was asked for by its hash. The rest
//! is shown and left out.

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

/// Largest file that an operator wrote: a policy has at most 96 KiB, and the others are shorter.
const BYTES_MAX: u64 = 1 << 20;

/// A file that an operator wrote.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
}

/// What an operator wrote into a site's own folder, where a link is the operator's affair.
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

/// A file of a backup, and whether the restored site has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Configured {
    /// Its name.
    pub name: &'static str,
    /// SHA-256 of what it holds in the backup; that of what it held where it is gone.
    pub sha256: Hash,
    /// What became of it.
    pub fate: Fate,
}

/// What becomes of a file in a backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is restored: the log's key signed it when the backup was made.
    Signed,
    /// It is restored, because it was asked for by its hash.
    AskedFor,
    /// It is left out, because no signature covers it.
    LeftOut {
        /// Why none does.
        reason: String,
    },
    /// It was signed when the backup was made, and is not in the backup any more.
    Gone,
}

/// What an operator wrote, of a backup: what becomes of each file, and those that are restored.
pub(crate) struct Judged {
    pub(crate) files: Vec<Configured>,
    pub(crate) taken: Vec<Written>,
}

/// Judges what lies in a backup by its manifest, and by the hashes of what was asked for.
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
                let reason = "the log's key signed another file of this name".to_owned();
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

/// Why nobody knows what the log's key signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum UnknownManifest {
    /// There is none.
    #[error("the backup has no manifest that the log's key signed")]
    None,
    /// It says nothing of this backup.
    #[error("the backup's manifest cannot be used: {reason}")]
    Invalid {
        /// Why not.
        reason: String,
    },
}

impl From<ManifestError> for UnknownManifest {
    fn from(error: ManifestError) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

/// Why nothing is taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A file cannot be read, or is none.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// It lies elsewhere, too.
    #[error("{} has {names} names (hard links), and may change under each of them: copy the backup, and restore from the copy", path.display())]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// Nothing is what was asked for.
    #[error("no file that an operator wrote has the SHA-256 {sha256} in {}", backup.display())]
    NotThere {
        /// The backup.
        backup: PathBuf,
        /// What was asked for.
        sha256: Hash,
    },
}
