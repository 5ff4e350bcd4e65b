//! Bytes on a disk that differ from what was written.

/// Describes what is wrong with a segment's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub(crate) &'static str);
