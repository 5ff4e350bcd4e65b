//! A witness: one key, the logs that it knows, and the last checkpoint that it cosigned of each.
//!
//! Each log has one lock, which a request holds from the judgement until the new record is durable.
//! So requests for one log run one after the other, and the witness never cosigns two trees of one
//! size (C2SP tlog-witness, add-checkpoint: the race described at its end). Everything here blocks
//! on the disk.

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

/// File with the private key: 64 hex digits.
const KEY: &str = "witness.key";
/// File with the public key, for the operator to publish. Its presence shows that the folder is
/// complete.
const VKEY: &str = "witness.vkey";
/// Folder with the records.
const RECORDS: &str = "checkpoints";
/// File that a witness locks while it uses the folder.
const LOCK: &str = "lock";

/// What a witness is opened with.
#[derive(Debug)]
pub struct WitnessConfig<'a> {
    /// The witness's folder. It is created if it does not exist.
    pub data_dir: &'a Path,
    /// The witness's name, by custom a URL without a scheme. An existing witness keeps its own.
    pub name: Option<&'a str>,
    /// The logs that the witness knows.
    pub logs: &'a LogList,
}

/// An open witness, which holds the lock on its folder.
#[derive(Debug)]
pub struct Witness {
    cosigner: Cosigner,
    records: Records,
    logs: BTreeMap<Origin, Log>,
    /// Origin of each log by the SHA-256 of the origin in hex, with which monitors ask.
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
    /// Whether a failure leaves it unknown which record is on disk. Until the next start reads the
    /// disk, the witness cosigns nothing of this log.
    in_doubt: bool,
    /// Limit for checkpoints that extend the record. Only the log can make one, and each counts
    /// once, so nobody else can use up this limit.
    extensions: Rate,
    /// Limit for other requests that the log signed: the same checkpoint again, or one that the
    /// witness refuses. Anyone can resend what a log has signed.
    others: Rate,
}

impl Witness {
    /// Opens a witness's folder, or creates one with a new key.
    ///
    /// # Errors
    /// The folder is in use or cannot be used, one of its files is missing, or this witness did not
    /// cosign the record of a known log.
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
        // Leave a key that others may read as it is, so that loading it is refused instead of the
        // access being closed silently.
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

    /// The verifier key that the policies of logs name.
    #[must_use]
    pub const fn vkey(&self) -> &CosignerKey {
        self.cosigner.vkey()
    }

    /// The last cosigned checkpoint of the log whose origin has this SHA-256, in lowercase hex.
    /// `None` if there is none.
    #[must_use]
    pub fn checkpoint(&self, origin_hash: &str) -> Option<String> {
        let log = self.logs.get(self.origins.get(origin_hash)?)?;
        let state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.record.as_ref().map(|record| record.note.clone())
    }

    /// Answers a request with the signature line. The record is durable by then.
    ///
    /// # Errors
    /// The reason for the refusal.
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
                error!(%origin, %failure, %folder, "cannot write a record; the previous one stays");
                return Err(Refusal::Storage);
            }
            Err(ReplaceError::InDoubt(failure)) => {
                let folder = self.records.folder().display();
                error!(%origin, %failure, %folder, "a record may or may not be replaced; this log is not cosigned until the next start checks it");
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
    /// Judges a submission by the record and by the log's rate limits.
    fn judge(
        &mut self,
        origin: &Origin,
        submission: &Submission<'_>,
        now: Instant,
    ) -> Result<TreeHead, Refusal> {
        let recorded = self.record.as_ref().map_or_else(TreeHead::empty, |record| record.head);
        let judged = submission.judge(recorded);
        let rate = match judged {
            // A conflict costs nothing, and a client that does not know the size must learn it.
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
            // This note and the record together prove that the log misbehaves.
            warn!(%origin, note = ?submission.note().to_string(), "the log has signed two different trees of the same size");
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
        // Without its records a witness would cosign anything, and with another key it would be
        // unknown to every log.
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

/// Why the witness does not cosign.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is not an add-checkpoint request.
    #[error(transparent)]
    Request(#[from] ParseAddCheckpointError),
    /// The note in the request is not a checkpoint.
    #[error(transparent)]
    Text(#[from] ParseCheckpointError),
    /// The witness does not know the log's origin.
    #[error("this witness does not cosign a log with that origin")]
    UnknownLog,
    /// None of the log's keys signed the checkpoint.
    #[error(transparent)]
    Signature(#[from] AuthenticateError),
    /// The checkpoint does not extend the recorded one.
    #[error(transparent)]
    Checkpoint(RefuseError),
    /// The log's requests exceed its rate limit.
    #[error("the log asks more often than this witness allows")]
    TooMany {
        /// Time after which the log may ask again.
        retry_after: Duration,
    },
    /// The log's own signatures leave no room in the note for the cosignature.
    #[error("the note already has its maximum number of signatures")]
    NoRoom,
    /// The witness could not make the record durable.
    #[error("the witness cannot record the checkpoint, so it does not cosign it")]
    Storage,
}

impl Refusal {
    /// The size in the witness's record, if the request named another one.
    #[must_use]
    pub const fn conflict(&self) -> Option<TreeSize> {
        match self {
            Self::Checkpoint(RefuseError::Conflict { recorded, .. }) => Some(*recorded),
            _ => None,
        }
    }
}

/// Why a witness cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenWitnessError {
    /// A file or folder cannot be read or created.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("another sealwire is using the witness's folder {}: stop it, or name another folder with --data-dir", path.display())]
    InUse {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The folder's lock cannot be taken.
    #[error("cannot lock the witness's folder")]
    Lock(#[from] LockError),
    /// The configuration of a new witness has no name.
    #[error(
        "a new witness needs a name, by convention its URL without the scheme: pass it with --name"
    )]
    NoName,
    /// The name is not a valid key name (C2SP signed-note).
    #[error("cannot use the witness's name")]
    Name(#[from] InvalidKeyName),
    /// The private key cannot be loaded or created.
    #[error(transparent)]
    Key(#[from] SeedError),
    /// The file does not contain a verifier key.
    #[error("{} does not contain the witness's verifier key", path.display())]
    Vkey {
        /// Path of the file.
        path: PathBuf,
        /// The parse error.
        source: ParseKeyError,
    },
    /// A part of an existing folder is missing.
    #[error("{} is missing: restore it from a copy; a witness cannot continue without its key and its records", path.display())]
    Missing {
        /// Path of the missing file or folder.
        path: PathBuf,
    },
    /// The existing witness has another name than the configuration.
    #[error("{} names the witness `{name}`, not `{asked}`: leave --name out, or name another folder", path.display())]
    OtherName {
        /// Path of the file with the verifier key.
        path: PathBuf,
        /// Name of the existing witness.
        name: String,
        /// Name in the configuration.
        asked: String,
    },
    /// The public and the private key do not belong together.
    #[error("{} is not the public half of {}: restore both from one copy", path.display(), key.display())]
    OtherKey {
        /// Path of the file with the public key.
        path: PathBuf,
        /// Path of the file with the private key.
        key: PathBuf,
    },
    /// The record of a known log cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}
