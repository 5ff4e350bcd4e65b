//! Pangea's tree over the log: roots at every size, proofs under them, and the sizes of roots that
//! clients send back.

use std::sync::{Mutex, PoisonError};

use ledger::{Ledger, ReadError};
use model::Timestamp;
use pangea::{
    answer::{PublishedRoot, Root},
    proof,
};
use tlog::{Hash, TreeSize};

use crate::recent::Recent;

/// Number of remembered roots that clients may send back. Each verbose request gets one. About 6
/// MB.
const ISSUED_MAX: usize = 65_536;

/// Makes roots and proofs, and remembers the roots. Most functions block on the disk.
///
/// Each lock is held only briefly, and never while the log is read.
#[derive(Debug)]
pub(crate) struct Trees {
    ledger: Ledger,
    name: String,
    /// Sizes by root.
    issued: Mutex<Recent<Hash, u64>>,
    /// The newest checkpoint that was seen here, and the time when it was first seen.
    published: Mutex<(u64, Timestamp)>,
}

impl Trees {
    pub(crate) fn new(ledger: Ledger) -> Self {
        let published = ledger.published();
        let name = hex(&Hash::sha256(published.checkpoint.origin.as_str().as_bytes()));
        let size = published.checkpoint.size.get();
        Self {
            ledger,
            name,
            issued: Mutex::new(Recent::new(ISSUED_MAX)),
            published: Mutex::new((size, clock::now())),
        }
    }

    /// The root over the first `size` leaves. It is remembered, because the client may send it
    /// back.
    pub(crate) fn issue(&self, size: u64) -> Result<String, ReadError> {
        let root = self.ledger.pangea_root(size)?;
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).insert(root, size);
        Ok(hex(&root))
    }

    /// The size of the tree with a root that a client sends back, if the root is remembered.
    pub(crate) fn size_of(&self, root: &Hash) -> Option<u64> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).get(root).copied()
    }

    /// A proof that the tree of `new` leaves extends that of `old`; `None` if there is nothing to
    /// prove.
    pub(crate) fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<String>>, ReadError> {
        let Ok(growth) = TreeSize::new(new).extends(TreeSize::new(old)) else { return Ok(None) };
        proof::consistency(growth, self.ledger.pangea_subtrees(new))
    }

    /// Proofs of leaves under the root of `size` leaves.
    pub(crate) fn prover(&self, size: u64) -> impl FnMut(u64) -> Result<Option<String>, ReadError> {
        let mut subtrees = self.ledger.pangea_subtrees(size);
        move |leaf| match proof::leaf_in(size, leaf) {
            Some(leaf) => proof::membership(leaf, &mut subtrees),
            None => Ok(None),
        }
    }

    /// The root over the first `size` leaves, described as published if `base`, the URL of this
    /// port, is given.
    pub(crate) fn root(&self, size: u64, base: Option<&str>) -> Result<Root, ReadError> {
        Ok(Root {
            consistency_proof: self.consistency(size.saturating_sub(1), size)?,
            published: base.map(|base| PublishedRoot {
                published_at: self.published_at(),
                url: format!("{base}/checkpoint/unwitnessed"),
            }),
            root_hash: hex(&self.ledger.pangea_root(size)?),
            size,
            tree_name: self.name.clone(),
        })
    }

    /// Time since which the newest checkpoint is known here.
    fn published_at(&self) -> Timestamp {
        let size = self.ledger.published().checkpoint.size.get();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.0 != size {
            *published = (size, clock::now());
        }
        published.1
    }
}

/// A hash in the form that clients use.
pub(crate) fn hex(hash: &Hash) -> String {
    hex::encode(hash.as_bytes())
}
