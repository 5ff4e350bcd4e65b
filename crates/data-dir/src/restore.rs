//! Makes a site's folder of a backup: whole, or not at all.
//!
//! A log that was restored may be behind what it has published since the backup was made. To go on
//! with it then would be to seal other events at leaves that others hold proofs of: a fork, which
//! is what a log must never do. Only a checkpoint from outside can tell; whoever has one hands it
//! in.
//!
//! Beside the log, whose signatures are checked, a backup holds what an operator wrote. It is taken
//! as far as the log's key signed it when the backup was made; anything else only when it is asked
//! for by its hash. Of the secret keys only the log's own is taken.

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

/// What is to be restored, and what is known of the log from elsewhere.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub backup: &'a Path,
    /// The folder to make.
    pub data_dir: &'a Path,
    /// The log's verifier key, which it must have had at some time.
    pub vkey: Option<&'a VerifierKey>,
    /// A file with the log's secret key.
    pub key: Option<&'a Path>,
    /// A file with a checkpoint that the log has published: the restored log must not be behind it.
    pub known_checkpoint: Option<&'a Path>,
    /// Files of the backup that are taken by their SHA-256, though no signature covers them.
    pub take: &'a [Hash],
    /// Given up when this is asked for.
    pub stop: &'a Stop,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The site's name.
    pub name: String,
    /// What was found right in the folder.
    pub verified: VerifiedFolder,
    /// Whether the log's secret key is there.
    pub has_key: bool,
    /// The known checkpoint, which the log holds.
    pub known: Option<Checkpoint>,
    /// What an operator wrote, and what became of it.
    pub configuration: Vec<Configured>,
    /// Why it is not known what the log's key signed of it; `None` where it is.
    pub unsigned: Option<String>,
    /// Leaves of the backup beyond its checkpoint, which earlier versions made backups with.
    /// Nothing vouches for them, so they are left out.
    pub left_out: u64,
}

/// Restores a backup. `progress` is told what is being done.
///
/// # Errors
/// What is wrong with the backup, or with the folder that is to be made; nothing was made then.
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
    // What was said of the backup must be true of the copy: an older one may lie in its place by
    // now.
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

/// The log's key, from the file that was named or from the backup; a backup need not have one.
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

/// The log in the backup must hold what a checkpoint says that is known from elsewhere.
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
    // One that is ahead may be signed by a key that the backup does not know yet.
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
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// There is no backup that can be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What an operator wrote cannot be taken.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// The name and the log do not belong together.
    #[error("the backup {} names the site `{name}`, and its log is {origin}: its description was changed", path.display())]
    OtherName {
        /// The backup.
        path: PathBuf,
        /// The name in its description.
        name: String,
        /// The log's origin.
        origin: String,
    },
    /// The folder cannot be made.
    #[error(transparent)]
    Folder(#[from] StagingError),
    /// Something is there already.
    #[error("{} is not empty: name a new folder with --data-dir", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The backup is damaged, or another log's.
    #[error("the backup {} does not verify", path.display())]
    Verify {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        source: VerifyError,
    },
    /// The log in the backup cannot be read again.
    #[error("the log in the backup cannot be read")]
    Read(#[from] OpenError),
    /// The log cannot be copied.
    #[error("the log cannot be copied")]
    CopyLog(#[from] CopyError),
    /// The backup verifies, and its copy does not.
    #[error(
        "the backup verifies and the copy of it does not: the disk or the memory of this machine is at fault"
    )]
    Copy {
        /// What is wrong, in the copy.
        source: VerifyError,
    },
    /// Another backup lies there than at the beginning.
    #[error("the backup {} was changed while it was restored: try again when nobody writes there", path.display())]
    Changed {
        /// The backup.
        path: PathBuf,
    },
    /// The secret key is another log's.
    #[error("no secret key in {} is that of the log, whose key is {vkey}: name its file with --key", path.display())]
    OtherKey {
        /// Where it was looked for.
        path: PathBuf,
        /// The log's key.
        vkey: String,
    },
    /// The known checkpoint is none.
    #[error("{} is not a checkpoint: {reason}", path.display())]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The known checkpoint is another log's.
    #[error("{} is a checkpoint of the log {named}, the backup is of {origin}", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// The log that it names.
        named: String,
        /// The backup's.
        origin: String,
    },
    /// The log has published more than the backup holds.
    #[error("the backup holds {leaves} leaves, and the log has published a checkpoint of {size} ({}): to go on from here would fork the log; \
             restore a newer backup, or begin a new site", path.display())]
    Behind {
        /// The file with the checkpoint.
        path: PathBuf,
        /// Leaves it covers.
        size: u64,
        /// Leaves of the backup.
        leaves: u64,
    },
    /// The known checkpoint is not signed by the log.
    #[error("the checkpoint in {} is not signed by the key that the log had then", path.display())]
    NotSigned {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenCheckpointError,
    },
    /// Two histories under one key.
    #[error("the backup does not hold the {size} leaves that the checkpoint in {} signs: the log was forked, or its history changed", path.display())]
    Differs {
        /// The file with the checkpoint.
        path: PathBuf,
        /// Leaves it covers.
        size: u64,
    },
}
