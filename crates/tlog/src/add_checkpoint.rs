//! What a log asks of a witness, and how a witness judges it.
//!
//! C2SP tlog-witness, add-checkpoint. Judging goes in the order of the specification: the body is
//! parsed ([`AddCheckpoint::parse`]); the log's keys, found by [`AddCheckpoint::claimed_origin`],
//! must have signed it ([`AddCheckpoint::authenticate`]); and the checkpoint must extend what the
//! witness recorded last ([`Submission::judge`]). Whoever calls keeps the record: from judging to
//! the durable new record nothing else may be judged for that log. HTTP statuses are the caller's,
//! too.
//!
//! Not here: the optional call sign-subtree.
//!
//! Invariants: a [`Submission`] is signed by a key that the witness trusts for its origin. A
//! [`TreeHead`] that judging gives extends the one it was given.

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
    /// That the new tree extends the old one; at most [`PROOF_LINES_MAX`] hashes.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: SignedNote,
}

/// Size and root: what a witness has recorded of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TreeHead {
    /// Leaves.
    pub size: TreeSize,
    /// Root of the tree of that size.
    pub root: Hash,
}

/// A request whose checkpoint the log has signed.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    request: &'a AddCheckpoint,
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl AddCheckpoint {
    /// Parses a request's body.
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

    /// The log that the checkpoint claims to be of; unverified, it only says which keys to try.
    pub fn claimed_origin(&self) -> Result<Origin, ParseCheckpointError> {
        Checkpoint::parse(self.checkpoint.unverified_text()).map(|checkpoint| checkpoint.origin)
    }

    /// Checks that one of the keys that are trusted for the claimed origin has signed the
    /// checkpoint, and that none is said to have that did not.
    pub fn authenticate(&self, keys: &[VerifierKey]) -> Result<Submission<'_>, AuthenticateError> {
        let text = self.checkpoint.verify(keys)?.text();
        let checkpoint = Checkpoint::parse(text)?;
        let note = self.checkpoint.with_signatures_of(keys);
        Ok(Submission { request: self, checkpoint, note })
    }
}

impl TreeHead {
    /// What a witness has recorded of a log that it never saw.
    pub fn empty() -> Self {
        Self { size: TreeSize::EMPTY, root: empty_root() }
    }

    /// What a checkpoint says.
    pub const fn of(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size, root: checkpoint.root }
    }
}

impl Submission<'_> {
    /// What the log says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint's note with the signatures of the log's keys and no other.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What the witness is to record, if the checkpoint extends what it has `recorded`.
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

/// Why a body is not a request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseAddCheckpointError {
    /// No empty line, and so nothing after it.
    #[error("the request has no checkpoint: it must follow an empty line")]
    NoCheckpoint,
    /// Its first line is none.
    #[error("`{line}` gives no old size: use `old <decimal number without leading zeros>`")]
    OldSize {
        /// The beginning of the line.
        line: String,
    },
    /// A line of the proof is no hash.
    #[error("a line of the consistency proof is not a hash")]
    Hash(#[from] InvalidHash),
    /// The proof is too long.
    #[error("the consistency proof has more than {PROOF_LINES_MAX} lines")]
    TooManyHashes,
    /// The checkpoint is not a signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] ParseNoteError),
}

/// Why nobody whom the witness trusts has signed a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthenticateError {
    /// No key of the log signed it, or one is said to have that did not.
    #[error("the log's keys did not sign the checkpoint")]
    Signature(#[from] VerifyNoteError),
    /// It is signed, but not a checkpoint.
    #[error("the signed note is not a checkpoint")]
    Text(#[from] ParseCheckpointError),
}

/// Why a signed checkpoint is not cosigned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefuseError {
    /// The old size is larger than the checkpoint's.
    #[error("the old size is larger than the checkpoint")]
    Shrunk(#[from] Shrunk),
    /// The witness has cosigned another size last.
    #[error("the last checkpoint cosigned has {recorded} leaves, not {old_size}")]
    Conflict {
        /// What it has cosigned last.
        recorded: TreeSize,
        /// What the request says.
        old_size: TreeSize,
    },
    /// A tree without leaves has another root than that.
    #[error("{root} is not the root of a tree without leaves")]
    EmptyTree {
        /// What the checkpoint says.
        root: Hash,
    },
    /// The proof does not show that the checkpoint extends what was cosigned.
    #[error("the checkpoint is not shown to extend the last one cosigned")]
    Inconsistent(#[from] ConsistencyError),
}
