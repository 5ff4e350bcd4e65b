//! The change to another signing key, as a statement that both keys sign.
//!
//! The statement is a C2SP signed note, so any note verifier can check it. Its text has five lines:
//! a title, the log's origin, the leaf of the event that carries the statement, the old verifier
//! key and the new one. The leaf keeps anyone from using the statement a second time.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
};

use tlog::{
    InvalidNoteText, NoteSignature, ParseNoteError, SignedNote, Signer, VerifierKey,
    VerifyNoteError,
};

const TITLE: &str = "sealwire key rotation v1";

fn text(origin: &str, leaf: u64, old: &VerifierKey, new: &VerifierKey) -> String {
    format!("{TITLE}\n{origin}\n{leaf}\n{old}\n{new}\n")
}

/// Makes the statement for the event at `leaf`, signed by both keys.
///
/// # Errors
/// The origin is not valid in the text of a note.
pub fn state(
    origin: &str,
    leaf: u64,
    old: &Signer,
    new: &Signer,
) -> Result<String, InvalidNoteText> {
    let text = text(origin, leaf, old.vkey(), new.vkey());
    let note = SignedNote::sign(&text, old)?;
    let second = SignedNote::sign(&text, new)?;
    let signature = second.signatures().first().map(NoteSignature::to_string).unwrap_or_default();
    Ok(format!("{note}{signature}\n"))
}

/// Checks that the statement of the event at `leaf` introduces `new` after `old`.
///
/// # Errors
/// The statement has another text, or one of the two keys did not sign it.
pub fn verify(
    statement: &str,
    origin: &str,
    leaf: u64,
    old: &VerifierKey,
    new: &VerifierKey,
) -> Result<(), InvalidRotation> {
    if old.name() != new.name() {
        return Err(InvalidRotation::Name { name: new.name().as_str().to_owned() });
    }
    let note = SignedNote::parse(statement)?;
    if note.unverified_text() != text(origin, leaf, old, new) {
        return Err(InvalidRotation::Text);
    }
    for key in [old, new] {
        note.verify(core::slice::from_ref(key))
            .map_err(|source| InvalidRotation::Signature { key: key.to_string(), source })?;
    }
    Ok(())
}

/// Why a rotation is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRotation {
    /// The statement is not a signed note.
    #[error("the statement of the rotation is not a signed note")]
    Note(#[from] ParseNoteError),
    /// The statement is about another log, leaf or key.
    #[error("the statement of the rotation names another log, leaf or key")]
    Text,
    /// The new key has another name, so it could not sign a checkpoint of this log.
    #[error(
        "the new key has the name `{name}`: it must have the same name as the log's earlier keys"
    )]
    Name {
        /// Name of the new key.
        name: String,
    },
    /// A signature is missing or invalid.
    #[error("the statement of the rotation is not signed by {key}")]
    Signature {
        /// The key whose signature is not valid.
        key: String,
        /// The error of the verification.
        source: VerifyNoteError,
    },
}

#[cfg(test)]
mod tests {
    use tlog::KeyName;

    use super::*;

    #[test]
    fn both_keys_must_have_signed_for_this_very_leaf() {
        let signer = |seed| Signer::from_seed(KeyName::parse("log.test").unwrap(), &[seed; 32]);
        let (old, new, other) = (signer(1), signer(2), signer(3));
        let statement = state("log.test", 7, &old, &new).unwrap();
        let check = |statement: &str, origin, leaf, old: &Signer, new: &Signer| {
            verify(statement, origin, leaf, old.vkey(), new.vkey())
        };
        check(&statement, "log.test", 7, &old, &new).unwrap();
        for (origin, leaf, old, new) in [
            ("log.test", 8, &old, &new),
            ("log.other", 7, &old, &new),
            ("log.test", 7, &new, &old),
            ("log.test", 7, &old, &other),
        ] {
            assert!(check(&statement, origin, leaf, old, new).is_err());
        }
        let one_signature = statement.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
        assert!(matches!(
            check(&one_signature, "log.test", 7, &old, &new),
            Err(InvalidRotation::Signature { .. })
        ));
    }
}
