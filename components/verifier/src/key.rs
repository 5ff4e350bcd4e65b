//! A signing key of a log.

/// A key with which a log signs its checkpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Index of the leaf that names the key. The key signs only trees that contain this leaf.
    pub leaf: u64,
    /// The key as a C2SP verifier key (signed-note).
    pub vkey: String,
}
