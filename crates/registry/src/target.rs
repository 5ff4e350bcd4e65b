//! What the path of a request names.

use crate::name::{Digest, InvalidName, Reference, Repository, UploadId};

/// What a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// Whether this is a registry, and whether the caller may use it: `/v2/`.
    Base,
    /// The names of all repositories.
    Catalog,
    /// The tags of a repository.
    Tags(Repository),
    /// A manifest of a repository.
    Manifest(Repository, Reference),
    /// Content that a manifest refers to.
    Blob(Repository, Digest),
    /// The uploads to a repository.
    Uploads(Repository),
    /// An upload that is under way.
    Upload(Repository, UploadId),
    /// The manifests that say something about another one.
    Referrers(Repository, Digest),
}

/// The path names nothing of a registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoTarget {
    /// There is no such path.
    Path,
    /// A name in the path is not valid.
    Name(InvalidName),
    /// The id of an upload is not valid.
    Upload,
}

impl From<InvalidName> for NoTarget {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}

impl Target {
    /// Reads a path. The names of repositories have slashes, so it is read from its end.
    pub(crate) fn parse(path: &str) -> Result<Self, NoTarget> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some("/_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(NoTarget::Path)?,
            None => return Err(NoTarget::Path),
        };
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(repository.parse()?));
        }
        if let Some(repository) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Self::Uploads(repository.parse()?));
        }
        let (before, last) = rest.rsplit_once('/').ok_or(NoTarget::Path)?;
        let (repository, kind) = before.rsplit_once('/').ok_or(NoTarget::Path)?;
        match kind {
            "manifests" => Ok(Self::Manifest(repository.parse()?, last.parse()?)),
            "blobs" => Ok(Self::Blob(repository.parse()?, last.parse()?)),
            "referrers" => Ok(Self::Referrers(repository.parse()?, last.parse()?)),
            "uploads" => {
                let repository = repository.strip_suffix("/blobs").ok_or(NoTarget::Path)?;
                let id = last.parse().map_err(|()| NoTarget::Upload)?;
                Ok(Self::Upload(repository.parse()?, id))
            }
            _ => Err(NoTarget::Path),
        }
    }

    /// The repository, unless it is about all of them.
    pub(crate) const fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(it)
            | Self::Manifest(it, _)
            | Self::Blob(it, _)
            | Self::Uploads(it)
            | Self::Upload(it, _)
            | Self::Referrers(it, _) => Some(it),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_one_thing_or_nothing() {
        let repository = || "a/manifests/b".parse::<Repository>().unwrap();
        let digest = Digest::of(b"");
        assert_eq!(Target::parse("/v2"), Ok(Target::Base));
        assert_eq!(Target::parse("/v2/"), Ok(Target::Base));
        assert_eq!(Target::parse("/v2/_catalog"), Ok(Target::Catalog));
        assert_eq!(Target::parse("/v2/a/manifests/b/tags/list"), Ok(Target::Tags(repository())));
        let reference = "1.0".parse().unwrap();
        assert_eq!(
            Target::parse("/v2/a/manifests/b/manifests/1.0"),
            Ok(Target::Manifest(repository(), reference))
        );
        assert_eq!(
            Target::parse(&format!("/v2/a/manifests/b/blobs/{digest}")),
            Ok(Target::Blob(repository(), digest))
        );
        assert_eq!(
            Target::parse(&format!("/v2/a/manifests/b/referrers/{digest}")),
            Ok(Target::Referrers(repository(), digest))
        );
        for path in ["/v2/a/manifests/b/blobs/uploads", "/v2/a/manifests/b/blobs/uploads/"] {
            assert_eq!(Target::parse(path), Ok(Target::Uploads(repository())));
        }
        let id = "00112233445566778899aabbccddeeff";
        assert_eq!(
            Target::parse(&format!("/v2/a/manifests/b/blobs/uploads/{id}")),
            Ok(Target::Upload(repository(), id.parse().unwrap()))
        );
        for id in ["x", "../00112233445566778899aabbccddee", "00", &"0".repeat(33)] {
            let parsed = Target::parse(&format!("/v2/a/blobs/uploads/{id}"));
            assert!(parsed.is_err(), "{id}: {parsed:?}");
        }
        for path in ["", "/", "/v1/", "/v2x", "/v2/a", "/v2/a/b", "/v2/a/b/c", "/v2/manifests/x"] {
            assert_eq!(Target::parse(path), Err(NoTarget::Path), "{path}");
        }
        for (path, wrong) in [
            ("/v2//manifests/x", InvalidName::Repository),
            ("/v2/../manifests/x", InvalidName::Repository),
            ("/v2/a/../../manifests/x", InvalidName::Repository),
            ("/v2/a%2f..%2fb/tags/list", InvalidName::Repository),
            ("/v2/a/manifests/", InvalidName::Tag),
            ("/v2/a/manifests/..", InvalidName::Tag),
            ("/v2/a/manifests/sha256:..", InvalidName::Digest),
            ("/v2/a/blobs/site.key", InvalidName::Digest),
        ] {
            assert_eq!(Target::parse(path), Err(NoTarget::Name(wrong)), "{path}");
        }
    }
}
