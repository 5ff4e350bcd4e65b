//! Uploads under way. They are in memory, and their bytes in a file each: after a restart of the
//! site a client begins again.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use access::TokenName;
use durable::disk::DiskFile;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    limits::{BLOB_BYTES_MAX, UPLOAD_IDLE_MAX, UPLOADS_MAX},
    name::{Digest, Repository, UploadId},
    refusal::Refusal,
    store::{Changing, Store},
};

/// The uploads under way.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<UploadId, Upload>>);

#[derive(Debug)]
struct Upload {
    repository: Repository,
    publisher: TokenName,
    used: Instant,
    received: Arc<AsyncMutex<Received>>,
}

/// What an upload has received. One request at a time holds it.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    hasher: Sha256,
    len: u64,
}

/// The right to continue an upload, or to end it.
pub(crate) type Writing = OwnedMutexGuard<Received>;

impl Uploads {
    /// Begins an upload. This blocks.
    pub(crate) fn begin(
        &self,
        store: &Store,
        repository: &Repository,
        publisher: &TokenName,
    ) -> Result<UploadId, Refusal> {
        let id = UploadId::random();
        // Held while the file is created, so that there are never more files than uploads.
        let mut all = self.all();
        if all.len() >= UPLOADS_MAX {
            let words = format!("there are {UPLOADS_MAX} uploads under way: try again later");
            return Err(Refusal::too_many(words));
        }
        let created = store.create_upload(&id.to_string());
        let (path, file) = created.map_err(|error| Refusal::disk(&error))?;
        let received = Received { path, file, hasher: Sha256::new(), len: 0 };
        let upload = Upload {
            repository: repository.clone(),
            publisher: publisher.clone(),
            used: Instant::now(),
            received: Arc::new(AsyncMutex::new(received)),
        };
        all.insert(id, upload);
        Ok(id)
    }

    /// Takes an upload, for as long as the guard lives. Nobody learns of the uploads of others.
    pub(crate) fn take(
        &self,
        id: UploadId,
        repository: &Repository,
        publisher: &TokenName,
    ) -> Result<Writing, Refusal> {
        let mut all = self.all();
        let is_theirs =
            |it: &&mut Upload| it.repository == *repository && it.publisher == *publisher;
        let upload = all.get_mut(&id).filter(is_theirs).ok_or_else(|| Refusal::no_upload(&id))?;
        upload.used = Instant::now();
        Arc::clone(&upload.received).try_lock_owned().map_err(|_held| Refusal::busy(&id))
    }

    /// Ends an upload and removes what it has received. This blocks.
    pub(crate) fn end(&self, store: &Store, id: UploadId, writing: &Writing) {
        if self.all().remove(&id).is_some() {
            store.remove_upload(&writing.path, writing.len);
        }
    }

    /// Makes what an upload has received the content with this digest, and ends it. This blocks.
    pub(crate) fn finish(
        &self,
        store: &Store,
        changing: &Changing,
        id: UploadId,
        (writing, digest): (&Writing, &Digest),
    ) -> Result<(), Refusal> {
        let received = Digest::finish(writing.hasher.clone());
        if received != *digest {
            self.end(store, id, writing);
            return Err(Refusal::digest(digest, &received));
        }
        // A write that failed may have left bytes behind the end.
        let synced = writing.file.set_len(writing.len).and_then(|()| writing.file.sync());
        let kept = synced
            .map_err(|error| Refusal::disk(&error))
            .and_then(|()| store.keep(changing, &writing.path, digest, writing.len));
        match &kept {
            Ok(()) => drop(self.all().remove(&id)),
            // What an fsync did not write, a second one would not write either.
            Err(_) => self.end(store, id, writing),
        }
        kept
    }

    /// Ends the uploads to which nobody has sent anything for [`UPLOAD_IDLE_MAX`]. This blocks.
    pub(crate) fn clean(&self, store: &Store, now: Instant) {
        let is_idle =
            |upload: &Upload| now.saturating_duration_since(upload.used) >= UPLOAD_IDLE_MAX;
        let idle: Vec<_> = {
            let all = self.all();
            let idle = all.iter().filter(|(_, upload)| is_idle(upload));
            // One that a request holds is not idle: it is receiving.
            idle.filter_map(|(id, it)| Some((*id, Arc::clone(&it.received).try_lock_owned().ok()?)))
                .collect()
        };
        for (id, writing) in idle {
            self.end(store, id, &writing);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    /// Number of bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Writes a piece at the end. This blocks.
    ///
    /// # Errors
    /// There is no room, or the disk failed. After the latter the file may have a part of the
    /// piece, which the next piece overwrites.
    pub(crate) fn append(&mut self, store: &Store, piece: &[u8]) -> Result<(), Refusal> {
        let bytes = piece.len() as u64;
        if self.len.saturating_add(bytes) > BLOB_BYTES_MAX {
            return Err(Refusal::too_large());
        }
        store.reserve(bytes)?;
        if let Err(error) = self.file.write_all_at(piece, self.len) {
            store.release(bytes);
            return Err(Refusal::disk(&error));
        }
        self.hasher.update(piece);
        self.len += bytes;
        Ok(())
    }
}
