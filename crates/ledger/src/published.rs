//! A published checkpoint.

use tlog::Checkpoint;

/// A durable checkpoint, which may be shown to anyone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// The parsed checkpoint: origin, size and root.
    pub checkpoint: Checkpoint,
    /// The signed note of the checkpoint, as text.
    pub note: String,
}
