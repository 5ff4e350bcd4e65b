//! The operator's files in a backup, under a signature of the log's key: the file `manifest`.
//!
//! `docs/formats/backup.md` describes it. It is a signed note. Its first line names its purpose and
//! its second line is not a number, so nobody can pass a manifest off as a checkpoint, or a
//! checkpoint as a manifest. It names the checkpoint of the backup, so nobody can move files of one
//! backup into another.

use std::fmt;

use key_history::KeyHistory;
use model::Timestamp;
use tlog::{Checkpoint, Hash, Origin, SignedNote, Signer, TreeSize};

use crate::folder::CONFIGURATION;

/// File name in a backup.
pub(crate) const MANIFEST: &str = "manifest";
/// Largest manifest in bytes. A file takes about 100, and a few lines and a signature come with it;
/// this is many times more.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 16 << 10;
/// The first line. No other text that this key signs begins with it.
const CONTEXT: &str = "sealwire backup manifest v1";

/// The operator's files in a backup, with their hashes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Origin of the log.
    pub origin: Origin,
    /// Number of leaves in the backup's checkpoint.
    pub size: TreeSize,
    /// Root hash of that checkpoint.
    pub root: Hash,
    /// When the backup was made, by the clock of the machine that made it.
    pub made_at: Timestamp,
    /// The files, in a fixed order. A file that is not listed did not exist.
    pub files: Vec<Listed>,
}

/// A file and the hash of its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Name of the file in the backup.
    pub name: &'static str,
    /// Length of its content.
    pub bytes: u64,
    /// Hash of its content.
    pub sha256: Hash,
}

impl Listed {
    pub(crate) fn of(name: &'static str, content: &[u8]) -> Self {
        Self { name, bytes: content.len() as u64, sha256: Hash::sha256(content) }
    }
}

impl Manifest {
    /// Signs the manifest as a note.
    pub(crate) fn sign(&self, signer: &Signer) -> String {
        SignedNote::sign(&self.to_string(), signer)
            .expect("a manifest's lines have no control characters")
            .to_string()
    }

    /// Opens the manifest of the backup that ends with this checkpoint. The key that the log had
    /// then must have signed it.
    ///
    /// # Errors
    /// The note is not a manifest, another key signed it, or it belongs to another backup.
    pub fn open(
        note: &str,
        checkpoint: &Checkpoint,
        keys: &KeyHistory,
    ) -> Result<Self, ManifestError> {
        let note = SignedNote::parse(note).map_err(|error| malformed(error.to_string()))?;
        let key = keys.at(checkpoint.size.get());
        let verified = note
            .verify(std::slice::from_ref(key))
            .map_err(|_| ManifestError::NotSigned { vkey: key.to_string() })?;
        let manifest = Self::parse(verified.text())?;
        if (&manifest.origin, manifest.size, manifest.root)
            == (&checkpoint.origin, checkpoint.size, checkpoint.root)
        {
            Ok(manifest)
        } else {
            let size = manifest.size.get();
            Err(ManifestError::OtherBackup { origin: manifest.origin.to_string(), size })
        }
    }

    /// The file with this name, as it was when the manifest was signed.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Listed> {
        self.files.iter().find(|file| file.name == name)
    }

    fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = text.lines();
        let mut next = |name: &str| {
            let line = lines.next().ok_or_else(|| malformed(format!("it has no line `{name}`")))?;
            let words = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            words.ok_or_else(|| malformed(format!("expected `{name}`, found `{line}`")))
        };
        if text.lines().next() != Some(CONTEXT) {
            return Err(malformed(format!("its first line is not `{CONTEXT}`")));
        }
        let _context = next("sealwire")?;
        let origin = next("origin")?;
        let origin = Origin::parse(origin).map_err(|error| malformed(error.to_string()))?;
        let (size, root) = two(next("checkpoint")?)?;
        let size = number(size)?;
        let root = Hash::from_base64(root).map_err(|error| malformed(error.to_string()))?;
        let made_at = next("made-at")?.parse::<Timestamp>();
        let made_at = made_at.map_err(|error| malformed(error.to_string()))?;
        let files = lines.map(listed).collect::<Result<Vec<_>, _>>()?;
        // The order of the table also ensures that no file appears twice.
        let place = |file: &Listed| CONFIGURATION.iter().position(|known| *known == file.name);
        if !files.is_sorted_by(|one, next| place(one) < place(next)) {
            return Err(malformed("its files are not sorted, or a file is listed twice".into()));
        }
        let manifest = Self { origin, size: TreeSize::new(size), root, made_at, files };
        // A manifest has exactly one form: other line ends, upper-case digits or a missing last
        // line are refused.
        if manifest.to_string() != text {
            return Err(malformed("it is not in the canonical form of a manifest".into()));
        }
        Ok(manifest)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root, made_at, files } = self;
        writeln!(f, "{CONTEXT}\norigin {origin}\ncheckpoint {size} {}", root.to_base64())?;
        writeln!(f, "made-at {made_at}")?;
        files.iter().try_for_each(|Listed { name, bytes, sha256 }| {
            writeln!(f, "file {name} {bytes} {sha256}")
        })
    }
}

fn listed(line: &str) -> Result<Listed, ManifestError> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["file", name, bytes, sha256] = words[..] else {
        return Err(malformed(format!("`{line}` is not `file NAME BYTES SHA-256`")));
    };
    let known = CONFIGURATION.iter().find(|known| **known == name);
    let name = known.ok_or_else(|| malformed(format!("a backup has no file `{name}`")))?;
    Ok(Listed { name, bytes: number(bytes)?, sha256: parse_sha256(sha256)? })
}

fn two(text: &str) -> Result<(&str, &str), ManifestError> {
    text.split_once(' ').ok_or_else(|| malformed(format!("`{text}` is not two words")))
}

fn number(text: &str) -> Result<u64, ManifestError> {
    let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
    number.ok_or_else(|| malformed(format!("`{text}` is not a number")))
}

fn parse_sha256(text: &str) -> Result<Hash, ManifestError> {
    let mut bytes = [0; Hash::LEN];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| malformed(format!("`{text}` is not a SHA-256 in hex")))?;
    Ok(Hash::from_bytes(bytes))
}

const fn malformed(reason: String) -> ManifestError {
    ManifestError::Malformed { reason }
}

/// Why a manifest does not speak for a backup.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// The text is not a manifest.
    #[error("it is malformed: {reason}")]
    Malformed {
        /// The rule that it breaks.
        reason: String,
    },
    /// The log's key did not sign the manifest.
    #[error("it is not signed by {vkey}, the log's key at the end of the backup")]
    NotSigned {
        /// The key that the log has at the backup's end.
        vkey: String,
    },
    /// The manifest belongs to another backup.
    #[error("it belongs to another backup: of {origin}, with a checkpoint of {size} leaves")]
    OtherBackup {
        /// Origin that the manifest names.
        origin: String,
        /// Number of leaves in the checkpoint that the manifest names.
        size: u64,
    },
}

#[cfg(test)]
mod tests {
    use tlog::KeyName;

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            origin: Origin::parse("sealwire.local/plant").unwrap(),
            size: TreeSize::new(42),
            root: Hash::sha256(b"root"),
            made_at: Timestamp::from_unix_micros(1_795_600_000_000_000),
            files: vec![Listed::of("pangea.json", b"{}"), Listed::of("retention", b"TEST 9d\n")],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let empty = Manifest { files: Vec::new(), ..manifest() };
        for manifest in [manifest(), empty] {
            assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest));
        }
    }

    #[test]
    fn no_manifest_is_a_checkpoint_and_no_checkpoint_a_manifest() {
        let key = KeyName::parse("sealwire.local/plant").unwrap();
        let signer = Signer::from_seed(key, &[7; 32]);
        let note = manifest().sign(&signer);
        assert!(Checkpoint::open(&note, signer.vkey()).is_err());
        // The same holds for a log whose origin is the first line.
        assert!(Checkpoint::parse(&manifest().to_string()).is_err());
        let checkpoint = Checkpoint::new(
            Origin::parse(CONTEXT).unwrap(),
            TreeSize::new(42),
            Hash::sha256(b"root"),
        );
        assert!(Manifest::parse(&checkpoint.to_string()).is_err());
    }

    #[test]
    fn what_is_not_a_manifest_is_refused() {
        let text = manifest().to_string();
        for (from, to, reason) in [
            ("v1\n", "v2\n", "first line"),
            ("origin ", "", "expected `origin`"),
            ("checkpoint 42", "checkpoint 042", "`042` is not a number"),
            ("checkpoint 42 ", "checkpoint 42", "not two words"),
            ("made-at 2", "made-at x", "x"),
            ("file retention 8", "file retention", "`file NAME BYTES SHA-256`"),
            ("file retention", "file site.key", "no file `site.key`"),
            ("file retention", "file ../retention", "a backup has no file"),
            ("file retention", "file pangea.json", "listed twice"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let error = Manifest::parse(&changed).unwrap_err().to_string();
            assert!(error.contains(reason), "{from} -> {to}: {error}");
        }
        for end in 0..text.len() {
            // A truncated manifest is refused, or has fewer files, which the signature does not
            // cover.
            let parsed = text.get(..end).map(Manifest::parse);
            assert_ne!(parsed, Some(Ok(manifest())), "{end}");
        }
    }
}
