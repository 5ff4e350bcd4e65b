//! Proof files: everything that is needed to check a leaf offline.
//!
//! C2SP tlog-proof, version 1: the leaf's index, its inclusion proof and the checkpoint that the
//! proof leads to, with optional extra data. Cosignatures of witnesses stay in the checkpoint's
//! note, unchecked.
//!
//! Invariant: formatting a parsed proof gives the same bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, OpenCheckpointError};
use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::hash::{Hash, InvalidHash};
use crate::note::{ParseNoteError, SignedNote, VerifierKey};
use crate::proof::{InclusionError, PROOF_HASHES_MAX, verify_inclusion};
use crate::tree::{LeafIndex, NotInTree};

/// Most bytes of extra data, decoded. Sealwire's own proofs have none; those of others have tens of
/// bytes.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof file whose signature and hashes have not been checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlogProof {
    /// Index of the leaf.
    pub index: LeafIndex,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The checkpoint, as the log signed it.
    pub checkpoint: SignedNote,
    /// Data that the application added. Nothing proves it.
    pub extra: Option<Vec<u8>>,
}

impl TlogProof {
    /// Parses a proof file.
    ///
    /// # Errors
    /// The text has an invalid line or no checkpoint.
    pub fn parse(proof: &str) -> Result<Self, ParseTlogProofError> {
        // Neither a first line nor a hash is empty, so the first blank line precedes the
        // checkpoint.
        let (head, note) = proof.split_once("\n\n").ok_or(ParseTlogProofError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ParseTlogProofError::FirstLine);
        }
        let extra =
            lines.next_if(|line| line.starts_with("extra ")).map(parse_extra).transpose()?;
        let index = parse_index(lines.next().unwrap_or_default())?;
        let hashes: Vec<_> =
            lines.take(PROOF_HASHES_MAX + 1).map(Hash::from_base64).collect::<Result<_, _>>()?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(ParseTlogProofError::TooManyHashes);
        }
        Ok(Self { index, hashes, checkpoint: SignedNote::parse(note)?, extra })
    }

    /// Checks that the log with the name of `key` has the leaf at this proof's index, and that the
    /// key signed the checkpoint.
    ///
    /// Returns the checkpoint that proves the leaf.
    ///
    /// # Errors
    /// The log did not sign the checkpoint, the checkpoint does not cover the leaf, or the hashes
    /// do not lead from the leaf to its root.
    pub fn verify(
        &self,
        leaf_hash: &Hash,
        key: &VerifierKey,
    ) -> Result<Checkpoint, VerifyTlogProofError> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, key, key.name().as_str())?;
        let leaf = checkpoint.size.leaf(self.index)?;
        verify_inclusion(leaf, leaf_hash, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = ParseTlogProofError;

    fn from_str(proof: &str) -> Result<Self, Self::Err> {
        Self::parse(proof)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a text is not a proof file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseTlogProofError {
    /// The text has no blank line, after which the checkpoint must follow.
    #[error("the proof has no checkpoint: put it after a blank line")]
    NoCheckpoint,
    /// The text is something else, or a proof of another version.
    #[error("the proof's first line is not `{FIRST_LINE}`")]
    FirstLine,
    /// The extra data is not valid base64, or too long.
    #[error("the proof's extra data is not base64 of at most {EXTRA_BYTES_MAX} bytes")]
    Extra,
    /// The index line is invalid.
    #[error("`{line}` is not an index: use `index <decimal number without leading zeros>`")]
    Index {
        /// The beginning of the line.
        line: String,
    },
    /// A line of the inclusion proof is not a hash.
    #[error("a line of the proof is not a hash")]
    Hash(#[from] InvalidHash),
    /// The inclusion proof has more hashes than any tree is high.
    #[error("the proof has more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// The checkpoint is not a signed note.
    #[error("the proof's checkpoint is not a signed note")]
    Checkpoint(#[from] ParseNoteError),
}

/// Why a proof does not prove its leaf.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyTlogProofError {
    /// The checkpoint is not one of the log.
    #[error("cannot open the proof's checkpoint")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The checkpoint does not cover the leaf.
    #[error("the proof's checkpoint does not cover its leaf")]
    Leaf(#[from] NotInTree),
    /// The hashes do not lead from the leaf to the checkpoint's root.
    #[error("the proof does not lead to its checkpoint")]
    Inclusion(#[from] InclusionError),
}

fn parse_extra(line: &str) -> Result<Vec<u8>, ParseTlogProofError> {
    let encoded = line.strip_prefix("extra ").unwrap_or(line);
    // Base64 encodes three bytes as four characters.
    if encoded.len() > EXTRA_BYTES_MAX.div_ceil(3) * 4 {
        return Err(ParseTlogProofError::Extra);
    }
    let extra = STANDARD.decode(encoded).map_err(|_undecodable| ParseTlogProofError::Extra)?;
    if extra.len() <= EXTRA_BYTES_MAX { Ok(extra) } else { Err(ParseTlogProofError::Extra) }
}

fn parse_index(line: &str) -> Result<LeafIndex, ParseTlogProofError> {
    line.strip_prefix("index ")
        .and_then(parse_decimal)
        .map(LeafIndex::new)
        .ok_or_else(|| ParseTlogProofError::Index { line: excerpt(line) })
}
