//! What anyone can recompute of what a server of Pangea's API shows.

use serde_json::{Value, value::RawValue};
use tlog::{Hash, NodeHash as _, Pangea};

/// Parses a hash in hex.
///
/// # Errors
/// The text is no such hash.
pub fn parse_hash(text: &str) -> Result<Hash, String> {
    let mut bytes = [0; Hash::LEN];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(Hash::from_bytes(bytes)),
        Err(_) => Err("a hash is not 64 hex digits".to_owned()),
    }
}

/// Whether a server may name this envelope by this hash: that of its bytes as they came, of its
/// canonical form (RFC 8785), or of the form that the Python SDK hashes, which writes whole numbers
/// with a fraction (`1.0`).
#[must_use]
pub fn is_hash_of(hash: &Hash, envelope: &RawValue) -> bool {
    let is_of = |bytes: &[u8]| Hash::sha256(bytes) == *hash;
    is_of(envelope.get().as_bytes()) || {
        let Ok(value) = serde_json::from_str::<Value>(envelope.get()) else { return false };
        let canonical = serde_json_canonicalizer::to_vec(&value);
        canonical.is_ok_and(|canonical| is_of(&canonical)) || is_of(value.to_string().as_bytes())
    }
}

/// Leads a membership proof from a hash to a root, as the SDKs do.
///
/// # Errors
/// The text is not a proof.
pub fn fold(hash: Hash, proof: &str) -> Result<Hash, String> {
    steps(proof).try_fold(hash, |hash, step| {
        let (side, sibling) = step?;
        Ok(match side {
            Side::Left => Pangea::node(&sibling, &hash),
            Side::Right => Pangea::node(&hash, &sibling),
        })
    })
}

/// The side of a sibling in a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// `l:`
    Left,
    /// `r:`
    Right,
}

/// The steps of a proof, from the leaf to the root.
pub(crate) fn steps(proof: &str) -> impl Iterator<Item = Result<(Side, Hash), String>> {
    proof.split(',').filter(|step| !step.is_empty()).map(|step| match step.split_once(':') {
        Some(("l", sibling)) => Ok((Side::Left, parse_hash(sibling)?)),
        Some(("r", sibling)) => Ok((Side::Right, parse_hash(sibling)?)),
        _ => Err("a step of the proof is neither `l:` nor `r:`".to_owned()),
    })
}
