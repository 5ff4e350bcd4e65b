//! The limits of the registry.

use std::time::Duration;

/// Most bytes of all content and of all uploads under way.
pub(crate) const STORE_BYTES_MAX: u64 = 16 << 30;
/// Largest config or layer in bytes.
pub(crate) const BLOB_BYTES_MAX: u64 = 1 << 30;
/// Largest manifest in bytes: what the specification asks a registry to take at least.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Most configs, layers and manifests. Each is a file.
pub(crate) const CONTENT_MAX: usize = 20_000;
/// Most repositories.
pub(crate) const REPOSITORIES_MAX: usize = 1_000;
/// Most manifests of all repositories. They are in memory, without annotations.
pub(crate) const MANIFESTS_MAX: usize = 4_000;
/// Most tags of all repositories.
pub(crate) const TAGS_MAX: usize = 10_000;
/// Free space that a push leaves to the log on its file system, in bytes.
pub(crate) const FREE_BYTES_MIN: u64 = 256 << 20;

/// Most uploads under way.
pub(crate) const UPLOADS_MAX: usize = 24;
/// Most files that are open for uploads. Each connection may have one more, from which it reads.
pub const FILES_MAX: u64 = UPLOADS_MAX as u64;
/// Time after which an upload is given up to which nobody sends anything.
pub(crate) const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// Time for which content is kept that no manifest needs: a push sends its manifest last.
pub(crate) const GRACE: Duration = Duration::from_secs(60 * 60);
/// Time between two looks for what is to be removed.
pub(crate) const CLEAN_EVERY: Duration = Duration::from_secs(5 * 60);

/// Bytes of an upload that are written at once, and of content that are read at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Manifests that are received at once: each is in memory. Further ones wait.
pub(crate) const MANIFESTS_AT_ONCE: usize = 4;
/// Lists of referrers that are made at once. Further ones wait.
pub(crate) const REFERRERS_AT_ONCE: usize = 2;
/// Bytes of a list of referrers after which it goes on on another page.
pub(crate) const REFERRERS_BYTES: usize = 4 << 20;
/// Most names on a page of repositories or tags, and as many as there are if a client does not say.
pub(crate) const PAGE_MAX: usize = 1_000;
