//! What a log has on disk, for reading: the same for whoever holds the log open and for whoever
//! only looks at its folder.
//!
//! Whoever calls says how far the log goes: leaves beyond that are not asked for.

use std::io;

use tlog::{
    BundleId, Growth, Hash, LeafIndex, LeavesInTree, Rfc6962, SignedNote, TileId, TilePath,
    TlogProof, TreeSize, consistency_proof_from_subtrees, inclusion_proof_from_subtrees,
    multiproof_from_subtrees,
};

use crate::{block::Leaf, envelopes::Envelopes, published::Published, tree::TreeReader};

/// What the log has of a leaf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEnvelope {
    /// Which leaf.
    pub leaf: u64,
    /// Canonical JSON; `None` where it was erased.
    pub bytes: Option<Vec<u8>>,
}

/// Envelopes, and the trees over their commitments.
#[derive(Debug)]
pub(crate) struct StoredEnvelopes {
    pub(crate) tree: TreeReader,
    pub(crate) envelopes: Envelopes,
}

impl StoredEnvelopes {
    /// Envelopes of the leaves from `from` up to `end`: as many as there are, up to, after the
    /// first, `bytes_max`. Each is what the log's entry says, or the answer is an error.
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

    /// The entries of `count` leaves from `from` on.
    pub(crate) fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.tree.entries(from, count).map_err(ReadError::Tree)
    }

    /// A tile or an entry bundle, if the tree of `size` leaves has it.
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

    /// A proof of the leaf under a checkpoint, if that covers it.
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

    /// The proof of several leaves at once.
    pub(crate) fn prove_all(&self, leaves: &LeavesInTree) -> Result<Vec<Hash>, ReadError> {
        let subtrees = self.tree.subtrees::<Rfc6962>(leaves.size());
        multiproof_from_subtrees::<Rfc6962, _>(leaves, subtrees).map_err(ReadError::Tree)
    }
}

/// Why something durable cannot be read: the disk fails, or a file was changed under us.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Envelopes.
    #[error("envelopes from leaf {leaf} on cannot be read")]
    Envelope {
        /// From where.
        leaf: u64,
        /// What failed.
        source: io::Error,
    },
    /// An envelope that is not what was sealed.
    #[error(
        "the envelope of leaf {leaf} is not the one that was sealed: restore its segment from a copy"
    )]
    Differs {
        /// Which leaf.
        leaf: u64,
    },
    /// A leaf that is newer than the newest checkpoint.
    #[error(
        "no checkpoint covers leaf {leaf} yet, the newest has {covered} leaves: ask again; where that does not help, the disk is full"
    )]
    NotCovered {
        /// Which leaf.
        leaf: u64,
        /// Leaves of the newest checkpoint.
        covered: u64,
    },
    /// Entries or nodes.
    #[error("the tree's files cannot be read")]
    Tree(#[source] io::Error),
}

impl ReadError {
    /// Whether it may be gone when one asks again: the system failed (too many open files, an input
    /// error, no memory), or a checkpoint is still to come. Otherwise what lies there is damaged or
    /// missing, and stays so until somebody mends it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Envelope { source, .. } | Self::Tree(source) => may_pass(source),
            Self::NotCovered { .. } => true,
            Self::Differs { .. } => false,
        }
    }
}

/// Whether a failure is the system's, somewhere among its sources, and not for want of a file.
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
