//! What a witness remembers: for each log the checkpoint that it cosigned last, a file each.
//!
//! A file is named by the SHA-256 of the log's origin and holds the checkpoint's note with the
//! log's signatures and the witness's own. So it is what the witness serves to monitors, and it
//! vouches for itself: what the witness did not sign is not believed.

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

/// A record: what was cosigned, and the note.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) head: TreeHead,
    pub(crate) note: String,
}

/// Name of a log's record, and of the log where monitors ask for it.
pub(crate) fn name_of(origin: &Origin) -> String {
    Hash::sha256(origin.as_str().as_bytes()).to_string()
}

impl Records {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Self { disk, folder }
    }

    /// The record of a log, if there is one.
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

    /// Replaces the record of a log. When this returns, it is durable.
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

/// `None` where this witness did not sign that this log was so.
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
    /// Nothing has happened.
    AsItWas(io::Error),
    /// Nobody knows which of the two a crash would leave.
    InDoubt(io::Error),
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read the witness's record {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It says something else, or another key signed it.
    #[error(
        "{} is not a checkpoint of its log that this witness cosigned: restore it and the key from one copy; without the record the witness \
         could sign another history of that log", path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
}
