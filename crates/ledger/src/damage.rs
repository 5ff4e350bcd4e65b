//! Bytes on a disk that are not what was written.

/// What is wrong with a segment's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub(crate) &'static str);
