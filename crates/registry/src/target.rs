//! What the path of a request names.

use crate::name::{Digest, InvalidName, Reference, Repository};

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
}

/// The path names nothing of a registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoTarget {
    /// There is no such path.
    Path,
    /// A name in the path is not valid.
    Name(InvalidName),
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
        let (before, last) = rest.rsplit_once('/').ok_or(NoTarget::Path)?;
        let (repository, kind) = before.rsplit_once('/').ok_or(NoTarget::Path)?;
        match kind {
            "manifests" => Ok(Self::Manifest(repository.parse()?, last.parse()?)),
            "blobs" => Ok(Self::Blob(repository.parse()?, last.parse()?)),
            _ => Err(NoTarget::Path),
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
