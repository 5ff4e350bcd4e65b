//! The newest checkpoint.

use tlog::Checkpoint;

/// A checkpoint that was made durable and may be shown to anyone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
}
