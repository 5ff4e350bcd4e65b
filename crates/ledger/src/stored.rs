//! Reads what a log has on disk, both for an open log and for a reader of its folder.
//!
//! The caller knows how far the log goes, and asks for no leaf beyond that.

use std::io;

use tlog::{
    BundleId, Growth, Hash, LeafIndex, LeavesInTree, Rfc6962, SignedNote, TileId, TilePath,
    TlogProof, TreeSize, consistency_proof_from_subtrees, inclusion_proof_from_subtrees,
    multiproof_from_subtrees,
};

use crate::{block::Leaf, envelopes::Envelopes, published::Published, tree::TreeReader};

/// A leaf and its envelope, as read from the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEnvelope {
    /// Index of the leaf in the log.
    pub leaf: u64,
    /// The envelope, canonical JSON; `None` if it was erased.
    pub bytes: Option<Vec<u8>>,
}

/// The envelopes of a log, and the trees over their commitments.
#[derive(Debug)]
pub(crate) struct StoredEnvelopes {
    pub(crate) tree: TreeReader,
    pub(crate) envelopes: Envelopes,
}

impl StoredEnvelopes {
    /// Envelopes of the leaves from `from` up to `end`: as many as exist, and after the first one
    /// up to `bytes_max` bytes. Each matches its entry in the log, or the call fails.
    pub(crate) fn envelopes(
        &self,
        from: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let mut envelopes = Vec::new();
        let mut bytes_left = bytes_max;
        let read = self.envelopes.read(from, end, |leaf, content| {
            let bytes = match content {
                Leaf::Envelope(bytes) if bytes.len() > bytes_left && !envelopes.is_empty() => {
                    return false;
                }
                Leaf::Envelope(bytes) => {
                    bytes_left = bytes_left.saturating_sub(bytes.len());
                    Some(bytes.to_vec())
                }
                Leaf::Erased(_) => None,
            };
            envelopes.push(StoredEnvelope { leaf, bytes });
            true
        });
        read.map_err(|source| ReadError::Envelope { leaf: from, source })?;
        let entries = self.entries(from, envelopes.len())?;
        for (envelope, entry) in envelopes.iter().zip(entries) {
            if envelope.bytes.as_ref().is_some_and(|bytes| Hash::sha256(bytes) != entry) {
                return Err(ReadError::Differs { leaf: envelope.leaf });
            }
        }
        Ok(envelopes)
    }

    /// The log's entries of `count` leaves from `from` on.
    pub(crate) fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.tree.entries(from, count).map_err(ReadError::Tree)
    }

    /// A tile or an entry bundle (C2SP tlog-tiles), if the tree of `size` leaves has it.
    pub(crate) fn tile(
        &self,
        path: &TilePath,
        size: TreeSize,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let there = match *path {
            TilePath::Hashes(TileId { level, index, width }) => TileId::in_tree(level, index, size)
                .is_some_and(|whole| width.count() <= whole.width.count()),
            TilePath::Entries(BundleId { index, width }) => BundleId::in_tree(index, size)
                .is_some_and(|whole| width.count() <= whole.width.count()),
        };
        there.then(|| self.tree.serve(path).map_err(ReadError::Tree)).transpose()
    }

    /// A proof of the leaf under a checkpoint, if the checkpoint covers it.
    pub(crate) fn prove(
        &self,
        leaf: u64,
        published: &Published,
    ) -> Result<Option<TlogProof>, ReadError> {
        let index = LeafIndex::new(leaf);
        let size = published.checkpoint.size;
        let Ok(leaf) = size.leaf(index) else {
            return Ok(None);
        };
        let subtrees = self.tree.subtrees::<Rfc6962>(size);
        let hashes =
            inclusion_proof_from_subtrees::<Rfc6962, _>(leaf, subtrees).map_err(ReadError::Tree)?;
        let checkpoint = SignedNote::parse(&published.note).expect("we signed this note ourselves");
        Ok(Some(TlogProof { index, hashes, checkpoint, extra: None }))
    }

    /// The proof that a later tree extends an earlier one.
    pub(crate) fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        let subtrees = self.tree.subtrees::<Rfc6962>(growth.new_size());
        consistency_proof_from_subtrees::<Rfc6962, _>(growth, subtrees).map_err(ReadError::Tree)
    }

    /// One proof of several leaves.
    pub(crate) fn prove_all(&self, leaves: &LeavesInTree) -> Result<Vec<Hash>, ReadError> {
        let subtrees = self.tree.subtrees::<Rfc6962>(leaves.size());
        multiproof_from_subtrees::<Rfc6962, _>(leaves, subtrees).map_err(ReadError::Tree)
    }
}

/// Why durable data cannot be read: the disk fails, or another program changed a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Envelopes cannot be read.
    #[error("cannot read envelopes from leaf {leaf} on")]
    Envelope {
        /// First leaf of the range that was asked for.
        leaf: u64,
        /// The error of the read.
        source: io::Error,
    },
    /// An envelope does not match its entry in the log.
    #[error(
        "the envelope of leaf {leaf} does not match its entry: restore its segment from a copy"
    )]
    Differs {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// The leaf is newer than the newest checkpoint.
    #[error(
        "no checkpoint covers leaf {leaf} yet; the newest has {covered} leaves: ask again; if that does not help, the disk may be full"
    )]
    NotCovered {
        /// The leaf that was asked for.
        leaf: u64,
        /// Number of leaves that the newest checkpoint covers.
        covered: u64,
    },
    /// The entries or nodes of the tree cannot be read.
    #[error("cannot read the tree files")]
    Tree(#[source] io::Error),
}

impl ReadError {
    /// Whether a later attempt may succeed: the system failed (too many open files, an input error,
    /// no memory), or a checkpoint is still to come. If not, the data is damaged or missing until
    /// someone repairs it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Envelope { source, .. } | Self::Tree(source) => may_pass(source),
            Self::NotCovered { .. } => true,
            Self::Differs { .. } => false,
        }
    }
}

/// Whether the operating system caused a failure, somewhere among its sources, other than by a
/// missing file.
fn may_pass(error: &io::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && (io.raw_os_error().is_some() || io.kind() == io::ErrorKind::WouldBlock)
            && io.kind() != io::ErrorKind::NotFound
        {
            return true;
        }
        next = error.source();
    }
    false
}
