//! Components as images: the site's own, and those that users publish.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde_json::{Value, json};

use crate::{
    manifest,
    name::{Digest, InvalidName, OWN, Reference, Repository, Tag},
};

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// Tag of the version that the site runs.
const LATEST: &str = "latest";

/// A component as an OCI image.
#[derive(Clone, Debug)]
pub struct Image {
    repository: Repository,
    tags: Vec<Tag>,
    pub(crate) manifest: Arc<[u8]>,
    pub(crate) digest: Digest,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
}

impl Image {
    /// Media type of its manifest.
    pub const MEDIA_TYPE: &str = manifest::IMAGE;

    /// Makes an image from a component's bytes. Its repository is `sealwire/<name>`, its tags are
    /// the version and `latest`.
    ///
    /// # Panics
    /// `name` or `version` is not a part of a reference.
    #[must_use]
    pub fn new(name: &str, version: &str, component: &[u8]) -> Self {
        let is_name = "the site names its components so";
        let repository = format!("{OWN}/{name}").parse().expect(is_name);
        let tags = [version, LATEST].map(|tag| tag.parse().expect(is_name)).to_vec();
        let annotations = json!({ "org.opencontainers.image.version": version });
        Self::made(repository, tags, annotations, component)
    }

    /// Makes an image of a user's component. The same bytes have the same digest under each tag.
    #[must_use]
    pub fn published(name: &PublishedName, component: &[u8]) -> Self {
        let PublishedName { repository, tag } = name.clone();
        Self::made(repository, vec![tag], json!({}), component)
    }

    fn made(repository: Repository, tags: Vec<Tag>, annotations: Value, component: &[u8]) -> Self {
        let layer_digest = Digest::of(component);
        let config = json!({
            "architecture": "wasm", "os": "wasip2", "layerDigests": [layer_digest.to_string()],
        })
        .to_string()
        .into_bytes();
        let config_digest = Digest::of(&config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest::IMAGE,
            "config": {
                "mediaType": CONFIG_TYPE, "digest": config_digest.to_string(), "size": config.len(),
            },
            "layers": [{
                "mediaType": LAYER_TYPE,
                "digest": layer_digest.to_string(),
                "size": component.len(),
                // Tools write the layer to a file of this name.
                "annotations": {
                    "org.opencontainers.image.title": format!("{}.wasm", repository.last_word()),
                },
            }],
            "annotations": annotations,
        })
        .to_string()
        .into_bytes();
        Self {
            repository,
            tags,
            digest: Digest::of(&manifest),
            manifest: manifest.into(),
            blobs: BTreeMap::from([
                (layer_digest, component.into()),
                (config_digest, config.into()),
            ]),
        }
    }

    /// The name under which a registry has the image: repository and version.
    #[must_use]
    pub fn name(&self) -> String {
        let tag = self.tags.first().map(Tag::as_str).unwrap_or_default();
        format!("{}:{tag}", self.repository)
    }

    /// Whether it is that of the site's own component with this name.
    #[must_use]
    pub fn is_of(&self, component: &str) -> bool {
        self.repository.as_str() == format!("{OWN}/{component}")
    }

    /// Config and layer with their digests, as text.
    pub fn blobs(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.blobs.iter().map(|(digest, bytes)| (digest.to_string(), &**bytes))
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The manifest and all to which it refers.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&Digest, &Arc<[u8]>)> {
        std::iter::once((&self.digest, &self.manifest)).chain(&self.blobs)
    }

    /// Digest of the manifest, as `sha256:` and hex. It pins every byte of the component.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// Repository and digest: what pulls exactly this image from any registry that has it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// Where a user publishes an image: `<repository>:<tag>`, or `<repository>` for the tag `latest`.
#[derive(Clone, Debug)]
pub struct PublishedName {
    repository: Repository,
    tag: Tag,
}

impl PublishedName {
    /// Name of the repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.repository.as_str()
    }

    /// The last word of that name.
    #[must_use]
    pub fn last_word(&self) -> &str {
        self.repository.last_word()
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_str()
    }
}

impl FromStr for PublishedName {
    type Err = NotPublishable;

    fn from_str(text: &str) -> Result<Self, NotPublishable> {
        let (repository, tag) = text.split_once(':').unwrap_or((text, LATEST));
        let repository: Repository = repository.parse().map_err(NotPublishable::of)?;
        if repository.is_own() {
            return Err(NotPublishable(format!("nobody can publish into {OWN}/...")));
        }
        Ok(Self { repository, tag: tag.parse().map_err(NotPublishable::of)? })
    }
}

impl fmt::Display for PublishedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

/// The text does not say where an image is published.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NotPublishable(String);

impl NotPublishable {
    fn of(invalid: InvalidName) -> Self {
        Self(invalid.to_string())
    }
}

/// The images of the site's own components. They are in memory, so a site starts from them whatever
/// its disk holds.
#[derive(Clone, Debug)]
pub(crate) struct Images(BTreeMap<Repository, Image>);

impl Images {
    pub(crate) fn new(images: impl IntoIterator<Item = Image>) -> Self {
        Self(images.into_iter().map(|image| (image.repository.clone(), image)).collect())
    }

    /// The component with this name.
    pub(crate) fn of_component(&self, name: &str) -> Option<&Image> {
        self.0.values().find(|image| image.is_of(name))
    }

    pub(crate) fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.0.keys()
    }

    pub(crate) fn tags(&self, repository: &Repository) -> Option<&[Tag]> {
        Some(&self.0.get(repository)?.tags)
    }

    /// The image that a reference names.
    pub(crate) fn find(&self, repository: &Repository, reference: &Reference) -> Option<&Image> {
        let image = self.0.get(repository)?;
        let is_it = match reference {
            Reference::Tag(tag) => image.tags.contains(tag),
            Reference::Digest(digest) => image.digest == *digest,
        };
        is_it.then_some(image)
    }

    pub(crate) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<&Arc<[u8]>> {
        self.0.get(repository)?.blobs.get(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_published_under_a_name_that_a_registry_takes() {
        let name: PublishedName = "plant/double:1.2".parse().unwrap();
        assert_eq!(
            (name.repository(), name.last_word(), name.tag()),
            ("plant/double", "double", "1.2")
        );
        let latest: PublishedName = "plant/double".parse().unwrap();
        assert_eq!(latest.tag(), LATEST);
        for (text, words) in [
            ("Plant/double", "a repository's name"),
            ("plant/double:", "a tag has"),
            ("plant/double@sha256:00", "a repository's name"),
            ("sealwire/sensor-reader", "nobody can publish into sealwire/"),
        ] {
            let refusal = text.parse::<PublishedName>().unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
        let of = |name| Image::published(name, b"component").digest();
        assert_eq!(of(&name), of(&latest));
    }
}
