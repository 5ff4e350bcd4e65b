//! Cosignatures: a witness's statement about a log's checkpoint, with its time.
//!
//! C2SP tlog-cosignature. This module implements the Ed25519 type (0x04), not the ML-DSA-44 type. A
//! cosignature is an additional signature line of the checkpoint's note: 8 bytes of time and a
//! signature of 64 bytes over the time and the note's text. It states that at that time the
//! checkpoint was the largest consistent tree of the log that the cosigner had seen.
//!
//! Invariant: a [`Cosignature`] was verified. A [`PosixTime`] is 1 to 2^63 - 1.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use crate::checkpoint::Checkpoint;
use crate::note::{
    COSIGNATURE, NoteSignature, PrivateKey, PublicKey, SIGNATURES_MAX, SignedNote, VerifyNoteError,
};

/// First line of what an Ed25519 cosigner signs. It distinguishes the message from a plain note.
const HEADER: &str = "cosignature/v1";

/// The public key of a cosigner of checkpoints, for example a witness; shown as a vkey.
pub type CosignerKey = PublicKey<COSIGNATURE>;

/// The private key of a cosigner of checkpoints.
pub type Cosigner = PrivateKey<COSIGNATURE>;

/// Seconds since the beginning of 1970, leap seconds not counted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PosixTime(u64);

/// A verified cosignature: the key that made it, and the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cosignature<'a> {
    key: &'a CosignerKey,
    at: PosixTime,
}

impl PosixTime {
    /// Returns `None` for 0, which means "no time", and for values beyond 2^63 - 1.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds > 0 && seconds <= i64::MAX.cast_unsigned() { Some(Self(seconds)) } else { None }
    }

    /// Seconds since the beginning of 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl<'a> Cosignature<'a> {
    /// The key that made it.
    pub const fn key(&self) -> &'a CosignerKey {
        self.key
    }

    /// Time at which it was made, by the cosigner's clock.
    pub const fn at(&self) -> PosixTime {
        self.at
    }
}

impl Cosigner {
    /// Cosigns a checkpoint. The caller must have seen no larger tree of the log, and only trees
    /// that are consistent with this one.
    pub fn cosign(&self, checkpoint: &Checkpoint, at: PosixTime) -> NoteSignature {
        let signature = self.sign_message(&message(at, &checkpoint.to_string()));
        NoteSignature::by(self, [at.0.to_be_bytes().as_slice(), &signature].concat())
    }
}

impl CosignerKey {
    /// Time at which this key cosigned a note of this text; `None` if it did not.
    fn cosigned(&self, signature: &NoteSignature, text: &str) -> Option<PosixTime> {
        let (seconds, signature) = signature.bytes.split_first_chunk()?;
        let at = PosixTime::new(u64::from_be_bytes(*seconds))?;
        self.made(signature, &message(at, text)).then_some(at)
    }
}

impl SignedNote {
    /// Checks every cosignature in the name of one of `keys`. All must be valid. Returns the newest
    /// one of each key, in the order of the lines, and ignores those of other keys.
    ///
    /// # Errors
    /// A cosignature in the name of one of `keys` is invalid.
    pub fn cosignatures<'a>(
        &self,
        keys: &'a [CosignerKey],
    ) -> Result<Vec<Cosignature<'a>>, VerifyNoteError> {
        let cosigned = |key: &CosignerKey, signature: &NoteSignature| {
            key.cosigned(signature, self.unverified_text())
        };
        let mut cosignatures: Vec<Cosignature<'a>> = Vec::new();
        for (key, at) in self.signatures_of(keys, cosigned)? {
            match cosignatures.iter_mut().find(|known| known.key == key) {
                Some(known) => known.at = known.at.max(at),
                None => cosignatures.push(Cosignature { key, at }),
            }
        }
        Ok(cosignatures)
    }

    /// Adds the cosignatures of this note that `keys` made and that a witness's answer contains.
    /// Each replaces an older one of its key. Returns the added ones.
    ///
    /// Everything else in the answer is dropped: lines of other keys, signatures of another text,
    /// lines that are not signatures, and everything after [`SIGNATURES_MAX`] lines.
    pub fn merge<'a>(&mut self, answer: &str, keys: &'a [CosignerKey]) -> Vec<Cosignature<'a>> {
        let signatures =
            answer.lines().take(SIGNATURES_MAX).filter_map(|line| NoteSignature::parse(line).ok());
        let mut merged = Vec::new();
        for signature in signatures {
            let cosigned = keys.iter().filter(|key| signature.names(key)).find_map(|key| {
                let at = key.cosigned(&signature, self.unverified_text())?;
                Some(Cosignature { key, at })
            });
            if let Some(cosignature) = cosigned
                && self.put_signature(signature)
            {
                merged.push(cosignature);
            }
        }
        merged
    }
}

impl fmt::Display for PosixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn message(at: PosixTime, text: &str) -> String {
    alloc::format!("{HEADER}\ntime {at}\n{text}")
}
