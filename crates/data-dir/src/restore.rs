//! Makes a site's data directory from a backup: the whole of it, or nothing.
//!
//! The site may have published more of the log since the backup was made. If it continued from the
//! backup, it would seal other events at leaves of which others hold proofs. That is a fork, which
//! a log must never do. Only a checkpoint from outside can show this; a caller who has one passes
//! it in.
//!
//! Beside the log, whose signatures are checked, a backup holds the operator's files. A restore
//! takes those that the log's key signed when the backup was made, and any other only if the caller
//! names its hash. Of the secret keys it takes only the log's own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use durable::{Staging, StagingError, Stop};
use ledger::{
    OpenError,
    copy::{CopyError, copy_log},
    disk::RealDisk,
    examine::log_root,
    verify::{VerifiedFolder, VerifyError},
};
use tlog::{Checkpoint, Hash, OpenCheckpointError, SignedNote, VerifierKey};

use crate::{
    backup::{
        Backup, BackupError, Configured, KeyFile, TakeError,
        configuration::{Written, judge},
        verify,
    },
    folder::{DataDir, KEY},
    stoppable_disk::StoppableDisk,
};

/// What to restore, and what is known about the log from elsewhere.
#[derive(Debug)]
pub struct Restore<'a> {
    /// Folder of the backup.
    pub backup: &'a Path,
    /// Data directory to create.
    pub data_dir: &'a Path,
    /// A verifier key that the log must have had at some time.
    pub vkey: Option<&'a VerifierKey>,
    /// A file with the log's secret key.
    pub key: Option<&'a Path>,
    /// A file with a checkpoint that the log has published. The backup must not be behind it.
    pub known_checkpoint: Option<&'a Path>,
    /// SHA-256 hashes of files in the backup to restore although no signature covers them.
    pub take: &'a [Hash],
    /// Cancels the restore.
    pub stop: &'a Stop,
}

/// Result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The site's name.
    pub name: String,
    /// Result of verifying the new directory.
    pub verified: VerifiedFolder,
    /// Whether the directory has the log's secret key.
    pub has_key: bool,
    /// The known checkpoint, which the log contains.
    pub known: Option<Checkpoint>,
    /// The operator's files, and whether each was restored.
    pub configuration: Vec<Configured>,
    /// Why it is not known which files the log's key signed; `None` if it is known.
    pub unsigned: Option<String>,
    /// Number of leaves beyond the checkpoint in a backup of an earlier version. No signature
    /// covers them, so they are left out.
    pub left_out: u64,
}

/// Restores a backup. `progress` receives a message at each step.
///
/// # Errors
/// The backup is wrong, or the directory cannot be made. Nothing was created then.
pub fn restore(
    request: &Restore<'_>,
    progress: &mut dyn FnMut(&str),
) -> Result<Restored, RestoreError> {
    let backup = Backup::open(request.backup)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    let target = durable::place(request.data_dir)?;
    if !durable::is_empty(&target).map_err(failed(&target))? {
        return Err(RestoreError::NotEmpty { path: target });
    }
    let disk = StoppableDisk(request.stop.clone());
    progress("verifying the backup");
    let of_backup = verify(&disk, &backup.ledger(), request.vkey, progress)
        .map_err(|source| RestoreError::Verify { path: request.backup.to_owned(), source })?;
    let known =
        request.known_checkpoint.map(|path| check_known(path, &backup, &of_backup)).transpose()?;
    let origin = DataDir::origin_of(backup.name());
    if of_backup.checkpoint.origin.as_str() != origin {
        let (name, origin) = (backup.name().to_owned(), of_backup.checkpoint.origin.to_string());
        return Err(RestoreError::OtherName { path: request.backup.to_owned(), name, origin });
    }
    let key = key(request, &backup, &of_backup.vkey)?;
    let manifest = backup.manifest(&of_backup).map_err(TakeError::from)?;
    let written = judge(request.backup, manifest.as_ref(), request.take)?;

    let staging = Staging::begin(&target)?;
    progress("copying the log");
    let ledger = DataDir::ledger_of(staging.path());
    copy_log(&disk, &backup.ledger(), &ledger)?;
    progress("verifying the copy");
    let verified = verify(&disk, &ledger, Some(&of_backup.vkey), progress)
        .map_err(|source| RestoreError::Copy { source })?;
    // What holds for the backup must hold for the copy. Another backup may be in its place by now.
    if verified.checkpoint != of_backup.checkpoint {
        return Err(RestoreError::Changed { path: request.backup.to_owned() });
    }
    if let Some(key) = &key {
        staging.write(KEY, &key.text)?;
    }
    for Written { name, content } in &written.taken {
        staging.write(name, content)?;
    }
    DataDir::describe(staging.path(), backup.name()).map_err(failed(staging.path()))?;
    request.stop.check().map_err(failed(&target))?;
    staging.finish()?;
    Ok(Restored {
        name: backup.name().to_owned(),
        verified,
        has_key: key.is_some(),
        known,
        configuration: written.files,
        unsigned: manifest.err().map(|unknown| unknown.to_string()),
        left_out: of_backup.beyond(),
    })
}

/// The log's key, from the file that the caller named or from the backup. A backup need not have
/// one.
fn key(
    request: &Restore<'_>,
    backup: &Backup,
    vkey: &VerifierKey,
) -> Result<Option<KeyFile>, RestoreError> {
    let keys = match request.key {
        Some(path) => KeyFile::all(path, backup.name())?,
        None => backup.keys()?,
    };
    let is_missing = keys.is_empty() && request.key.is_none();
    match keys.into_iter().find(|key| key.signer.vkey() == vkey) {
        None if !is_missing => {
            let path = request.key.unwrap_or(request.backup).to_owned();
            Err(RestoreError::OtherKey { path, vkey: vkey.to_string() })
        }
        found => Ok(found),
    }
}

/// Checks that the log in the backup contains the checkpoint that is known from elsewhere.
fn check_known(
    path: &Path,
    backup: &Backup,
    verified: &VerifiedFolder,
) -> Result<Checkpoint, RestoreError> {
    let note = fs::read_to_string(path)
        .map_err(|source| RestoreError::Io { path: path.to_owned(), source })?;
    let malformed = |reason: String| RestoreError::NoCheckpoint { path: path.to_owned(), reason };
    let signed = SignedNote::parse(&note).map_err(|error| malformed(error.to_string()))?;
    let claimed = Checkpoint::parse(signed.unverified_text())
        .map_err(|error| malformed(error.to_string()))?;
    if claimed.origin != verified.checkpoint.origin {
        let (named, origin) = (claimed.origin.to_string(), verified.checkpoint.origin.to_string());
        return Err(RestoreError::OtherLog { path: path.to_owned(), named, origin });
    }
    // A checkpoint ahead of the backup may be signed by a key that the backup does not know.
    let leaves = verified.checkpoint.size.get();
    if claimed.size.get() > leaves {
        let size = claimed.size.get();
        return Err(RestoreError::Behind { path: path.to_owned(), size, leaves });
    }
    let known = verified
        .keys
        .open_checkpoint(&note)
        .map_err(|source| RestoreError::NotSigned { path: path.to_owned(), source })?;
    let root = log_root(&RealDisk, &backup.ledger(), known.size)?;
    if root == Some(known.root) {
        Ok(known)
    } else {
        Err(RestoreError::Differs { path: path.to_owned(), size: known.size.get() })
    }
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The operator's files cannot be restored.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// The name of the site and the origin of the log do not match.
    #[error("the backup {} names the site `{name}`, and its log is {origin}: its description was changed", path.display())]
    OtherName {
        /// Path of the backup.
        path: PathBuf,
        /// Name in the backup's description.
        name: String,
        /// Origin of the log.
        origin: String,
    },
    /// The new directory cannot be put in its place.
    #[error(transparent)]
    Folder(#[from] StagingError),
    /// The target directory is not empty.
    #[error("{} is not empty: name a new folder with --data-dir", path.display())]
    NotEmpty {
        /// Path of the directory.
        path: PathBuf,
    },
    /// The backup is damaged, or of another log.
    #[error("the backup {} does not verify", path.display())]
    Verify {
        /// Path of the backup.
        path: PathBuf,
        /// The fault in the backup.
        source: VerifyError,
    },
    /// The log in the backup cannot be read a second time.
    #[error("cannot read the log in the backup")]
    Read(#[from] OpenError),
    /// The log cannot be copied.
    #[error("cannot copy the log")]
    CopyLog(#[from] CopyError),
    /// The backup verifies, but its copy does not.
    #[error(
        "the backup verifies, but its copy does not: the disk or the memory of this machine is faulty"
    )]
    Copy {
        /// The fault in the copy.
        source: VerifyError,
    },
    /// The backup changed during the restore.
    #[error("the backup {} was changed while it was restored: try again when nothing writes to it", path.display())]
    Changed {
        /// Path of the backup.
        path: PathBuf,
    },
    /// The secret key belongs to another log.
    #[error("{} does not contain the secret key of {vkey}, the log's key: name its file with --key", path.display())]
    OtherKey {
        /// Path where the key was looked for.
        path: PathBuf,
        /// The log's verifier key.
        vkey: String,
    },
    /// The file does not hold a checkpoint.
    #[error("{} is not a checkpoint: {reason}", path.display())]
    NoCheckpoint {
        /// Path of the file.
        path: PathBuf,
        /// The rule that the text breaks.
        reason: String,
    },
    /// The known checkpoint belongs to another log.
    #[error("{} is a checkpoint of the log {named}, but the backup is of {origin}", path.display())]
    OtherLog {
        /// Path of the file.
        path: PathBuf,
        /// Origin in the checkpoint.
        named: String,
        /// Origin of the log in the backup.
        origin: String,
    },
    /// The log has published more leaves than the backup holds.
    #[error("the backup holds {leaves} leaves, but the log has published a checkpoint of {size} \
        ({}): continuing from this backup would fork the log; restore a newer backup, or start a \
        new site", path.display())]
    Behind {
        /// Path of the file with the checkpoint.
        path: PathBuf,
        /// Number of leaves in the checkpoint.
        size: u64,
        /// Number of leaves in the backup.
        leaves: u64,
    },
    /// The log did not sign the known checkpoint.
    #[error("the checkpoint in {} is not signed by the key that the log had at that size", path.display())]
    NotSigned {
        /// Path of the file.
        path: PathBuf,
        /// Why the signature does not hold.
        source: OpenCheckpointError,
    },
    /// One key has signed two different histories.
    #[error("the backup does not contain the {size} leaves that the checkpoint in {} signs: the log was forked, or its history was changed", path.display())]
    Differs {
        /// Path of the file with the checkpoint.
        path: PathBuf,
        /// Number of leaves in the checkpoint.
        size: u64,
    },
}
