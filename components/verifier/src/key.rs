//! A key of a log.

/// A key that signs a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The leaf that names it; it signs trees that hold this.
    pub leaf: u64,
    /// It, as a C2SP verifier key.
    pub vkey: String,
}
