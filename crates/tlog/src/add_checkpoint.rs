//! The request that a log sends to a witness, and how a witness judges it.
//!
//! C2SP tlog-witness, add-checkpoint. A witness judges in the order of the specification. It parses
//! the body ([`AddCheckpoint::parse`]). It finds the log's keys by
//! [`AddCheckpoint::claimed_origin`] and checks that they signed the checkpoint
//! ([`AddCheckpoint::authenticate`]). It checks that the checkpoint extends what it recorded last
//! ([`Submission::judge`]). The caller keeps the record: until the new record is durable, it must
//! judge no other request for that log. The caller also maps refusals to HTTP statuses.
//!
//! The optional call sign-subtree is not implemented.
//!
//! Invariants: a key that the witness trusts for its origin has signed every [`Submission`]. A
//! [`TreeHead`] from [`Submission::judge`] extends the one that it was given.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::checkpoint::{Checkpoint, Origin, ParseCheckpointError};
use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::hash::{Hash, InvalidHash, empty_root};
use crate::note::{NOTE_BYTES_MAX, ParseNoteError, SignedNote, VerifierKey, VerifyNoteError};
use crate::proof::{ConsistencyError, verify_consistency};
use crate::tree::{Shrunk, TreeSize};

/// Most lines of a consistency proof: the specification allows no more, and no tree needs more.
pub const PROOF_LINES_MAX: usize = 63;

/// Most bytes of a request: the largest note, the longest proof (45 bytes a line) and the first
/// line (`old `, 20 digits, newline) with the empty one.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + PROOF_LINES_MAX * 45 + 26;

/// A request to cosign a checkpoint, unchecked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness is believed to have cosigned last; 0 for none.
    pub old_size: TreeSize,
    /// Proof that the new tree extends the old one; at most [`PROOF_LINES_MAX`] hashes.
    pub proof: Vec<Hash>,
    /// The checkpoint to cosign, as the log signed it.
    pub checkpoint: SignedNote,
}

/// Size and root of a tree: what a witness has recorded of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: TreeSize,
    /// Root of the tree of that size.
    pub root: Hash,
}

/// A request whose checkpoint a trusted key of the log has signed.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    request: &'a AddCheckpoint,
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl AddCheckpoint {
    /// Parses a request's body.
    ///
    /// # Errors
    /// The body has an invalid line or no checkpoint.
    pub fn parse(body: &str) -> Result<Self, ParseAddCheckpointError> {
        // Neither the first line nor a hash is empty, so the first empty line precedes the
        // checkpoint.
        let (head, note) = body.split_once("\n\n").ok_or(ParseAddCheckpointError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        let first = lines.next().unwrap_or_default();
        let old_size = first
            .strip_prefix("old ")
            .and_then(parse_decimal)
            .map(TreeSize::new)
            .ok_or_else(|| ParseAddCheckpointError::OldSize { line: excerpt(first) })?;
        let proof: Vec<_> =
            lines.take(PROOF_LINES_MAX + 1).map(Hash::from_base64).collect::<Result<_, _>>()?;
        if proof.len() > PROOF_LINES_MAX {
            return Err(ParseAddCheckpointError::TooManyHashes);
        }
        Ok(Self { old_size, proof, checkpoint: SignedNote::parse(note)? })
    }

    /// The log that the checkpoint claims to be of, unverified. It only selects the keys to try.
    ///
    /// # Errors
    /// The note is not a checkpoint.
    pub fn claimed_origin(&self) -> Result<Origin, ParseCheckpointError> {
        Checkpoint::parse(self.checkpoint.unverified_text()).map(|checkpoint| checkpoint.origin)
    }

    /// Checks that one of the keys that are trusted for the claimed origin has signed the
    /// checkpoint, and that no signature in the name of such a key is invalid.
    ///
    /// # Errors
    /// No key signed the checkpoint, a signature in the name of a key is invalid, or the note is
    /// not a checkpoint.
    pub fn authenticate(&self, keys: &[VerifierKey]) -> Result<Submission<'_>, AuthenticateError> {
        let text = self.checkpoint.verify(keys)?.text();
        let checkpoint = Checkpoint::parse(text)?;
        let note = self.checkpoint.with_signatures_of(keys);
        Ok(Submission { request: self, checkpoint, note })
    }
}

impl TreeHead {
    /// The record of a witness that never saw the log: the empty tree.
    pub fn empty() -> Self {
        Self { size: TreeSize::EMPTY, root: empty_root() }
    }

    /// The size and root of a checkpoint.
    pub const fn of(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size, root: checkpoint.root }
    }
}

impl Submission<'_> {
    /// The checkpoint that the log signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint's note with the signatures of the log's keys and no others.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The tree that the witness must record next, if the checkpoint extends what it has
    /// `recorded`.
    ///
    /// # Errors
    /// The witness must not cosign the checkpoint; the error has the reason.
    pub fn judge(&self, recorded: TreeHead) -> Result<TreeHead, RefuseError> {
        let old_size = self.request.old_size;
        let new = TreeHead::of(&self.checkpoint);
        let growth = new.size.extends(old_size)?;
        if old_size != recorded.size {
            return Err(RefuseError::Conflict { recorded: recorded.size, old_size });
        }
        if new.size == TreeSize::EMPTY && new.root != empty_root() {
            return Err(RefuseError::EmptyTree { root: new.root });
        }
        verify_consistency(growth, &recorded.root, &new.root, &self.request.proof)?;
        Ok(new)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a body is not an add-checkpoint request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseAddCheckpointError {
    /// The body has no empty line, after which the checkpoint must follow.
    #[error("the request has no checkpoint: put it after an empty line")]
    NoCheckpoint,
    /// The first line does not give the old size.
    #[error("`{line}` is not an old size: use `old <decimal number without leading zeros>`")]
    OldSize {
        /// The beginning of the line.
        line: String,
    },
    /// A line of the proof is not a hash.
    #[error("a line of the consistency proof is not a hash")]
    Hash(#[from] InvalidHash),
    /// The proof has more lines than any tree needs.
    #[error("the consistency proof has more than {PROOF_LINES_MAX} lines")]
    TooManyHashes,
    /// The checkpoint is not a signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] ParseNoteError),
}

/// Why no key that the witness trusts has signed a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthenticateError {
    /// None of the log's keys signed the checkpoint, or a signature in the name of one is invalid.
    #[error("the checkpoint is not signed by a key of the log")]
    Signature(#[from] VerifyNoteError),
    /// The note is signed, but is not a checkpoint.
    #[error("the signed note is not a checkpoint")]
    Text(#[from] ParseCheckpointError),
}

/// Why a witness does not cosign a signed checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefuseError {
    /// The old size is larger than the checkpoint's.
    #[error("the old size is larger than the checkpoint")]
    Shrunk(#[from] Shrunk),
    /// The last checkpoint that the witness cosigned has another size.
    #[error("the last checkpoint cosigned has {recorded} leaves, not {old_size}")]
    Conflict {
        /// Size of the last checkpoint that the witness cosigned.
        recorded: TreeSize,
        /// Old size in the request.
        old_size: TreeSize,
    },
    /// The root is not that of a tree without leaves.
    #[error("{root} is not the root of an empty tree")]
    EmptyTree {
        /// Root in the checkpoint.
        root: Hash,
    },
    /// The proof does not show that the checkpoint extends the last cosigned one.
    #[error("the proof does not show that the checkpoint extends the last one cosigned")]
    Inconsistent(#[from] ConsistencyError),
}
