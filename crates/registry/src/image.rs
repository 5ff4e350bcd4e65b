//! The site's own components as images.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use crate::{
    manifest,
    name::{Digest, OWN, Reference, Repository, Tag},
};

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// Tag of the version that the site runs.
const LATEST: &str = "latest";

/// A component as an OCI image.
#[derive(Clone, Debug)]
pub struct Image {
    repository: Repository,
    tags: [Tag; 2],
    pub(crate) manifest: Arc<[u8]>,
    pub(crate) digest: Digest,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
}

impl Image {
    /// Makes an image from a component's bytes. Its repository is `sealwire/<name>`, its tags are
    /// `latest` and the version.
    ///
    /// # Panics
    /// `name` or `version` is not a part of a reference.
    #[must_use]
    pub fn new(name: &str, version: &str, component: &[u8]) -> Self {
        let is_name = "the site names its components so";
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
                "annotations": { "org.opencontainers.image.title": format!("{name}.wasm") },
            }],
            "annotations": { "org.opencontainers.image.version": version },
        })
        .to_string()
        .into_bytes();
        Self {
            repository: format!("{OWN}/{name}").parse().expect(is_name),
            tags: [version, LATEST].map(|tag| tag.parse().expect(is_name)),
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
        let [version, _latest] = &self.tags;
        format!("{}:{version}", self.repository)
    }

    /// Whether it is that of the site's own component with this name.
    #[must_use]
    pub fn is_of(&self, component: &str) -> bool {
        self.repository.as_str() == format!("{OWN}/{component}")
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
