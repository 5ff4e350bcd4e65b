//! Checkpoints: a log's signed statements about itself.
//!
//! C2SP tlog-checkpoint: a signed note with three lines (the log's name, its size, its root) and,
//! rarely, opaque extension lines. This module does not compare two checkpoints of one log; see
//! [`verify_consistency`](crate::verify_consistency).
//!
//! Invariant: every [`Checkpoint`] can be written as note text, because its lines are not empty and
//! contain no control characters.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::hash::{Hash, InvalidHash};
use crate::note::{ParseNoteError, SignedNote, Signer, VerifierKey, VerifyNoteError};
use crate::tree::TreeSize;

/// Identity of a log, a checkpoint's first line; by custom its URL without a scheme.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin(String);

/// A line after a checkpoint's third. Only the log knows its meaning.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtensionLine(String);

/// The state of a log at one size; shown as its note text, unsigned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Identity of the log.
    pub origin: Origin,
    /// Number of leaves.
    pub size: TreeSize,
    /// Root of the tree of that size.
    pub root: Hash,
    /// Further lines, almost always none: the specification does not recommend them.
    pub extensions: Vec<ExtensionLine>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub const fn new(origin: Origin, size: TreeSize, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Parses a note's text. The caller must have verified the note.
    ///
    /// # Errors
    /// The text has fewer than three lines, or a line is invalid.
    pub fn parse(text: &str) -> Result<Self, ParseCheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(ParseCheckpointError::TooFewLines)?;
        let mut lines = lines.split('\n');
        let mut next_line = || lines.next().ok_or(ParseCheckpointError::TooFewLines);
        let (origin, size, root) = (next_line()?, next_line()?, next_line()?);
        Ok(Self {
            origin: Origin::parse(origin)?,
            size: parse_decimal(size)
                .map(TreeSize::new)
                .ok_or_else(|| ParseCheckpointError::Size { text: excerpt(size) })?,
            root: Hash::from_base64(root)?,
            extensions: lines.map(ExtensionLine::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Signs the checkpoint as a note, ready to be stored and served.
    ///
    /// A log must never sign two checkpoints that are not consistent. The caller is responsible for
    /// that.
    pub fn sign(&self, signer: &Signer) -> String {
        SignedNote::sign(&self.to_string(), signer)
            .expect("a checkpoint's lines hold no control characters")
            .to_string()
    }

    /// Opens a checkpoint that the log with the name of `key` has signed with it.
    ///
    /// # Errors
    /// The text is not a signed note, the key did not sign it, or it is not a checkpoint of that
    /// log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, OpenCheckpointError> {
        Self::verify(&SignedNote::parse(note)?, key, key.name().as_str())
    }

    /// Opens a checkpoint of the log called `origin`, whose key may have another name.
    ///
    /// # Errors
    /// The key did not sign the note, or it is not a checkpoint of that log.
    pub fn verify(
        note: &SignedNote,
        key: &VerifierKey,
        origin: &str,
    ) -> Result<Self, OpenCheckpointError> {
        let checkpoint = Self::parse(note.verify(core::slice::from_ref(key))?.text())?;
        if checkpoint.origin.as_str() == origin {
            Ok(checkpoint)
        } else {
            let expected = origin.into();
            Err(OpenCheckpointError::Origin { origin: checkpoint.origin, expected })
        }
    }
}

impl Origin {
    /// Parses a checkpoint's first line, given without its newline.
    ///
    /// # Errors
    /// The line is empty or has a control character.
    pub fn parse(line: &str) -> Result<Self, InvalidLine> {
        parse_line(line).map(Self)
    }

    /// The line, without its newline.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ExtensionLine {
    /// Parses an extension line, given without its newline.
    ///
    /// # Errors
    /// The line is empty or has a control character.
    pub fn parse(line: &str) -> Result<Self, InvalidLine> {
        parse_line(line).map(Self)
    }

    /// The line, without its newline.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidLine;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        Self::parse(line)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ExtensionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The line is not valid in a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` cannot be a line of a checkpoint: use at least one character and no control characters"
)]
pub struct InvalidLine {
    text: String,
}

/// Why a text is not that of a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseCheckpointError {
    /// The text has fewer than three lines.
    #[error("the checkpoint is cut off: it must have one line each for origin, size and root")]
    TooFewLines,
    /// The origin or an extension line is empty or has a control character.
    #[error("the checkpoint has an invalid line")]
    Line(#[from] InvalidLine),
    /// The second line is not a size.
    #[error("`{text}` is not the size of a tree: use a decimal number without leading zeros")]
    Size {
        /// The beginning of the line.
        text: String,
    },
    /// The third line is not a root.
    #[error("the checkpoint has no valid root")]
    Root(#[from] InvalidHash),
}

/// Why a checkpoint was not opened.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpenCheckpointError {
    /// The text is not a signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] ParseNoteError),
    /// The key did not sign the note.
    #[error("the checkpoint's signature does not verify")]
    Signature(#[from] VerifyNoteError),
    /// The note is signed, but is not a checkpoint.
    #[error("the signed note is not a checkpoint")]
    Text(#[from] ParseCheckpointError),
    /// The checkpoint belongs to another log.
    #[error("the checkpoint is from the log `{origin}`, not from `{expected}`")]
    Origin {
        /// Origin in the checkpoint.
        origin: Origin,
        /// The expected origin.
        expected: String,
    },
}

fn parse_line(text: &str) -> Result<String, InvalidLine> {
    if !text.is_empty() && text.bytes().all(|byte| byte >= b' ') {
        Ok(text.into())
    } else {
        Err(InvalidLine { text: excerpt(text) })
    }
}
