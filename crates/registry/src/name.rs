//! The names of the distribution specification: repositories, tags and digests.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// Namespace of the site's own components.
pub(crate) const OWN: &str = "sealwire";
/// Most characters of a repository's name. A host's name and port still fit in front of it in the
/// 255 characters that some clients allow for both.
const REPOSITORY_CHARS_MAX: usize = 200;
/// Most characters of a tag, by the specification.
const TAG_CHARS_MAX: usize = 128;

/// Name of a repository: words with `/` between them, such as `sealwire/sensor-reader`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Repository(String);

impl Repository {
    /// The name as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The last of its words.
    pub(crate) fn last_word(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is one of the site's own, into which nobody can publish.
    pub(crate) fn is_own(&self) -> bool {
        self.0.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= REPOSITORY_CHARS_MAX && text.split('/').all(is_word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Repository)
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a part of a repository's name is valid: runs of a-z and 0-9, with one `.`, one or two
/// `_`, or any number of `-` between them. So no part is `..`, and none begins with a separator.
fn is_word(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|c| c == b'-');
    word.starts_with(is_plain) && word.ends_with(is_plain) && word.split(is_plain).all(is_separator)
}

/// A name of a manifest in a repository, which may be moved to another manifest.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Tag(String);

impl Tag {
    /// The tag as text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_next = |c: char| is_first(c) || matches!(c, '.' | '-');
        let is_short = text.len() <= TAG_CHARS_MAX;
        if is_short && text.starts_with(is_first) && text.chars().all(is_next) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Tag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// SHA-256 of content, which names it. As text it is `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Digest of these bytes.
    #[must_use]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digest of the bytes that this hasher was given.
    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The hex digits alone.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidName::Digest)?;
        let mut bytes = [0; 32];
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(InvalidName::Digest);
        }
        hex::decode_to_slice(digits, &mut bytes).map_err(|_malformed| InvalidName::Digest)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", hex::encode(self.0))
    }
}

/// Id of an upload. It cannot be guessed, but the upload also asks for its publisher's token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct UploadId([u8; 16]);

impl UploadId {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl FromStr for UploadId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_malformed| ())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// How a request names a manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reference {
    /// By its tag.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // No tag has a colon.
        if text.contains(':') {
            text.parse().map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// An image by its digest: `<repository>@sha256:<64 hex digits>`. A tag would not say which bytes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pinned {
    pub(crate) repository: Repository,
    pub(crate) digest: Digest,
}

impl Pinned {
    /// Name of the repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.repository.as_str()
    }

    /// Digest of the manifest, as `sha256:` and hex.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }
}

impl FromStr for Pinned {
    type Err = NotPinned;

    fn from_str(text: &str) -> Result<Self, NotPinned> {
        let refused = || NotPinned(text.to_owned());
        let (repository, digest) = text.split_once('@').ok_or_else(refused)?;
        let (Ok(repository), Ok(digest)) = (repository.parse(), digest.parse()) else {
            return Err(refused());
        };
        Ok(Self { repository, digest })
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.digest)
    }
}

/// The text does not name an image by its digest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not an image by its digest: use <repository>@sha256:<64 hex digits>")]
pub struct NotPinned(String);

/// The text is not such a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidName {
    /// Not a repository.
    #[error(
        "a repository's name has at most {REPOSITORY_CHARS_MAX} characters: words of a-z and 0-9, \
         with `/` between them, or `.`, `_`, `__` or `-`"
    )]
    Repository,
    /// Not a tag.
    #[error(
        "a tag has 1 to {TAG_CHARS_MAX} characters of A-Z, a-z, 0-9, `_`, `.` and `-`, and does \
         not begin with `.` or `-`"
    )]
    Tag,
    /// Not a digest.
    #[error("a digest is `sha256:` and 64 lower-case hex digits")]
    Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for name in ["a", "sealwire/sensor-reader", "a.b/c_d/e__f/g---h", "0/1"] {
            assert_eq!(name.parse::<Repository>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a..b",
            "a/../b",
            "..",
            ".",
            "-a",
            "a-",
            "a___b",
            "a._b",
            "a b",
            "a%2fb",
            "a\\b",
            "a\0",
            "ä",
            "a:b",
            "a/.",
            "_a",
            &"a".repeat(201),
        ] {
            assert_eq!(name.parse::<Repository>(), Err(InvalidName::Repository), "{name}");
        }
        let is_own = |name: &str| name.parse::<Repository>().unwrap().is_own();
        assert!(is_own("sealwire") && is_own("sealwire/x") && !is_own("sealwires/x"));
        for tag in ["latest", "0.1.0", "_x", "A-b_c.d", &"a".repeat(128)] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "a%", "ä", &"a".repeat(129)] {
            assert_eq!(tag.parse::<Tag>(), Err(InvalidName::Tag), "{tag}");
        }
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_in_no_other_way() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            (Digest::of(b"").to_string().as_str(), text.parse()),
            (text, Ok(Digest::of(b"")))
        );
        for wrong in [
            "",
            "sha256:",
            "sha512:00",
            &text.to_uppercase(),
            &text[..70],
            &format!("{text}0"),
            &text.replace('e', "g"),
            &text.replace("sha256:e3b0", "sha256:E3B0"),
            &text[7..],
        ] {
            assert_eq!(wrong.parse::<Digest>(), Err(InvalidName::Digest), "{wrong}");
        }
        assert_eq!(text.parse(), Ok(Reference::Digest(Digest::of(b""))));
        assert_eq!("sha256".parse(), Ok(Reference::Tag(Tag("sha256".to_owned()))));
        assert_eq!("sha256:x".parse::<Reference>(), Err(InvalidName::Digest));
    }
}
