//! What a witness remembers: the last checkpoint that it cosigned of each log, one file each.
//!
//! The file's name is the SHA-256 of the log's origin. It holds the checkpoint's note with the
//! signatures of the log and of the witness. So the witness serves the file to monitors as it is,
//! and the file proves its own content: the witness rejects a record that it did not sign.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::disk::{self, Disk};
use tlog::{Checkpoint, CosignerKey, Hash, Origin, SignedNote, TreeHead};

/// The folder with the records.
#[derive(Debug)]
pub(crate) struct Records {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

/// A record: the tree that was cosigned, and the note that says so.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) head: TreeHead,
    pub(crate) note: String,
}

/// Name of a log's record. Monitors ask for the log's checkpoint under the same name.
pub(crate) fn name_of(origin: &Origin) -> String {
    Hash::sha256(origin.as_str().as_bytes()).to_string()
}

impl Records {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Self { disk, folder }
    }

    /// Loads the record of a log; `None` if there is none.
    pub(crate) fn load(
        &self,
        origin: &Origin,
        key: &CosignerKey,
    ) -> Result<Option<Record>, RecordError> {
        let path = self.folder.join(name_of(origin));
        let failed = |source| RecordError::Io { path: path.clone(), source };
        let Some(bytes) = disk::read_small(&*self.disk, &path).map_err(failed)? else {
            return Ok(None);
        };
        read(bytes, origin, key).map(Some).ok_or(RecordError::NotOurs { path })
    }

    /// Replaces the record of a log. The new record is durable when this returns.
    pub(crate) fn replace(&self, origin: &Origin, note: &str) -> Result<(), ReplaceError> {
        let name = name_of(origin);
        disk::write_next(&*self.disk, &self.folder, &name, note.as_bytes())
            .map_err(ReplaceError::AsItWas)?;
        disk::take_next(&*self.disk, &self.folder, &name).map_err(ReplaceError::InDoubt)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Parses a record. `None` if this witness did not cosign it for this log.
fn read(bytes: Vec<u8>, origin: &Origin, key: &CosignerKey) -> Option<Record> {
    let text = String::from_utf8(bytes).ok()?;
    let note = SignedNote::parse(&text).ok()?;
    let signed = note.cosignatures(std::slice::from_ref(key)).ok()?;
    let checkpoint = Checkpoint::parse(note.unverified_text()).ok()?;
    (!signed.is_empty() && checkpoint.origin == *origin)
        .then(|| Record { head: TreeHead::of(&checkpoint), note: text })
}

/// Why a record was not replaced.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// The old record is unchanged.
    AsItWas(io::Error),
    /// Either record may survive a crash.
    InDoubt(io::Error),
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read the witness's record {}", path.display())]
    Io {
        /// Path of the record.
        path: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// The file is not a checkpoint of this log that this witness cosigned.
    #[error(
        "{} is not a checkpoint that this witness cosigned: restore the record and the key from \
         one copy; without the record the witness could sign a different history of that log", path.display()
    )]
    NotOurs {
        /// Path of the record.
        path: PathBuf,
    },
}
