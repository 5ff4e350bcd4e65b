//! Signatures of images: which publisher stands behind a digest.
//!
//! A signature is a note (C2SP signed-note) of three lines: what it is, the repository, and the
//! digest of the image's manifest, which pins every byte of the image. It is kept as an artifact of
//! the type [`SIGNATURE`] whose subject is that manifest, so it is a referrer like any other.
//! Anyone who may publish can push referrers: what is not a signature counts as nothing, and takes
//! nothing from those that are. Nothing here does IO.

use serde_json::json;
use tlog::{KeyName, SignedNote, Signer, VerifierKey};

use crate::{
    manifest,
    name::{Digest, Pinned},
};

/// Type of an artifact whose only layer is a signature.
pub const SIGNATURE: &str = "application/vnd.sealwire.signature.v1";
/// Largest signature in bytes: a note with one line of a signature, and names of hundreds of
/// characters.
pub const SIGNATURE_BYTES_MAX: usize = 2 << 10;
/// Longest name of a publisher in bytes, so that a note with it is never too large.
const NAME_BYTES_MAX: usize = 200;
/// First line of what is signed. In a checkpoint, a number and a hash would follow it, so no
/// signature of one is a signature of the other.
const FIRST_LINE: &str = "sealwire image v1";
/// Type and bytes of an artifact's config that says nothing.
const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// A signature as an artifact: what is pushed to keep it beside its image.
#[derive(Debug)]
pub struct SignatureArtifact {
    /// Config and layer, each with its digest.
    pub blobs: [(String, Vec<u8>); 2],
    /// The manifest, with its digest.
    pub manifest: (String, Vec<u8>),
}

impl SignatureArtifact {
    /// Media type of the manifest.
    pub const MEDIA_TYPE: &str = manifest::IMAGE;

    /// The artifact of a note that signs an image whose manifest has this media type and size.
    #[must_use]
    pub fn new(image: &Pinned, (media_type, size): (&str, u64), note: &str) -> Self {
        let (empty_type, empty) = EMPTY;
        let descriptor = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len(),
            })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": Self::MEDIA_TYPE, "artifactType": SIGNATURE,
            "config": descriptor(empty_type, empty),
            "layers": [descriptor(SIGNATURE, note.as_bytes())],
            "subject": {
                "mediaType": media_type, "digest": image.digest.to_string(), "size": size,
            },
        });
        let named = |bytes: &[u8]| (Digest::of(bytes).to_string(), bytes.to_vec());
        Self {
            blobs: [named(empty), named(note.as_bytes())],
            manifest: named(manifest.to_string().as_bytes()),
        }
    }
}

/// Why a name is not that of a publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a publisher's name has at most {NAME_BYTES_MAX} bytes")]
pub struct LongName;

/// Refuses names with which a signature would be too large.
///
/// # Errors
/// The name is too long.
pub fn check_publisher(name: &KeyName) -> Result<(), LongName> {
    if name.as_str().len() <= NAME_BYTES_MAX { Ok(()) } else { Err(LongName) }
}

impl Pinned {
    /// Signs the image. Returns the note.
    #[must_use]
    pub fn sign(&self, signer: &Signer) -> String {
        let note = SignedNote::sign(&self.signed_text(), signer);
        note.expect("names and digests have no control characters").to_string()
    }

    /// A note that says to be somebody's signature of this image, unchecked. It has one signature,
    /// so that what somebody pushes costs one verification.
    #[must_use]
    pub fn claim(&self, note: &str) -> Option<SignedNote> {
        let note = SignedNote::parse(note).ok()?;
        let is_claim = note.signatures().len() == 1 && note.unverified_text() == self.signed_text();
        is_claim.then_some(note)
    }

    /// The key that made a note's signature of this image, if it is one of these.
    pub fn signer<'a>(
        &self,
        note: &str,
        keys: impl IntoIterator<Item = &'a VerifierKey>,
    ) -> Option<&'a VerifierKey> {
        let claim = self.claim(note)?;
        keys.into_iter().find(|key| claim.verify(std::slice::from_ref(key)).is_ok())
    }

    fn signed_text(&self) -> String {
        format!("{FIRST_LINE}\n{}\n{}\n", self.repository, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use tlog::Checkpoint;

    use super::*;
    use crate::manifest::{IMAGE, Manifest};

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
    }

    fn image(repository: &str, of: &str) -> Pinned {
        format!("{repository}@{}", Digest::of(of.as_bytes())).parse().unwrap()
    }

    #[test]
    fn a_signature_is_of_one_image_in_one_repository_by_one_key() {
        let (a, b, elsewhere) = (image("plant/a", "a"), image("plant/a", "b"), image("other", "a"));
        let (ours, theirs) = (signer("plant.example/ci", 1), signer("plant.example/ci", 2));
        let keys = [signer("another", 1).vkey().clone(), ours.vkey().clone()];
        let note = a.sign(&ours);
        assert_eq!(a.signer(&note, &keys), Some(ours.vkey()));
        let (first, last) = note.trim_end().rsplit_once('\n').unwrap();
        let by = |signer: &Signer| a.sign(signer).lines().last().unwrap().to_owned();
        let no_signatures = [
            (&b, note.clone()),
            (&elsewhere, note.clone()),
            // The words of one with the signature of another.
            (&b, note.replace(&a.digest.to_string(), &b.digest.to_string())),
            (&a, a.sign(&theirs)),
            (&a, format!("{first}\n{}\n", by(&theirs))),
            (&a, format!("{note}{}\n", by(&theirs))),
            (&a, format!("{note}{last}\n")),
            (&a, note.replace("image v1", "image v2")),
            (&a, note.replace('\n', "\r\n")),
            (&a, String::new()),
        ];
        for (image, note) in no_signatures {
            assert_eq!(image.signer(&note, &keys), None, "{note}");
        }
        assert_eq!(a.signer(&note, &keys[..1]), None, "a key that is not listed any more");
    }

    #[test]
    fn no_signature_of_an_image_is_a_checkpoint() {
        let ours = signer(FIRST_LINE.split(' ').next().unwrap(), 1);
        // The name that comes nearest to the size of a tree.
        let note = image("7", "a").sign(&ours);
        let text = SignedNote::parse(&note).unwrap().unverified_text().to_owned();
        assert!(Checkpoint::parse(&text).is_err(), "{text}");
    }

    #[test]
    fn its_artifact_refers_to_the_image_and_needs_no_more_than_it_brings() {
        let (image, ours) = (image("plant/a", "a"), signer("ci", 1));
        let note = image.sign(&ours);
        let made = SignatureArtifact::new(&image, (IMAGE, 17), &note);
        let (digest, bytes) = &made.manifest;
        let parsed = Manifest::parse(SignatureArtifact::MEDIA_TYPE, bytes).unwrap();
        assert_eq!((parsed.subject, digest), (Some(image.digest), &Digest::of(bytes).to_string()));
        assert_eq!(parsed.artifact_type.as_deref(), Some(SIGNATURE));
        let brings = made.blobs.iter().map(|(digest, it)| (digest.clone(), it.len() as u64));
        let needs = parsed.blobs.iter().map(|(digest, size)| (digest.to_string(), *size));
        assert!(brings.eq(needs));
        let long = signer(&"n".repeat(NAME_BYTES_MAX), 1);
        let longest = "r".repeat(200);
        let image: Pinned = format!("{longest}@{}", image.digest).parse().unwrap();
        assert!(check_publisher(long.vkey().name()).is_ok());
        assert!(image.sign(&long).len() <= SIGNATURE_BYTES_MAX);
        assert!(check_publisher(signer(&"n".repeat(201), 1).vkey().name()).is_err());
    }
}
