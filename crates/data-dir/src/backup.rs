//! Copies a site's data directory, whether or not the site runs.
//!
//! A backup is a folder with the log, the files that an operator wrote, and, on request, the secret
//! keys. It leaves out everything that follows from the log. The copy is made and verified beside
//! its target, and only then replaces an earlier backup of the same log. So a backup is always
//! whole and verified, and never goes back. Closed segments of the earlier backup are reused if
//! they are as long as the log's; verification, which reads the whole copy, shows whether their
//! content is the same too.
//!
//! If the log's key is available, it signs the operator's files in a [`manifest`], because a backup
//! may lie where others can write. For the same reason the code follows no link in a backup.

pub(crate) mod configuration;
pub mod manifest;

mod error;

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use durable::{
    PlainError, SeedError, Staging, Stop, open_plain, private_file, read_plain,
    refuse_all_but_plain,
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

/// Largest description in bytes: a name of 60 characters and a few words.
const DESCRIPTION_BYTES_MAX: u64 = 4 << 10;
/// How often the log is copied again because its key was rotated between the copy of the log and
/// that of the keys.
const KEY_ROUNDS_MAX: u32 = 3;
/// Leaves between two progress messages: about one second of verification.
const PROGRESS_LEAVES: u64 = 1_000_000;

/// An existing backup.
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

/// What a new backup holds, and what it leaves out.
#[derive(Debug)]
pub struct BackedUp {
    /// Result of verifying the copy.
    pub verified: VerifiedFolder,
    /// What was copied of the log.
    pub copied: Copied,
    /// Number of leaves in the checkpoint of the earlier backup, if there was one.
    pub size_before: Option<u64>,
    /// File names of the secret keys in the backup.
    pub keys: Vec<&'static str>,
    /// Names of the operator's files in the backup.
    pub configuration: Vec<&'static str>,
    /// Why the log's key did not sign the operator's files; `None` if it did.
    pub unsigned: Option<String>,
    /// Names in the site's folder that the backup leaves out.
    pub left_out: Vec<String>,
}

impl Backup {
    /// Opens a backup. Does not read its log.
    ///
    /// # Errors
    /// The folder is not a backup, or one of another version.
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

    /// The backup in a target folder; `None` if the folder is missing or empty.
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

    /// Path of the log in the backup.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        DataDir::ledger_of(&self.path)
    }

    /// The manifest that the log's key signed. `verified` is the backup's log.
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

    /// The secret keys in the backup.
    ///
    /// # Errors
    /// A file does not hold a key, or other accounts may read it.
    pub(crate) fn keys(&self) -> Result<Vec<KeyFile>, BackupError> {
        KeyFile::all(&self.path.join(KEY), &self.name)
    }
}

/// What to back up, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The site's data directory.
    pub data_dir: &'a Path,
    /// Folder of the backup: missing, empty, or a backup of the same log.
    pub target: &'a Path,
    /// Whether to back up the secret keys too. A backup that has them keeps them in any case.
    pub with_keys: bool,
    /// Path of the log's secret key, if it is not in the site's folder.
    pub key_file: Option<&'a Path>,
    /// Cancels the backup.
    pub stop: &'a Stop,
}

/// Backs up a site. `progress` receives a message at each step.
///
/// # Errors
/// The backup could not be made. An earlier backup is unchanged.
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
        // The fault may lie in the reused files.
        Err(error) if reuses && error.is_of_the_copy() && !stop.is_asked() => {
            progress("the files kept from the earlier backup do not verify; copying everything");
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
    let mut description = serde_json::to_vec(&description).expect("a number and a text are JSON");
    description.push(b'\n');
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
    /// Folder of the new copy of the log.
    ledger: PathBuf,
    disk: StoppableDisk,
    with_keys: bool,
    /// Keys in the earlier backup, of any log.
    keys_before: Vec<VerifierKey>,
}

/// The secret keys that are available.
struct AtHand {
    keys: Vec<KeyFile>,
    /// Why no key is available.
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
    /// Reuses closed segments of an earlier backup, as hard links or, if the file system has none,
    /// as copies. Returns whether it reused any.
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

    /// Copies the log and reads the keys, and verifies the copy.
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
            // If the key differs, the log may have been rotated to a new one just now.
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

    /// Whether to back up the secret keys: on request, or if the earlier backup has a key of this
    /// log. A key that someone else put there does not count.
    fn wants_keys(&self, verified: &VerifiedFolder) -> bool {
        let has_before = |key| self.keys_before.contains(key);
        self.with_keys || verified.keys.iter().any(|(_, key)| has_before(key))
    }

    /// The available keys, which must include the log's.
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

    /// Checks that the copy holds every leaf of the earlier backup's checkpoint, unchanged. Returns
    /// the number of those leaves.
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

/// Verifies the folder of a log. `progress` receives a message each [`PROGRESS_LEAVES`].
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

/// Reuses a file of an earlier backup. Links it only if nobody else can change it later: this
/// account owns it and it has no other name. Copies it if not.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Io { path: to.to_owned(), source };
    let mut file = open_plain(OpenOptions::new().read(true), from)?;
    let found = file.metadata().map_err(failed)?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    let linked = is_ours && found.nlink() == 1 && fs::hard_link(from, to).is_ok();
    // The name may point to another file since it was checked.
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

/// Closes a file to other accounts. An earlier version may have left it open.
fn close(file: &fs::File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// The file of a secret key.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// File name, the same in a site's folder and in a backup.
    pub(crate) file: &'static str,
    pub(crate) text: Vec<u8>,
    pub(crate) signer: Signer,
}

impl KeyFile {
    /// The site's key in the file `current`, and the next key of a rotation, as far as they exist.
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

/// The keys in an earlier backup. A file that holds no key is ignored: it cannot be a key of this
/// log.
fn keys_before(previous: &Backup) -> Result<Vec<VerifierKey>, BackupError> {
    match previous.keys() {
        Ok(keys) => Ok(keys.iter().map(|key| key.signer.vkey().clone()).collect()),
        Err(BackupError::Key(KeyError::Seed(SeedError::NotAKey { .. }))) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Names in the site's folder that a backup leaves out, except those that only mark it as in use.
fn left_out(data_dir: &Path, keys: &[&str]) -> Result<Vec<String>, BackupError> {
    let is_backed_up = |name: &str| {
        matches!(name, "ledger" | SITE_DESCRIPTION | SITE_LOCK)
            || keys.contains(&name)
            || CONFIGURATION.contains(&name)
    };
    Ok(names_in(data_dir)?.into_iter().filter(|name| !is_backed_up(name)).collect())
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>, BackupError> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    let mut names: Vec<String> =
        names.map_err(|source| BackupError::Io { path: folder.to_owned(), source })?;
    names.sort_unstable();
    Ok(names)
}
