//! Reads what is on disk.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use durable::disk::{self, Disk, Mode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::state::{CONTENT, Content, Contents, State};
use crate::{
    manifest::Manifest,
    name::{Digest, Repository, Tag},
};

/// Folder of the repositories' files below the registry's.
pub(super) const REPOSITORIES: &str = "repositories";
/// Version of these files.
const VERSION: u32 = 1;
/// How the name of such a file ends.
const EXTENSION: &str = ".json";

/// A repository's file.
#[derive(Deserialize, Serialize)]
struct Stored {
    version: u32,
    name: String,
    /// The media types of the manifests, by their digests.
    manifests: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    /// The leaf that records the publication of a manifest, by its digest.
    #[serde(default)]
    published: BTreeMap<String, u64>,
}

/// Name of a repository's file. No name has a `+`.
pub(super) fn file_of(repository: &Repository) -> String {
    repository.as_str().replace('/', "+") + EXTENSION
}

/// The bytes of a repository's file.
pub(super) fn json_of(repository: &Repository, contents: &Contents) -> Vec<u8> {
    let manifests = contents.manifests.iter();
    let (tags, published) = (contents.tags.iter(), contents.published.iter());
    let stored = Stored {
        version: VERSION,
        name: repository.to_string(),
        manifests: manifests
            .map(|(digest, it)| (digest.to_string(), it.media_type.clone()))
            .collect(),
        tags: tags.map(|(tag, digest)| (tag.to_string(), digest.to_string())).collect(),
        published: published.map(|(digest, leaf)| (digest.to_string(), *leaf)).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&stored).expect("all keys are text");
    json.push(b'\n');
    json
}

/// Reads everything but the blobs. A folder that does not exist holds nothing.
pub(super) fn load(disk: &dyn Disk, folder: &Path) -> Result<State, StoreError> {
    let mut state = State::default();
    let content = folder.join(CONTENT);
    let now = Instant::now();
    for name in names(disk, &content)? {
        // Whatever else is there is not content of ours.
        let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
        let path = content.join(&name);
        let size = disk.open(&path, Mode::Read).and_then(|file| file.len());
        let size = size.map_err(|source| StoreError::Io { path, source })?;
        state.bytes = state.bytes.saturating_add(size);
        state.content.insert(digest, Content { size, asked: now });
    }
    let repositories = folder.join(REPOSITORIES);
    for name in names(disk, &repositories)? {
        if !name.ends_with(EXTENSION) {
            continue;
        }
        let path = repositories.join(&name);
        let bytes = disk::read_small(disk, &path);
        let bytes = bytes.map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let (repository, contents) = read(disk, &content, &bytes.unwrap_or_default())
            .and_then(
                |read| if file_of(&read.0) == name { Ok(read) } else { Err(StoreFault::Name) },
            )
            .map_err(|fault| StoreError::Damaged { path, fault })?;
        state.repositories.insert(repository, contents);
    }
    Ok(state)
}

fn names(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>, StoreError> {
    match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|source| StoreError::Io { path: folder.to_owned(), source }),
    }
}

/// Reads a repository's file and the manifests that it names.
fn read(
    disk: &dyn Disk,
    content: &Path,
    bytes: &[u8],
) -> Result<(Repository, Contents), StoreFault> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(StoreFault::Json)?;
    if stored.version != VERSION {
        return Err(StoreFault::Version(stored.version));
    }
    let repository = stored.name.parse().map_err(|_invalid| StoreFault::Name)?;
    let mut contents = Contents::default();
    for (digest, media_type) in stored.manifests {
        let bad = || StoreFault::Manifest(digest.clone());
        let known: Digest = digest.parse().map_err(|_invalid| bad())?;
        let bytes = disk::read_small(disk, &content.join(known.hex())).ok().flatten();
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == known).ok_or_else(bad)?;
        let manifest = Manifest::parse(&media_type, &bytes).map_err(|_invalid| bad())?;
        contents.manifests.insert(known, manifest);
    }
    for (tag, digest) in stored.tags {
        let bad = || StoreFault::Tag(tag.clone());
        let known: Tag = tag.parse().map_err(|_invalid| bad())?;
        let digest: Digest = digest.parse().map_err(|_invalid| bad())?;
        if !contents.manifests.contains_key(&digest) {
            return Err(bad());
        }
        contents.tags.insert(known, digest);
    }
    for (digest, leaf) in stored.published {
        let known = digest.parse().ok().filter(|known| contents.manifests.contains_key(known));
        contents.published.insert(known.ok_or(StoreFault::Manifest(digest))?, leaf);
    }
    Ok((repository, contents))
}

/// Why the registry's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be used.
    #[error("cannot use {} of the registry", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A repository's file is damaged, or something that it names.
    #[error("the registry's file {} is damaged", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        fault: StoreFault,
    },
}

/// What is wrong with a repository's file.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// It is not such JSON.
    #[error("it is not understood: {0}")]
    Json(serde_json::Error),
    /// It has another version.
    #[error("it has version {0}, but this sealwire reads version {VERSION}")]
    Version(u32),
    /// It is not the file of the repository that it names.
    #[error("it names another repository than its own name does")]
    Name,
    /// A manifest is missing, or has other bytes.
    #[error("the manifest {0} is missing or has changed")]
    Manifest(String),
    /// A tag names no manifest.
    #[error("the tag {0} names nothing")]
    Tag(String),
}
