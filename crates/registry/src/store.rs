//! What the registry keeps on disk: content by its digest, and a file for each repository that says
//! which manifests and tags it has.
//!
//! All repositories share the content, so a layer is stored once. What no manifest needs is removed
//! when nobody has asked for it for a while.
//!
//! Every function that changes something takes a [`Changing`], so changes follow one another.

mod load;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use durable::disk::{self, Disk, DiskFile, Mode};
use tokio::{sync::OwnedMutexGuard, time::Instant};
use tracing::warn;

pub use self::load::{StoreError, StoreFault};
use self::{
    load::{REPOSITORIES, json_of},
    state::{CONTENT, Content, Contents, State},
};
use crate::{
    limits::{CONTENT_MAX, GRACE, MANIFESTS_MAX, REPOSITORIES_MAX, STORE_BYTES_MAX, TAGS_MAX},
    manifest::Manifest,
    name::{Digest, Reference, Repository, Tag},
    refusal::Refusal,
};

/// How the names of unfinished uploads end. They are beside the content, so that they become
/// content by a new name within one folder.
const UPLOAD: &str = ".upload";

/// The registry's content on disk. All functions but the lookups block.
#[derive(Debug)]
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    changing: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

/// The right to change the store. There is one at a time.
#[derive(Debug)]
pub(crate) struct Changing(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

/// A manifest that is on disk, and what its repository has once it names it.
#[derive(Debug)]
pub(crate) struct Prepared {
    repository: Repository,
    next: Contents,
    pub(crate) digest: Digest,
    pub(crate) subject: Option<Digest>,
    /// The manifest that the tag named before.
    pub(crate) before: Option<Digest>,
}

impl Store {
    /// Opens the store in a folder, which is created if it does not exist. Removes what was not
    /// completed when the last site ended.
    ///
    /// # Errors
    /// The folder cannot be used, or a file in it is damaged.
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: folder.to_owned(), source };
        for inner in [CONTENT, REPOSITORIES] {
            let inner = folder.join(inner);
            disk.create_folder(&inner).map_err(failed)?;
            for name in disk.list(&inner).map_err(failed)? {
                if name.ends_with(UPLOAD) || name.ends_with(disk::NEXT) {
                    disk.remove(&inner.join(name)).map_err(failed)?;
                }
            }
        }
        // What is in a folder survives a loss of power only if the folder does.
        for outer in folder.parent().into_iter().chain([folder, &folder.join("blobs")]) {
            disk.sync_folder(outer).map_err(failed)?;
        }
        let state = Mutex::new(load::load(&*disk, folder)?);
        Ok(Self { disk, folder: folder.to_owned(), changing: Arc::default(), state })
    }

    /// Reads what [`Store::open`] reads, and changes nothing. Returns how many manifests there are.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn look(disk: &dyn Disk, folder: &Path) -> Result<usize, StoreError> {
        Ok(load::load(disk, folder)?.repositories.values().map(|it| it.manifests.len()).sum())
    }

    /// Waits for the right to change the store.
    pub(crate) async fn change(&self) -> Changing {
        Changing(Arc::clone(&self.changing).lock_owned().await)
    }

    pub(crate) fn repositories(&self) -> Vec<Repository> {
        self.state().repositories.keys().cloned().collect()
    }

    pub(crate) fn tags(&self, repository: &Repository) -> Option<Vec<Tag>> {
        Some(self.state().repositories.get(repository)?.tags.keys().cloned().collect())
    }

    /// The manifest that a reference names.
    pub(crate) fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Option<(Digest, Manifest)> {
        let state = self.state();
        let contents = state.repositories.get(repository)?;
        let digest = contents.named(reference)?;
        Some((digest, contents.manifests.get(&digest)?.clone()))
    }

    /// Whether content is one of these manifests of a repository, or something that one of them
    /// refers to.
    pub(crate) fn is_part_of(
        &self,
        repository: &Repository,
        roots: Vec<Digest>,
        digest: &Digest,
    ) -> bool {
        let state = self.state();
        let Some(contents) = state.repositories.get(repository) else { return false };
        // An index is stored after what it refers to, so there are no circles, but there may be
        // many ways to one manifest.
        let (mut open, mut seen) = (roots, BTreeSet::new());
        while let Some(next) = open.pop() {
            let Some(manifest) = contents.manifests.get(&next) else { continue };
            if next == *digest || manifest.needs().any(|needed| needed == digest) {
                return true;
            }
            open.extend(manifest.manifests.iter().filter(|it| seen.insert(**it)));
        }
        false
    }

    /// The manifests of a repository that say something about a subject, in the order of their
    /// digests, after `last`.
    pub(crate) fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        last: Option<&Digest>,
    ) -> Vec<(Digest, Manifest)> {
        let state = self.state();
        let manifests = state.repositories.get(repository).map(|it| &it.manifests);
        let refers = manifests.into_iter().flatten().filter(|(digest, manifest)| {
            manifest.subject.as_ref() == Some(subject) && last.is_none_or(|last| *digest > last)
        });
        refers.map(|(digest, manifest)| (*digest, manifest.clone())).collect()
    }

    /// Size of some content, if it is here. It is kept for a while for whoever asks.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        let mut state = self.state();
        let content = state.content.get_mut(digest)?;
        content.asked = Instant::now();
        Some(content.size)
    }

    /// Opens content that is here.
    pub(crate) fn open_content(&self, digest: &Digest) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.content_path(digest), Mode::Read)
    }

    /// Reads content whole that is here. It is what was sent under this digest.
    pub(crate) fn read(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let read = disk::read_small(&*self.disk, &self.content_path(digest))?;
        let bytes = read.ok_or(io::ErrorKind::NotFound)?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    /// The leaf that records the publication of a manifest, if it was published under a tag.
    pub(crate) fn published(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        self.state().repositories.get(repository)?.published.get(digest).copied()
    }

    /// Refuses to write while the log's disk has less free space than this.
    pub(crate) fn check_free(&self, min: u64) -> Result<(), Refusal> {
        // If the system does not say, the write itself will fail.
        let Ok(found) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        if found.f_bavail.saturating_mul(found.f_frsize) >= min {
            return Ok(());
        }
        let words = format!("the site's disk has less than {min} bytes left, which the log needs");
        Err(Refusal::full(words))
    }

    /// Takes room for bytes that are about to be written.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), Refusal> {
        let mut state = self.state();
        let sum = state.bytes.saturating_add(bytes);
        if sum > STORE_BYTES_MAX {
            let words = format!(
                "the registry may hold {STORE_BYTES_MAX} bytes and has no room for this: delete \
                 manifests that nobody needs"
            );
            return Err(Refusal::full(words));
        }
        state.bytes = sum;
        Ok(())
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: u64) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Creates the file of an upload.
    pub(crate) fn create_upload(&self, name: &str) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        let path = self.folder.join(CONTENT).join(format!("{name}{UPLOAD}"));
        let file = self.disk.open(&path, Mode::Empty)?;
        Ok((path, file))
    }

    /// Removes the file of an upload, and gives the room back that it had.
    pub(crate) fn remove_upload(&self, path: &Path, bytes: u64) {
        if let Err(error) = self.disk.remove(path) {
            warn!(%error, path = %path.display(), "cannot remove an upload of the registry");
        }
        self.release(bytes);
    }

    /// Makes a complete, synced upload the content with this digest. It already has its room.
    pub(crate) fn keep(
        &self,
        _changing: &Changing,
        upload: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Refusal> {
        if self.size(digest).is_some() {
            self.remove_upload(upload, size);
            return Ok(());
        }
        self.check_count()?;
        self.disk
            .rename(upload, &self.content_path(digest))
            .and_then(|()| self.disk.sync_folder(&self.folder.join(CONTENT)))
            .map_err(|error| Refusal::disk(&error))?;
        self.state().content.insert(*digest, Content { size, asked: Instant::now() });
        Ok(())
    }

    /// Writes a manifest. Nobody sees it until [`Store::commit`].
    pub(crate) fn prepare(
        &self,
        _changing: &Changing,
        repository: &Repository,
        reference: &Reference,
        (manifest, bytes): (Manifest, &[u8]),
    ) -> Result<Prepared, Refusal> {
        let digest = Digest::of(bytes);
        if let Reference::Digest(named) = reference
            && *named != digest
        {
            return Err(Refusal::digest(named, &digest));
        }
        self.check_needs(repository, &manifest)?;
        let mut next = self.contents(repository);
        let subject = manifest.subject;
        next.manifests.insert(digest, manifest);
        let before = match reference {
            Reference::Tag(tag) => next.tags.insert(tag.clone(), digest),
            Reference::Digest(_) => None,
        };
        self.check_limits(repository, &next)?;
        if self.size(&digest).is_none() {
            self.check_count()?;
            let size = bytes.len() as u64;
            self.reserve(size)?;
            let folder = self.folder.join(CONTENT);
            if let Err(error) = disk::replace(&*self.disk, &folder, &digest.hex(), bytes) {
                let _gone = self.disk.remove(&folder.join(digest.hex() + disk::NEXT));
                self.release(size);
                return Err(Refusal::disk(&error));
            }
            self.state().content.insert(digest, Content { size, asked: Instant::now() });
        }
        Ok(Prepared { repository: repository.clone(), next, digest, subject, before })
    }

    /// Shows what was prepared, with the leaf that records its publication under a tag. Once this
    /// returns, it survives a loss of power.
    pub(crate) fn commit(
        &self,
        changing: &Changing,
        prepared: Prepared,
        leaf: Option<u64>,
    ) -> Result<(), Refusal> {
        let Prepared { repository, mut next, digest, .. } = prepared;
        next.published.extend(leaf.map(|leaf| (digest, leaf)));
        self.replace(changing, repository, next)
    }

    /// The manifest that a reference names, and how many tags name it.
    pub(crate) fn to_delete(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<(Digest, usize), Refusal> {
        let contents = self.contents(repository);
        let found =
            contents.named(reference).ok_or_else(|| Refusal::no_manifest(repository, reference))?;
        Ok((found, contents.tags.values().filter(|digest| **digest == found).count()))
    }

    /// Removes a manifest with its tags, or a tag alone.
    pub(crate) fn delete(
        &self,
        changing: &Changing,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let mut next = self.contents(repository);
        let found =
            next.named(reference).ok_or_else(|| Refusal::no_manifest(repository, reference))?;
        match reference {
            Reference::Tag(tag) => drop(next.tags.remove(tag)),
            Reference::Digest(_) => {
                next.manifests.remove(&found);
                next.published.remove(&found);
                next.tags.retain(|_, digest| *digest != found);
            }
        }
        if next.manifests.is_empty() {
            let folder = self.folder.join(REPOSITORIES);
            let removed = self.disk.remove(&folder.join(load::file_of(repository)));
            let removed = removed.and_then(|()| self.disk.sync_folder(&folder));
            removed.map_err(|error| Refusal::disk(&error))?;
            self.state().repositories.remove(repository);
            return Ok(());
        }
        self.replace(changing, repository.clone(), next)
    }

    /// Removes content that no manifest needs.
    pub(crate) fn delete_content(
        &self,
        _changing: &Changing,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        let state = self.state();
        if !state.content.contains_key(digest) {
            return Err(Refusal::no_blob(repository, digest));
        }
        if let Some(user) = state.user_of(digest) {
            return Err(Refusal::needed(digest, user));
        }
        drop(state);
        self.remove_content(digest).map_err(|error| Refusal::disk(&error))
    }

    /// Removes all content that no manifest needs and nobody has sent or asked for since
    /// [`GRACE`].
    pub(crate) fn clean(&self, _changing: &Changing, now: Instant) {
        let state = self.state();
        let needed = state.needed();
        let is_old = |content: &Content| now.saturating_duration_since(content.asked) >= GRACE;
        let unneeded = state
            .content
            .iter()
            .filter(|(digest, content)| is_old(content) && !needed.contains(digest))
            .map(|(digest, _)| *digest)
            .collect::<Vec<_>>();
        drop(state);
        for digest in unneeded {
            if let Err(error) = self.remove_content(&digest) {
                warn!(%error, %digest, "cannot remove content of the registry");
            }
        }
    }

    fn remove_content(&self, digest: &Digest) -> io::Result<()> {
        // First from memory: nobody may be told that it is here while it goes.
        let Some(content) = self.state().content.remove(digest) else { return Ok(()) };
        if let Err(error) = self.disk.remove(&self.content_path(digest)) {
            self.state().content.insert(*digest, content);
            return Err(error);
        }
        self.release(content.size);
        Ok(())
    }

    /// Replaces a repository's file, and shows what it says.
    fn replace(
        &self,
        _changing: &Changing,
        repository: Repository,
        next: Contents,
    ) -> Result<(), Refusal> {
        let (folder, file) = (self.folder.join(REPOSITORIES), load::file_of(&repository));
        let json = json_of(&repository, &next);
        if let Err(error) = disk::replace(&*self.disk, &folder, &file, &json) {
            // The disk may be full: half a file would take space from the next write.
            let _gone = self.disk.remove(&folder.join(file + disk::NEXT));
            return Err(Refusal::disk(&error));
        }
        self.state().repositories.insert(repository, next);
        Ok(())
    }

    /// Refuses a manifest that needs what is not here.
    fn check_needs(&self, repository: &Repository, manifest: &Manifest) -> Result<(), Refusal> {
        for (digest, size) in &manifest.blobs {
            match self.size(digest) {
                Some(here) if here == *size => {}
                Some(here) => return Err(Refusal::size(digest, *size, here)),
                None => return Err(Refusal::not_here(repository, digest)),
            }
        }
        let state = self.state();
        let here = state.repositories.get(repository);
        for digest in &manifest.manifests {
            if here.is_none_or(|here| !here.manifests.contains_key(digest)) {
                return Err(Refusal::not_here(repository, digest));
            }
        }
        Ok(())
    }

    fn check_limits(&self, repository: &Repository, next: &Contents) -> Result<(), Refusal> {
        let state = self.state();
        let others = state.repositories.iter().filter(|(name, _)| *name != repository);
        let (mut names, mut manifests, mut tags) = (1, next.manifests.len(), next.tags.len());
        for (_, other) in others {
            names += 1;
            manifests += other.manifests.len();
            tags += other.tags.len();
        }
        for (count, max, what) in [
            (names, REPOSITORIES_MAX, "repositories"),
            (manifests, MANIFESTS_MAX, "manifests"),
            (tags, TAGS_MAX, "tags"),
        ] {
            if count > max {
                let words =
                    format!("the registry has {max} {what}, which is the limit: delete some");
                return Err(Refusal::full(words));
            }
        }
        Ok(())
    }

    fn check_count(&self) -> Result<(), Refusal> {
        if self.state().content.len() >= CONTENT_MAX {
            let words =
                format!("the registry has {CONTENT_MAX} blobs and manifests, which is the limit");
            return Err(Refusal::full(words));
        }
        Ok(())
    }

    fn contents(&self, repository: &Repository) -> Contents {
        self.state().repositories.get(repository).cloned().unwrap_or_default()
    }

    fn content_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(CONTENT).join(digest.hex())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
