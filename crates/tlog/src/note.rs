//! Notes: text followed by signature lines, readable for people and programs.
//!
//! C2SP signed-note. Parsing a note proves nothing: use its text only after verification, as
//! [`VerifiedNote::text`]. A verifier keeps and ignores signatures of keys that it does not know,
//! so keys can change and witnesses can be added. [`cosignature`](crate::cosignature) reads the
//! lines of witnesses.
//!
//! Invariants of a [`SignedNote`]: `text` ends in a newline and has no other control character
//! below U+0020; there are 1 to [`SIGNATURES_MAX`] signatures. Formatting a parsed note gives the
//! same bytes.

mod key;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) use self::key::COSIGNATURE;
pub use self::key::{
    InvalidKeyName, KeyId, KeyName, ParseKeyError, PrivateKey, PublicKey, Signer, VerifierKey,
};
use crate::excerpt::excerpt;

/// Most bytes of a note: twice what sixteen post-quantum signatures take (5 kB each, in base64).
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// Most signatures on a note; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;

/// Beginning of a signature line: an em dash (U+2014) and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A note whose signatures have not been checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteSignature {
    /// Name of the key that is said to have made the signature.
    pub name: KeyName,
    /// ID of the key.
    pub id: KeyId,
    /// The signature, in the format of its type.
    pub bytes: Vec<u8>,
}

/// The text of a note, and the known keys that signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedNote<'a> {
    text: &'a str,
    signers: Vec<&'a VerifierKey>,
}

impl SignedNote {
    /// Signs `text`, which must end in a newline.
    ///
    /// # Errors
    /// The text does not end in a newline, or has another control character.
    pub fn sign(text: &str, signer: &Signer) -> Result<Self, InvalidNoteText> {
        if !text.ends_with('\n') || has_control_characters(text) {
            return Err(InvalidNoteText);
        }
        let signature = NoteSignature::by(signer, signer.sign_message(text).into());
        Ok(Self { text: text.into(), signatures: alloc::vec![signature] })
    }

    /// Parses a note in the form in which it is stored and sent.
    ///
    /// # Errors
    /// The note is too long, has a control character other than newlines, does not end in a
    /// newline, has no signature lines or too many, or a signature line is invalid.
    pub fn parse(note: &str) -> Result<Self, ParseNoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(ParseNoteError::TooLong { bytes: note.len() });
        }
        if has_control_characters(note) {
            return Err(ParseNoteError::ControlCharacter);
        }
        // The text may have blank lines; the last one ends it.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(ParseNoteError::Unsigned)?;
        let lines = match signatures.strip_suffix('\n') {
            Some(lines) => lines,
            None if signatures.is_empty() => return Err(ParseNoteError::Unsigned),
            None => return Err(ParseNoteError::CutOff),
        };
        let count = lines.split('\n').count();
        if count > SIGNATURES_MAX {
            return Err(ParseNoteError::TooManySignatures { count });
        }
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: alloc::format!("{text}\n"), signatures })
    }

    /// The text, unchecked, with its final newline.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The signatures, unchecked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks every signature in the name of one of `keys`.
    ///
    /// At least one must be valid and none may be invalid. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// A signature in the name of one of `keys` is invalid, or there is none.
    pub fn verify<'a>(
        &'a self,
        keys: &'a [VerifierKey],
    ) -> Result<VerifiedNote<'a>, VerifyNoteError> {
        let made = |key: &VerifierKey, signature: &NoteSignature| {
            key.made(&signature.bytes, &self.text).then_some(())
        };
        let mut signers = Vec::new();
        for (signer, ()) in self.signatures_of(keys, made)? {
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
        if signers.is_empty() {
            return Err(VerifyNoteError::NoKnownKey);
        }
        Ok(VerifiedNote { text: &self.text, signers })
    }

    /// The signatures that some of `keys` made, each with the answer of `made`. If a signature in
    /// the name of such a key is invalid, the whole note is refused (C2SP signed-note, Signatures).
    pub(crate) fn signatures_of<'a, T, const TYPE: u8>(
        &self,
        keys: &'a [PublicKey<TYPE>],
        made: impl Fn(&PublicKey<TYPE>, &NoteSignature) -> Option<T>,
    ) -> Result<Vec<(&'a PublicKey<TYPE>, T)>, VerifyNoteError> {
        let mut found = Vec::new();
        for signature in &self.signatures {
            let mut named = keys.iter().filter(|key| signature.names(key)).peekable();
            if named.peek().is_none() {
                continue;
            }
            // Two keys may have the same name and ID; the signature fits only one of them.
            let signer = named.find_map(|key| Some((key, made(key, signature)?)));
            found.push(signer.ok_or_else(|| VerifyNoteError::BadSignature {
                name: signature.name.clone(),
                id: signature.id,
            })?);
        }
        Ok(found)
    }

    /// The same note with only the signatures in the name of some of `keys`.
    pub(crate) fn with_signatures_of<const TYPE: u8>(&self, keys: &[PublicKey<TYPE>]) -> Self {
        let is_of_key = |signature: &&NoteSignature| keys.iter().any(|key| signature.names(key));
        let signatures = self.signatures.iter().filter(is_of_key).cloned().collect();
        Self { text: self.text.clone(), signatures }
    }

    /// Adds a signature, unchecked, and replaces an earlier one of its key. Returns `false` if it
    /// was left out because the note has [`SIGNATURES_MAX`] signatures of other keys.
    pub fn put_signature(&mut self, signature: NoteSignature) -> bool {
        let is_of_key =
            |old: &&mut NoteSignature| old.name == signature.name && old.id == signature.id;
        if let Some(old) = self.signatures.iter_mut().find(is_of_key) {
            *old = signature;
        } else if self.signatures.len() < SIGNATURES_MAX {
            self.signatures.push(signature);
        } else {
            return false;
        }
        true
    }
}

impl<'a> VerifiedNote<'a> {
    /// The text, with its final newline.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The keys whose signatures were verified, at least one, each once.
    pub fn signers(&self) -> &[&'a VerifierKey] {
        &self.signers
    }
}

impl NoteSignature {
    /// A signature line with these bytes, in the name of the key.
    pub(crate) fn by<const TYPE: u8>(signer: &PrivateKey<TYPE>, bytes: Vec<u8>) -> Self {
        let key = signer.vkey();
        Self { name: key.name().clone(), id: key.id(), bytes }
    }

    /// Whether the line names this key.
    pub(crate) fn names<const TYPE: u8>(&self, key: &PublicKey<TYPE>) -> bool {
        self.name == *key.name() && self.id == key.id()
    }

    /// Parses a signature line, without its newline.
    ///
    /// # Errors
    /// The line is not a signature line.
    pub fn parse(line: &str) -> Result<Self, ParseNoteError> {
        let refused = || ParseNoteError::SignatureLine { line: excerpt(line) };
        let (name, signature) = line
            .strip_prefix(SIGNATURE_PREFIX)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(refused)?;
        let signature = STANDARD.decode(signature).map_err(|_undecodable| refused())?;
        let (id, bytes) = signature.split_first_chunk().ok_or_else(refused)?;
        Ok(Self {
            name: KeyName::parse(name).map_err(|_not_a_name| refused())?,
            id: KeyId::from_bytes(*id),
            bytes: bytes.into(),
        })
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = [self.id.as_bytes().as_slice(), &self.bytes].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(signature))
    }
}

/// The text cannot be the text of a note.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the text cannot be in a note: it must end with a newline and have no other control characters"
)]
pub struct InvalidNoteText;

/// Why a text is not a signed note.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseNoteError {
    /// The note is too long.
    #[error("the note has {bytes} bytes, but at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Length of the note in bytes.
        bytes: usize,
    },
    /// The note has a control character other than a newline.
    #[error("the note has a control character: only newlines are allowed")]
    ControlCharacter,
    /// The note has no signature lines.
    #[error("the note is not signed: it must end with a blank line and signature lines")]
    Unsigned,
    /// The note does not end in a newline.
    #[error("the note does not end with a newline")]
    CutOff,
    /// The note has too many signatures.
    #[error("the note has {count} signatures, but at most {SIGNATURES_MAX} are read")]
    TooManySignatures {
        /// Number of signatures.
        count: usize,
    },
    /// A line after the last blank one is not a signature.
    #[error("`{line}` is not a signature: use `\u{2014} <key name> <base64>`")]
    SignatureLine {
        /// The beginning of the line.
        line: String,
    },
}

/// Why a note is not verified.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyNoteError {
    /// A signature in the name of a known key is not one of this text.
    #[error("the signature of `{name}` (key {id}) does not match this text")]
    BadSignature {
        /// Name of the key.
        name: KeyName,
        /// ID of the key.
        id: KeyId,
    },
    /// No signature is in the name of a known key.
    #[error("none of the note's signatures is from a known key")]
    NoKnownKey,
}

fn has_control_characters(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}
