//! Cosignatures: what a witness says about a log's checkpoint, and when it said so.
//!
//! C2SP tlog-cosignature, of which the Ed25519 type (0x04) is known here; the ML-DSA-44 type is
//! not. A cosignature is one more signature line of the checkpoint's note: 8 bytes of time and 64
//! of a signature that covers the time and the note's text. It says that at that time the
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

/// First line of what an Ed25519 cosigner signs; it keeps the message apart from a plain note.
const HEADER: &str = "cosignature/v1";

/// The public key of whoever cosigns checkpoints, a witness for example; shown as a vkey.
pub type CosignerKey = PublicKey<COSIGNATURE>;

/// The private key of whoever cosigns checkpoints.
pub type Cosigner = PrivateKey<COSIGNATURE>;

/// Seconds since the beginning of 1970, leap seconds not counted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PosixTime(u64);

/// A cosignature that holds: who said so, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cosignature<'a> {
    key: &'a CosignerKey,
    at: PosixTime,
}

impl PosixTime {
    /// `None` for 0, which stands for no time, and beyond 2^63 - 1.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds > 0 && seconds <= i64::MAX.cast_unsigned() { Some(Self(seconds)) } else { None }
    }

    /// Seconds since the beginning of 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl<'a> Cosignature<'a> {
    /// Whose it is.
    pub const fn key(&self) -> &'a CosignerKey {
        self.key
    }

    /// When it was made, by the cosigner's clock.
    pub const fn at(&self) -> PosixTime {
        self.at
    }
}

impl Cosigner {
    /// Cosigns a checkpoint. Whoever calls has seen no larger tree of the log, and only trees that
    /// are consistent with this one.
    pub fn cosign(&self, checkpoint: &Checkpoint, at: PosixTime) -> NoteSignature {
        let signature = self.sign_message(&message(at, &checkpoint.to_string()));
        NoteSignature::by(self, [at.0.to_be_bytes().as_slice(), &signature].concat())
    }
}

impl CosignerKey {
    /// When this key cosigned a note of this text, if it did.
    fn cosigned(&self, signature: &NoteSignature, text: &str) -> Option<PosixTime> {
        let (seconds, signature) = signature.bytes.split_first_chunk()?;
        let at = PosixTime::new(u64::from_be_bytes(*seconds))?;
        self.made(signature, &message(at, text)).then_some(at)
    }
}

impl SignedNote {
    /// Checks every cosignature that one of `keys` is said to have made: none may be bad. The
    /// newest of each key is answered, in the order of the lines; those of other keys are ignored.
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

    /// Takes from a witness's answer the cosignatures of this note that `keys` made, each in place
    /// of an older one, and says which.
    ///
    /// Whatever else the answer holds is dropped: lines of other keys, signatures of another text,
    /// what is not a signature line, and everything after [`SIGNATURES_MAX`] lines.
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
