//! What is on disk, as it is kept in memory.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::{
    manifest::Manifest,
    name::{Digest, Reference, Repository, Tag},
};

/// Folder of content below the registry's.
pub(super) const CONTENT: &str = "blobs/sha256";

/// What is on disk.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) content: BTreeMap<Digest, Content>,
    pub(super) repositories: BTreeMap<Repository, Contents>,
    /// Bytes of all content and of all uploads.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) size: u64,
    /// When somebody last sent it or asked for it, since the site started.
    pub(super) asked: Instant,
}

/// What a repository has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Contents {
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) tags: BTreeMap<Tag, Digest>,
    /// The newest leaf that records the publication of a manifest under a tag. The log vouches for
    /// it, not this.
    pub(super) published: BTreeMap<Digest, u64>,
}

impl Contents {
    pub(super) fn named(&self, reference: &Reference) -> Option<Digest> {
        match reference {
            Reference::Tag(tag) => self.tags.get(tag).copied(),
            Reference::Digest(digest) => self.manifests.contains_key(digest).then_some(*digest),
        }
    }
}

impl State {
    /// Content that manifests are or need.
    pub(super) fn needed(&self) -> BTreeSet<&Digest> {
        let manifests = self.repositories.values().flat_map(|contents| &contents.manifests);
        manifests
            .flat_map(|(digest, manifest)| std::iter::once(digest).chain(manifest.needs()))
            .collect()
    }

    /// A repository that needs some content.
    pub(super) fn user_of(&self, digest: &Digest) -> Option<&Repository> {
        let needs = |contents: &Contents| {
            let mut manifests = contents.manifests.iter();
            manifests
                .any(|(own, manifest)| own == digest || manifest.needs().any(|it| it == digest))
        };
        self.repositories.iter().find(|(_, contents)| needs(contents)).map(|(name, _)| name)
    }
}
