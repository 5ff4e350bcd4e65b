//! SHA-256 hashes, and the three ways in which RFC 6962 §2.1 computes them.
//!
//! The hash of a leaf begins with a byte 0 and that of an inner node with a byte 1, so nobody can
//! present an inner node as an entry. Pangea's Secure Audit Log builds a tree of the same shape
//! without these bytes; [`NodeHash`] is the difference.

use alloc::string::String;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::excerpt::excerpt;

/// A SHA-256 hash; shown as lowercase hex, written in notes and proofs as base64.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash([u8; Self::LEN]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes a hash that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The hash as bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Plain SHA-256 of `bytes`, without the prefix of a leaf or of a node.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Standard base64 with padding (RFC 4648 §4), 44 characters.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Parses the result of [`to_base64`](Self::to_base64), and no other spelling of it.
    ///
    /// # Errors
    /// The text is not canonical base64 of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidHash> {
        let refused = || InvalidHash { text: excerpt(text) };
        let bytes = STANDARD.decode(text).map_err(|_undecodable| refused())?;
        <[u8; Self::LEN]>::try_from(bytes).map(Self).map_err(|_wrong_length| refused())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a hash in base64.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a hash: use {} bytes in padded base64", Hash::LEN)]
pub struct InvalidHash {
    text: String,
}

/// Hash of the leaf that holds `entry` (RFC 6962 §2.1): SHA-256 of a byte 0 and the entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hash of an inner node (RFC 6962 §2.1): SHA-256 of a byte 1, the left and the right child.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// Root of the tree without leaves (RFC 6962 §2.1): SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash::sha256(&[])
}

/// Root of the tree whose leaves have these hashes (RFC 6962 §2.1).
///
/// The root of a full tile's hashes is the hash that stands for it one level above (C2SP
/// tlog-tiles, Merkle Tree).
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            // The left subtree is the largest full one that leaves something to the right.
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// How a tree hashes its inner nodes. The shape of a tree is always that of RFC 6962 §2.1.
pub trait NodeHash {
    /// Hash of the node above `left` and `right`.
    fn node(left: &Hash, right: &Hash) -> Hash;
}

/// Hashes nodes as in RFC 6962 §2.1, with [`node_hash`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rfc6962;

/// Hashes nodes as Pangea's Secure Audit Log does: SHA-256 of the left and the right child, without
/// a prefix. The leaves are the entries themselves, so entries must be hashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pangea;

impl NodeHash for Rfc6962 {
    fn node(left: &Hash, right: &Hash) -> Hash {
        node_hash(left, right)
    }
}

impl NodeHash for Pangea {
    fn node(left: &Hash, right: &Hash) -> Hash {
        Hash(Sha256::new().chain_update(left.0).chain_update(right.0).finalize().into())
    }
}
