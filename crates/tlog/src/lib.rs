//! Transparency logs: what a log *is*, and how anyone checks one.
//!
//! There is one module for each specification. [`hash`], [`tree`], [`frontier`] and [`proof`]
//! implement RFC 6962 §2.1, and [`multiproof`] proves several leaves of its tree at once. [`tile`],
//! [`tile_path`] and [`bundle`] implement C2SP tlog-tiles, [`note`] C2SP signed-note,
//! [`checkpoint`] C2SP tlog-checkpoint, and [`tlog_proof`] C2SP tlog-proof. [`cosignature`],
//! [`add_checkpoint`] and [`policy`] implement C2SP tlog-cosignature, tlog-witness and tlog-policy.
//! The crate root exports everything that a caller needs; start at [`Checkpoint`], [`LeafInTree`]
//! and [`TlogProof`].
//!
//! Nothing here reads a clock, a file or a socket, and no key is kept beyond a [`Signer`] that the
//! caller holds. The caller stores the hashes and lends them as a closure, `FnMut(&TileId)`; a
//! function asks it for each tile at most once. The crate does not know what an entry means.
//!
//! Invariant: a function may refuse text and bytes from outside, with an error that says what is
//! allowed, but they never cause a panic.
//! but never cause a panic.
//!
//! # Example
//!
//! A log of two entries signs a checkpoint; a stranger who has its verifier key checks one entry.
//!
//! ```
//! use tlog::{
//!     Checkpoint, Hash, KeyName, LeafIndex, Origin, ShortTile, Signer, TreeSize, VerifierKey,
//!     inclusion_proof, leaf_hash, root_of, verify_inclusion,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The log.
//! let signer = Signer::from_seed(KeyName::parse("log.example")?, &[7; 32]);
//! let hashes: Vec<Hash> = [b"first".as_slice(), b"second"].map(leaf_hash).into();
//! let size = TreeSize::new(2);
//! let checkpoint = Checkpoint::new(Origin::parse("log.example")?, size, root_of(&hashes));
//! let note = checkpoint.sign(&signer);
//! // Two leaves are the beginning of one tile, which has their hashes.
//! let leaf = size.leaf(LeafIndex::new(1))?;
//! let proof = inclusion_proof(leaf, |_tile| Ok::<_, ShortTile>(hashes.clone()))?;
//!
//! // The stranger.
//! let key: VerifierKey = VerifierKey::parse(&signer.vkey().to_string())?;
//! let signed = Checkpoint::open(&note, &key)?;
//! let leaf = signed.size.leaf(LeafIndex::new(1))?;
//! verify_inclusion(leaf, &leaf_hash(b"second"), &proof, &signed.root)?;
//! assert!(verify_inclusion(leaf, &leaf_hash(b"another"), &proof, &signed.root).is_err());
//! # Ok(())
//! # }
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod add_checkpoint;
pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod frontier;
pub mod hash;
pub mod multiproof;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;
pub mod tile_path;
pub mod tlog_proof;
pub mod tree;

mod decimal;
mod excerpt;
mod tile_reader;

pub use crate::add_checkpoint::{
    AddCheckpoint, AuthenticateError, ParseAddCheckpointError, RefuseError, Submission, TreeHead,
};
pub use crate::bundle::{EntryBundle, InvalidBundle, split_entries};
pub use crate::checkpoint::{
    Checkpoint, ExtensionLine, InvalidLine, OpenCheckpointError, Origin, ParseCheckpointError,
};
pub use crate::cosignature::{Cosignature, Cosigner, CosignerKey, PosixTime};
pub use crate::frontier::Frontier;
pub use crate::hash::{
    Hash, InvalidHash, NodeHash, Pangea, Rfc6962, empty_root, leaf_hash, node_hash, root_of,
};
pub use crate::multiproof::{
    InvalidLeaves, LeavesInTree, MultiproofError, multiproof_from_subtrees, verify_multiproof,
};
pub use crate::note::{
    InvalidKeyName, InvalidNoteText, KeyId, KeyName, NoteSignature, ParseKeyError, ParseNoteError,
    PrivateKey, PublicKey, SignedNote, Signer, VerifiedNote, VerifierKey, VerifyNoteError,
};
pub use crate::policy::{
    Policy, PolicyError, PolicyFault, PolicyLog, PolicyWitness, UnsatisfiedError,
};
pub use crate::proof::{
    ConsistencyError, InclusionError, consistency_proof, consistency_proof_from_subtrees,
    inclusion_proof, inclusion_proof_from_subtrees, root, verify_consistency, verify_inclusion,
};
pub use crate::tile::{
    BundleId, InvalidTileLen, InvalidTileLevel, ShortTile, TileId, TileLevel, TileWidth,
    decode_hashes, encode_hashes, tile_width,
};
pub use crate::tile_path::{ParseTilePathError, TilePath};
pub use crate::tlog_proof::{ParseTlogProofError, TlogProof, VerifyTlogProofError};
pub use crate::tree::{
    Growth, InvalidSubtree, LeafInTree, LeafIndex, NotInTree, Shrunk, Subtree, TreeSize,
};
