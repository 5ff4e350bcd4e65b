//! Copies a site's folder while the site runs, or while it does not.
//!
//! A backup is a folder with the log, what an operator wrote, and the secret keys if they are asked
//! for. What follows from the log is left out. It is made beside its place, verified there, and
//! replaces an earlier backup of the same log only then: a backup is whole, verified, and never
//! goes back. Of the earlier one, closed segments are taken over that are as long as the log's;
//! that they are also the same is for the verification to show, which reads all of the copy.
//!
//! Where the log's key is at hand, it signs what an operator wrote, in a [`manifest`]: a backup may
//! lie where others write. For the same reason nothing that lies in a backup is followed elsewhere.

pub(crate) mod configuration;
pub(crate) mod manifest;

mod error;

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use durable::{
    PlainError, Staging, Stop, open_plain, private_file, read_plain, refuse_all_but_plain,
};
use ledger::{
    KeyError, KeyFiles,
    copy::{Copied, CopyError, copy_log},
    disk::Disk,
    examine::{claimed_checkpoint, log_root},
    load_key,
    verify::{VerifiedFolder, VerifyError, verify_folder},
};
use model::error_chain;
use serde::{Deserialize, Serialize};
use tlog::{KeyName, Signer, VerifierKey};

use self::{
    configuration::{UnknownManifest, Written, read_own},
    error::{DESCRIPTION, VERSION},
    manifest::{Listed, MANIFEST, MANIFEST_BYTES_MAX, Manifest},
};
use crate::{
    folder::{
        CONFIGURATION, DESCRIPTION as SITE_DESCRIPTION, DataDir, KEY, LOCK as SITE_LOCK, NEXT_KEY,
        check_name,
    },
    stoppable_disk::StoppableDisk,
};

pub use self::{
    configuration::{Configured, Fate, TakeError},
    error::BackupError,
};

/// Largest description: a name of 60 characters and some words.
const DESCRIPTION_BYTES_MAX: u64 = 4 << 10;
/// How often the log is copied again because it went over to another key between the copying of log
/// and keys.
const KEY_ROUNDS_MAX: u32 = 3;
/// Leaves between two lines of progress: about a second of verifying.
const PROGRESS_LEAVES: u64 = 1_000_000;

/// A backup that is there.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    name: String,
}

#[derive(Deserialize, Serialize)]
struct Description {
    version: u32,
    name: String,
}

/// What a backup holds, and what it does not.
#[derive(Debug)]
pub struct BackedUp {
    /// What was found right in the copy.
    pub verified: VerifiedFolder,
    /// What was copied of the log.
    pub copied: Copied,
    /// Leaves of the checkpoint of the backup that was there before.
    pub size_before: Option<u64>,
    /// Secret keys that are in the backup.
    pub keys: Vec<&'static str>,
    /// What an operator wrote.
    pub configuration: Vec<&'static str>,
    /// Why the log's key did not sign what an operator wrote; `None` where it did.
    pub unsigned: Option<String>,
    /// What lies in the site's folder and is not in the backup.
    pub left_out: Vec<String>,
}

impl Backup {
    /// Opens a backup; its log is not looked at.
    ///
    /// # Errors
    /// It is none, or one of another version.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let description = path.join(DESCRIPTION);
        let text = read_plain(&description, DESCRIPTION_BYTES_MAX)?
            .ok_or_else(|| BackupError::NotABackup { path: path.to_owned() })?;
        refuse_all_but_plain(path)?;
        let Description { version, name } = serde_json::from_slice(&text.content)
            .map_err(|source| BackupError::Description { path: description, source })?;
        if version != VERSION {
            return Err(BackupError::Version { path: path.to_owned(), version });
        }
        Ok(Self { path: path.to_owned(), name: check_name(&name)? })
    }

    /// The backup in a folder that is to become one; `None` where that is missing or empty.
    fn at(path: &Path) -> Result<Option<Self>, BackupError> {
        let failed = |source| BackupError::Io { path: path.to_owned(), source };
        if durable::is_empty(path).map_err(failed)? {
            return Ok(None);
        }
        match Self::open(path) {
            Err(BackupError::NotABackup { path }) => Err(BackupError::NotEmpty { path }),
            opened => opened.map(Some),
        }
    }

    /// The site's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The log.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        DataDir::ledger_of(&self.path)
    }

    /// What the log's key signed of it. `verified` is its log.
    pub(crate) fn manifest(
        &self,
        verified: &VerifiedFolder,
    ) -> Result<Result<Manifest, UnknownManifest>, PlainError> {
        let Some(read) = read_plain(&self.path.join(MANIFEST), MANIFEST_BYTES_MAX)? else {
            return Ok(Err(UnknownManifest::None));
        };
        let note = String::from_utf8_lossy(&read.content);
        let opened = Manifest::open(&note, &verified.checkpoint, &verified.keys);
        Ok(opened.map_err(UnknownManifest::from))
    }

    /// The secret keys in it.
    ///
    /// # Errors
    /// A file holds none, or others may read it.
    pub(crate) fn keys(&self) -> Result<Vec<KeyFile>, BackupError> {
        KeyFile::all(&self.path.join(KEY), &self.name)
    }
}

/// What is to be backed up, and where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The site's folder.
    pub data_dir: &'a Path,
    /// The backup's: missing, empty, or a backup of the same log.
    pub target: &'a Path,
    /// Whether the secret keys are backed up, too. A backup that has them keeps having them.
    pub with_keys: bool,
    /// Where the log's secret key lies, if not in the site's folder.
    pub key_file: Option<&'a Path>,
    /// Given up when this is asked for.
    pub stop: &'a Stop,
}

/// Backs a site up. `progress` is told what is being done.
///
/// # Errors
/// What kept it from being made; an earlier backup is as it was.
pub fn backup(
    request: Request<'_>,
    progress: &mut dyn FnMut(&str),
) -> Result<BackedUp, BackupError> {
    let Request { data_dir, target, with_keys, key_file, stop } = request;
    let name = DataDir::name_of(data_dir)?;
    let target = durable::place(target)?;
    let staging = Staging::begin(&target)?;
    staging.settle()?;
    let previous = Backup::at(&target)?;
    if let Some(previous) = previous.as_ref().filter(|previous| previous.name != name) {
        let (path, other) = (target, previous.name.clone());
        return Err(BackupError::OtherSite { path, name, other });
    }
    let job = Job {
        data_dir,
        name: &name,
        key_file: key_file.map_or_else(|| data_dir.join(KEY), Path::to_owned),
        ledger: DataDir::ledger_of(staging.path()),
        disk: StoppableDisk(stop.clone()),
        with_keys,
        keys_before: previous.as_ref().map_or(Ok(Vec::new()), keys_before)?,
    };
    let reuses = previous.as_ref().map_or(Ok(false), |previous| job.take_over(previous))?;
    let (copied, verified, at_hand) = match job.copy(progress) {
        // What was taken over may be what is wrong.
        Err(error) if reuses && error.is_of_the_copy() && !stop.is_asked() => {
            progress(
                "what was taken over from the earlier backup does not verify; copying everything",
            );
            job.discard()?;
            job.copy(progress)?
        }
        done => done?,
    };
    let size_before =
        previous.as_ref().map(|previous| job.check_follows(previous, &verified)).transpose()?;
    let keys = if job.wants_keys(&verified) { at_hand.keys.as_slice() } else { &[] };
    for KeyFile { file, text, .. } in keys {
        staging.write(file, text)?;
    }
    let written = read_own(data_dir)?;
    for Written { name, content } in &written {
        staging.write(name, content)?;
    }
    let unsigned = match at_hand.signer(&verified.vkey) {
        Ok(signer) => {
            let note = manifest_of(&verified, &written).sign(signer);
            staging.write(MANIFEST, note.as_bytes())?;
            None
        }
        Err(reason) => Some(reason),
    };
    let description = Description { version: VERSION, name: name.clone() };
    let description = serde_json::to_vec(&description).expect("a number and a text are JSON");
    staging.write(DESCRIPTION, &description)?;
    let keys: Vec<&str> = keys.iter().map(|key| key.file).collect();
    let left_out = left_out(data_dir, &keys)?;
    let configuration = written.into_iter().map(|written| written.name).collect();
    let given_up = |source| BackupError::Io { path: target.clone(), source };
    stop.check().map_err(given_up)?;
    staging.finish()?;
    Ok(BackedUp { verified, copied, size_before, keys, configuration, unsigned, left_out })
}

fn manifest_of(verified: &VerifiedFolder, written: &[Written]) -> Manifest {
    let files = written.iter().map(|Written { name, content }| Listed::of(name, content));
    let checkpoint = &verified.checkpoint;
    Manifest {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root,
        made_at: clock::now(),
        files: files.collect(),
    }
}

struct Job<'a> {
    data_dir: &'a Path,
    name: &'a str,
    key_file: PathBuf,
    /// Where the copy of the log is being made.
    ledger: PathBuf,
    disk: StoppableDisk,
    with_keys: bool,
    /// Keys that the earlier backup has, whosever they are.
    keys_before: Vec<VerifierKey>,
}

/// The keys that are at hand.
struct AtHand {
    keys: Vec<KeyFile>,
    /// Why there are none.
    because: Option<String>,
}

impl AtHand {
    fn signer(&self, vkey: &VerifierKey) -> Result<&Signer, String> {
        let signer = self.keys.iter().find(|key| key.signer.vkey() == vkey);
        let unknown = || self.because.clone().unwrap_or_default();
        signer.map(|key| &key.signer).ok_or_else(unknown)
    }
}

impl Job<'_> {
    /// Takes closed segments over from an earlier backup: as links, or as copies where the file
    /// system has no links. Answers whether there were any.
    fn take_over(&self, previous: &Backup) -> Result<bool, BackupError> {
        let (source, from) = (DataDir::ledger_of(self.data_dir), previous.ledger());
        let list = |ledger: &Path| {
            let folder = ledger.join("segments");
            let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            entries.map_err(|source| BackupError::Io { path: folder, source })
        };
        let mut closed: Vec<_> = list(&source)?.iter().map(fs::DirEntry::file_name).collect();
        closed.sort_unstable();
        closed.pop();
        let mut any = false;
        for entry in list(&from)? {
            let name = entry.file_name();
            if !closed.contains(&name) {
                continue;
            }
            let segment = Path::new("segments").join(&name);
            let index = ledger::segment::first_leaf_of(&name.to_string_lossy())
                .map(|first_leaf| Path::new("tree").join(format!("blocks-{first_leaf:020}")));
            for file in std::iter::once(segment).chain(index) {
                let (from, to) = (from.join(&file), self.ledger.join(&file));
                if fs::symlink_metadata(&from).is_err() {
                    continue;
                }
                let failed = |source| BackupError::Io { path: to.clone(), source };
                to.parent().map_or(Ok(()), durable::create_folder).map_err(failed)?;
                link_or_copy(&from, &to)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Copies the log and the keys, and verifies the copy.
    fn copy(
        &self,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(Copied, VerifiedFolder, AtHand), BackupError> {
        let mut round = 0;
        loop {
            progress("copying the log");
            let copied = copy_log(&self.disk, &DataDir::ledger_of(self.data_dir), &self.ledger)?;
            progress("verifying the copy");
            let verified = verify(&self.disk, &self.ledger, None, progress)
                .map_err(|source| BackupError::Verify { source })?;
            round += 1;
            // A key that is not the copy's may be one that the log went over to just now.
            let error = match self.keys_for(&verified.vkey) {
                Ok(keys) => {
                    return Ok((copied, verified, AtHand { keys, because: None }));
                }
                Err(BackupError::NoKey { exists: true, .. }) if round < KEY_ROUNDS_MAX => continue,
                Err(error) => error,
            };
            if self.wants_keys(&verified) {
                return Err(error);
            }
            let because = Some(error_chain(&error));
            return Ok((copied, verified, AtHand { keys: Vec::new(), because }));
        }
    }

    /// Whether the secret keys are backed up: where that is asked for, or the earlier backup has a
    /// key of this log. One that somebody else put there is not.
    fn wants_keys(&self, verified: &VerifiedFolder) -> bool {
        let has_before = |key| self.keys_before.contains(key);
        self.with_keys || verified.keys.iter().any(|(_, key)| has_before(key))
    }

    /// The keys that are at hand, one of which is that of the log.
    fn keys_for(&self, vkey: &VerifierKey) -> Result<Vec<KeyFile>, BackupError> {
        let keys = KeyFile::all(&self.key_file, self.name)?;
        if keys.iter().any(|key| key.signer.vkey() == vkey) {
            Ok(keys)
        } else {
            let (path, exists) = (self.key_file.clone(), !keys.is_empty());
            Err(BackupError::NoKey { path, exists, vkey: vkey.to_string() })
        }
    }

    fn discard(&self) -> Result<(), BackupError> {
        fs::remove_dir_all(&self.ledger)
            .map_err(|source| BackupError::Io { path: self.ledger.clone(), source })
    }

    /// The copy must hold all that the earlier backup's checkpoint covers, unchanged. Answers how
    /// many leaves that are.
    fn check_follows(
        &self,
        previous: &Backup,
        verified: &VerifiedFolder,
    ) -> Result<u64, BackupError> {
        let path = &previous.path;
        let failed = |source| BackupError::Io { path: path.clone(), source };
        let claimed = claimed_checkpoint(&self.disk, &previous.ledger()).map_err(failed)?;
        let Some((claimed, note)) = claimed else {
            return Err(BackupError::NotABackup { path: path.clone() });
        };
        let (size, leaves) = (claimed.size, verified.leaves);
        if size.get() > leaves {
            return Err(BackupError::Behind { path: path.clone(), size: size.get(), leaves });
        }
        let is_ours = verified.keys.open_checkpoint(&note).is_ok();
        let root = log_root(&self.disk, &self.ledger, size).map_err(CopyError::Folder)?;
        if is_ours && root == Some(claimed.root) {
            Ok(size.get())
        } else {
            Err(BackupError::Diverged { path: path.clone(), size: size.get() })
        }
    }
}

/// Verifies a ledger's folder; `progress` is told of every million leaves.
pub(crate) fn verify(
    disk: &dyn Disk,
    ledger: &Path,
    vkey: Option<&VerifierKey>,
    progress: &mut dyn FnMut(&str),
) -> Result<VerifiedFolder, VerifyError> {
    let mut next = PROGRESS_LEAVES;
    verify_folder(disk, ledger, vkey, &mut |leaves| {
        if leaves >= next {
            progress(&format!("{leaves} leaves"));
            next = leaves + PROGRESS_LEAVES;
        }
    })
}

/// Takes a file over from an earlier backup. Only one that nobody else can change later is linked:
/// it is ours, and has no other name.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Io { path: to.to_owned(), source };
    let mut file = open_plain(OpenOptions::new().read(true), from)?;
    let found = file.metadata().map_err(failed)?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    let linked = is_ours && found.nlink() == 1 && fs::hard_link(from, to).is_ok();
    // The name may have gone to another file since it was looked at.
    let is_it = |linked: &fs::Metadata| (linked.dev(), linked.ino()) == (found.dev(), found.ino());
    if linked {
        if fs::symlink_metadata(to).is_ok_and(|linked| is_it(&linked)) {
            return close(&file).map_err(failed);
        }
        fs::remove_file(to).map_err(failed)?;
    }
    let mut copy = private_file().write(true).create_new(true).open(to).map_err(failed)?;
    io::copy(&mut file, &mut copy).and_then(|_| copy.sync_all()).map_err(failed)
}

/// Closes a file to other accounts, as an earlier version may not have.
fn close(file: &fs::File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// A secret key's file.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// Its name in a site's folder and in a backup.
    pub(crate) file: &'static str,
    pub(crate) text: Vec<u8>,
    pub(crate) signer: Signer,
}

impl KeyFile {
    /// The key of the site with this name in the file `current`, and the one that a rotation goes
    /// over to, as far as they are there.
    pub(crate) fn all(current: &Path, site: &str) -> Result<Vec<Self>, BackupError> {
        let name = KeyName::parse(&DataDir::origin_of(site)).expect("a site's name is checked");
        let mut keys = Vec::new();
        for (file, path) in [KEY, NEXT_KEY].iter().zip(KeyFiles::new(current.to_owned()).paths()) {
            let failed = |source| BackupError::Io { path: path.to_owned(), source };
            if path.try_exists().map_err(failed)? {
                let signer = load_key(path, name.clone())?;
                keys.push(Self { file, text: fs::read(path).map_err(failed)?, signer });
            }
        }
        Ok(keys)
    }
}

/// The keys in an earlier backup. What is no key is none of the log's, and not our affair.
fn keys_before(previous: &Backup) -> Result<Vec<VerifierKey>, BackupError> {
    match previous.keys() {
        Ok(keys) => Ok(keys.iter().map(|key| key.signer.vkey().clone()).collect()),
        Err(BackupError::Key(KeyError::NotAKey { .. })) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What is in the site's folder and not in a backup of it, but for what says that it is in use.
fn left_out(data_dir: &Path, keys: &[&str]) -> Result<Vec<String>, BackupError> {
    let is_backed_up = |name: &str| {
        matches!(name, "ledger" | SITE_DESCRIPTION | SITE_LOCK)
            || keys.contains(&name)
            || CONFIGURATION.contains(&name)
    };
    Ok(names_in(data_dir)?.into_iter().filter(|name| !is_backed_up(name)).collect())
}

/// What is in a folder, in order.
fn names_in(folder: &Path) -> Result<Vec<String>, BackupError> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    let mut names: Vec<String> =
        names.map_err(|source| BackupError::Io { path: folder.to_owned(), source })?;
    names.sort_unstable();
    Ok(names)
}
