//! A witness: one key, the logs that it knows, and what it last cosigned of each.
//!
//! For each log one lock is held from judging a request until the new record is durable, so
//! requests for one log come one after the other and no two trees of one size are ever cosigned
//! (C2SP tlog-witness, add-checkpoint: the race at its end). Everything here blocks on the disk.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use durable::{
    Lock, LockError, SeedError,
    disk::{self, Disk},
    load_or_create_seed,
};
use tlog::{
    AddCheckpoint, AuthenticateError, Cosigner, CosignerKey, InvalidKeyName, KeyName, Origin,
    ParseAddCheckpointError, ParseCheckpointError, ParseKeyError, PosixTime, RefuseError,
    Submission, TreeHead, TreeSize, VerifierKey,
};
use tracing::{error, info, warn};

use crate::{
    logs::LogList,
    rate::Rate,
    records::{Record, RecordError, Records, ReplaceError, name_of},
};

/// The private key: 64 hex digits.
const KEY: &str = "witness.key";
/// The public key, for the operator to hand out; that it is there says that the folder is complete.
const VKEY: &str = "witness.vkey";
/// Folder of the records.
const RECORDS: &str = "checkpoints";
/// Locked while a witness uses the folder.
const LOCK: &str = "lock";

/// What a witness is made of.
#[derive(Debug)]
pub struct WitnessConfig<'a> {
    /// Its folder; made if it is not there.
    pub data_dir: &'a Path,
    /// Its name: by custom a URL without a scheme. A witness that is there already keeps its own.
    pub name: Option<&'a str>,
    /// The logs that it knows.
    pub logs: &'a LogList,
}

/// A witness.
#[derive(Debug)]
pub struct Witness {
    cosigner: Cosigner,
    records: Records,
    logs: BTreeMap<Origin, Log>,
    /// Origins by the name under which monitors ask for them.
    origins: BTreeMap<String, Origin>,
    _lock: Lock,
}

#[derive(Debug)]
struct Log {
    keys: Vec<VerifierKey>,
    state: Mutex<LogState>,
}

#[derive(Debug)]
struct LogState {
    record: Option<Record>,
    /// A record may or may not have been replaced: until a start looks what is on disk, nothing is
    /// cosigned.
    in_doubt: bool,
    /// Checkpoints that extend the record. Nobody but the log can make one, and each counts once,
    /// so nobody else can use this up.
    extensions: Rate,
    /// Other requests that the log signed: the same checkpoint again, or one that is refused.
    /// Anyone can send what a log has signed once more.
    others: Rate,
}

impl Witness {
    /// Opens a witness's folder, or makes one with a new key.
    ///
    /// # Errors
    /// The folder is in use or cannot be used, a file of it is missing, or a record of a known log
    /// is not this witness's.
    pub fn open(disk: Arc<dyn Disk>, config: &WitnessConfig<'_>) -> Result<Self, OpenWitnessError> {
        let folder = config.data_dir;
        let failed = |source| OpenWitnessError::Io { path: folder.to_owned(), source };
        folder.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        disk.create_folder(folder).map_err(failed)?;
        let lock = match Lock::take(&folder.join(LOCK)) {
            Err(LockError::Held { .. }) => {
                return Err(OpenWitnessError::InUse { path: folder.to_owned() });
            }
            taken => taken?,
        };
        // A key that others may read is refused, and not quietly closed to them.
        let key = folder.join(KEY);
        for line in durable::close_to_others(folder, &|path| path == key).lines() {
            warn!("{}: {line}", folder.display());
        }
        let cosigner = load_or_create(&*disk, folder, config.name)?;
        let records = Records::new(disk, folder.join(RECORDS));
        let mut logs = BTreeMap::new();
        for (origin, known) in config.logs.iter() {
            let state = LogState {
                record: records.load(origin, cosigner.vkey())?,
                in_doubt: false,
                extensions: Rate::per_day(known.requests_per_day),
                others: Rate::per_day(known.requests_per_day),
            };
            let log = Log { keys: known.keys.clone(), state: Mutex::new(state) };
            logs.insert(origin.clone(), log);
        }
        let origins = logs.keys().map(|origin| (name_of(origin), origin.clone())).collect();
        info!(vkey = %cosigner.vkey(), logs = logs.len(), "the witness is open");
        Ok(Self { cosigner, records, logs, origins, _lock: lock })
    }

    /// The key that logs' policies name.
    #[must_use]
    pub const fn vkey(&self) -> &CosignerKey {
        self.cosigner.vkey()
    }

    /// The checkpoint cosigned last of the log whose origin has this SHA-256, in lowercase hex.
    #[must_use]
    pub fn checkpoint(&self, origin_hash: &str) -> Option<String> {
        let log = self.logs.get(self.origins.get(origin_hash)?)?;
        let state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.record.as_ref().map(|record| record.note.clone())
    }

    /// Answers a request with the signature line. The record is durable then.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn add_checkpoint(
        &self,
        body: &str,
        at: PosixTime,
        now: Instant,
    ) -> Result<String, Refusal> {
        let request = AddCheckpoint::parse(body)?;
        let claimed = request.claimed_origin()?;
        let (origin, log) = self.logs.get_key_value(&claimed).ok_or(Refusal::UnknownLog)?;
        let submission = request.authenticate(&log.keys)?;
        let mut state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.in_doubt {
            return Err(Refusal::Storage);
        }
        let head = state.judge(origin, &submission, now)?;
        let signature = self.cosigner.cosign(submission.checkpoint(), at);
        let mut note = submission.note().clone();
        if !note.put_signature(signature.clone()) {
            return Err(Refusal::NoRoom);
        }
        let record = Record { head, note: note.to_string() };
        match self.records.replace(origin, &record.note) {
            Ok(()) => {}
            Err(ReplaceError::AsItWas(failure)) => {
                let folder = self.records.folder().display();
                error!(%origin, %failure, %folder, "a record cannot be written; the one before it stands");
                return Err(Refusal::Storage);
            }
            Err(ReplaceError::InDoubt(failure)) => {
                let folder = self.records.folder().display();
                error!(%origin, %failure, %folder, "a record may or may not be replaced; until a start looks, this log is not cosigned");
                state.in_doubt = true;
                return Err(Refusal::Storage);
            }
        }
        state.record = Some(record);
        info!(%origin, size = %head.size, root = %head.root, "cosigned");
        Ok(format!("{signature}\n"))
    }
}

impl LogState {
    /// Judges by what is recorded and by how often the log may ask.
    fn judge(
        &mut self,
        origin: &Origin,
        submission: &Submission<'_>,
        now: Instant,
    ) -> Result<TreeHead, Refusal> {
        let recorded = self.record.as_ref().map_or_else(TreeHead::empty, |record| record.head);
        let judged = submission.judge(recorded);
        let rate = match judged {
            // It costs nothing, and whoever does not know the size must be told.
            Err(RefuseError::Conflict { .. }) => None,
            Ok(head) if head.size > recorded.size => Some(&mut self.extensions),
            Ok(_) | Err(_) => Some(&mut self.others),
        };
        rate.map_or(Ok(()), |rate| rate.take(now))
            .map_err(|wait| Refusal::TooMany { retry_after: wait })?;
        if matches!(judged, Err(RefuseError::Inconsistent(_)))
            && submission.checkpoint().size == recorded.size
            && submission.checkpoint().root != recorded.root
        {
            // This and the record together prove that the log misbehaves.
            warn!(%origin, note = ?submission.note().to_string(), "the log has signed two trees of one size");
        }
        judged.map_err(Refusal::Checkpoint)
    }
}

fn load_or_create(
    disk: &dyn Disk,
    folder: &Path,
    name: Option<&str>,
) -> Result<Cosigner, OpenWitnessError> {
    let path = folder.join(VKEY);
    let failed = |source| OpenWitnessError::Io { path: path.clone(), source };
    let key = folder.join(KEY);
    if let Some(vkey) = disk::read_small(disk, &path).map_err(failed)? {
        // Without its records a witness would cosign anything, and with another key nobody would
        // know it.
        if let Some(missing) = [&key, &folder.join(RECORDS)].into_iter().find(|path| !path.exists())
        {
            return Err(OpenWitnessError::Missing { path: missing.clone() });
        }
        let vkey = CosignerKey::parse(String::from_utf8_lossy(&vkey).trim_end())
            .map_err(|source| OpenWitnessError::Vkey { path: path.clone(), source })?;
        if let Some(other) = name.filter(|name| *name != vkey.name().as_str()) {
            let name = vkey.name().as_str().to_owned();
            return Err(OpenWitnessError::OtherName { path, name, asked: other.to_owned() });
        }
        let cosigner = Cosigner::from_seed(vkey.name().clone(), &load_or_create_seed(&key)?);
        return if *cosigner.vkey() == vkey {
            Ok(cosigner)
        } else {
            Err(OpenWitnessError::OtherKey { path, key })
        };
    }
    let name = KeyName::parse(name.ok_or(OpenWitnessError::NoName)?)?;
    disk.create_folder(&folder.join(RECORDS)).map_err(failed)?;
    let cosigner = Cosigner::from_seed(name, &load_or_create_seed(&key)?);
    disk::replace(disk, folder, VKEY, format!("{}\n", cosigner.vkey()).as_bytes())
        .map_err(failed)?;
    Ok(cosigner)
}

/// Why a request is not answered with a cosignature.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not a request.
    #[error(transparent)]
    Request(#[from] ParseAddCheckpointError),
    /// Its note is not a checkpoint.
    #[error(transparent)]
    Text(#[from] ParseCheckpointError),
    /// The witness does not know the log.
    #[error("this witness does not know the log of that origin")]
    UnknownLog,
    /// The log did not sign it.
    #[error(transparent)]
    Signature(#[from] AuthenticateError),
    /// It does not extend what was cosigned.
    #[error(transparent)]
    Checkpoint(RefuseError),
    /// The log asks too often.
    #[error("the log asks more often than this witness answers it")]
    TooMany {
        /// In how long it may ask again.
        retry_after: Duration,
    },
    /// The log's own signatures fill the note.
    #[error("the note has as many signatures of the log as it can hold")]
    NoRoom,
    /// The record could not be made durable.
    #[error("the witness cannot record the checkpoint, and so does not cosign it")]
    Storage,
}

impl Refusal {
    /// The size that the witness has recorded, where the request was about another.
    #[must_use]
    pub const fn conflict(&self) -> Option<TreeSize> {
        match self {
            Self::Checkpoint(RefuseError::Conflict { recorded, .. }) => Some(*recorded),
            _ => None,
        }
    }
}

/// Why there is no witness.
#[derive(Debug, thiserror::Error)]
pub enum OpenWitnessError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the witness's folder {} is in use by another sealwire: stop that one, or name another folder with --data-dir", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Its lock cannot be taken.
    #[error("cannot lock the witness's folder")]
    Lock(#[from] LockError),
    /// A new witness has no name.
    #[error("a new witness needs a name, by custom its URL without a scheme: give it with --name")]
    NoName,
    /// A name that cannot be.
    #[error("the witness's name cannot be used")]
    Name(#[from] InvalidKeyName),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] SeedError),
    /// The public key is damaged.
    #[error("{} does not hold the witness's verifier key", path.display())]
    Vkey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParseKeyError,
    },
    /// A part of the folder is gone.
    #[error("{} is missing: restore it from a copy; a witness cannot go on without its key and its records", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// It has another name.
    #[error("{} names the witness `{name}`, not `{asked}`: leave --name out, or name another folder", path.display())]
    OtherName {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The name asked for.
        asked: String,
    },
    /// The two files do not belong together.
    #[error("{} is not the public half of {}: restore both from one copy", path.display(), key.display())]
    OtherKey {
        /// The public key.
        path: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// A record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}
