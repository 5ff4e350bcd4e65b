//! What a manifest says: what it is, and what it refers to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::name::Digest;

/// Most descriptors in a manifest: its config and layers, or the manifests of an index.
pub(crate) const DESCRIPTORS_MAX: usize = 256;
/// Most characters of a media type or an artifact type (RFC 6838 allows 127 for each of two parts).
const TYPE_CHARS_MAX: usize = 255;

/// Media type of an image's manifest.
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index: a manifest of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The same two, as Docker called them before.
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest, reduced to what the registry must know of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    /// Configs and layers, with their sizes.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Manifests of an index.
    pub(crate) manifests: Vec<Digest>,
    /// The manifest that this one says something about. It need not exist.
    pub(crate) subject: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Manifest {
    /// Reads a manifest that was sent or stored with this media type.
    pub(crate) fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let is_index = match media_type {
            IMAGE | DOCKER_IMAGE => false,
            INDEX | DOCKER_INDEX => true,
            _ => return Err(InvalidManifest::Type),
        };
        let wire: Wire = serde_json::from_slice(bytes).map_err(InvalidManifest::Json)?;
        if wire.schema_version != 2 {
            return Err(InvalidManifest::Version(wire.schema_version));
        }
        // Otherwise two readers could take the same bytes for different things.
        if wire.media_type.is_some_and(|inner| inner != media_type) {
            return Err(InvalidManifest::OtherType);
        }
        let (blobs, manifests) = match (is_index, wire.config, wire.layers, wire.manifests) {
            (false, Some(config), Some(layers), None) => {
                let config_type = &config.media_type;
                let artifact_type = wire.artifact_type.as_ref().unwrap_or(config_type).clone();
                let blobs = std::iter::once(config).chain(layers).collect::<Vec<_>>();
                ((blobs, Some(artifact_type)), Vec::new())
            }
            (true, None, None, Some(manifests)) => ((Vec::new(), wire.artifact_type), manifests),
            _ => return Err(InvalidManifest::Shape),
        };
        let (blobs, artifact_type) = blobs;
        if blobs.len().max(manifests.len()) > DESCRIPTORS_MAX {
            return Err(InvalidManifest::TooMany);
        }
        if artifact_type.as_ref().is_some_and(|name| name.len() > TYPE_CHARS_MAX) {
            return Err(InvalidManifest::Type);
        }
        let digest = |it: &Descriptor| {
            it.digest.parse().map_err(|_unknown| InvalidManifest::Digest(it.digest.clone()))
        };
        Ok(Self {
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            blobs: blobs.iter().map(|it| Ok((digest(it)?, it.size))).collect::<Result<_, _>>()?,
            manifests: manifests.iter().map(digest).collect::<Result<_, _>>()?,
            subject: wire.subject.as_ref().map(digest).transpose()?,
            artifact_type,
        })
    }

    /// All content that must be kept for this manifest, apart from its own.
    pub(crate) fn needs(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.iter().map(|(digest, _)| digest).chain(&self.manifests)
    }

    /// The descriptor of this manifest in a list of those that refer to a subject. `bytes` are its
    /// own.
    pub(crate) fn descriptor(&self, digest: &Digest, bytes: &[u8]) -> Value {
        #[derive(Deserialize)]
        struct Annotated {
            annotations: Option<BTreeMap<String, String>>,
        }
        let annotations = serde_json::from_slice::<Annotated>(bytes).ok();
        let annotations = annotations.and_then(|it| it.annotations);
        let mut descriptor = json!({
            "mediaType": self.media_type, "digest": digest.to_string(), "size": self.size,
        });
        let optional = [
            ("artifactType", self.artifact_type.as_ref().map(|name| json!(name))),
            ("annotations", annotations.map(|annotations| json!(annotations))),
        ];
        for (name, value) in optional {
            if let (Some(value), Some(fields)) = (value, descriptor.as_object_mut()) {
                fields.insert(name.to_owned(), value);
            }
        }
        descriptor
    }
}

/// Why the bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidManifest {
    #[error(
        "a manifest here is of the type {IMAGE}, {INDEX}, {DOCKER_IMAGE} or {DOCKER_INDEX}, \
             and an artifact type has at most {TYPE_CHARS_MAX} characters"
    )]
    Type,
    #[error("the manifest says another `mediaType` than the request")]
    OtherType,
    #[error("the manifest is not understood: {0}")]
    Json(serde_json::Error),
    #[error("the manifest has schema version {0}, but must have 2")]
    Version(u32),
    #[error("an image has `config` and `layers`, an index has `manifests`, and nothing has both")]
    Shape,
    #[error("a manifest has at most {DESCRIPTORS_MAX} layers or manifests")]
    TooMany,
    #[error("the manifest refers to `{0}`, but a digest is `sha256:` and 64 lower-case hex digits")]
    Digest(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(of: &[u8]) -> Value {
        json!({ "mediaType": "a/b", "digest": Digest::of(of).to_string(), "size": of.len() })
    }

    fn parse(media_type: &str, value: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(media_type, value.to_string().as_bytes())
    }

    #[test]
    fn a_manifest_refers_to_content_to_manifests_and_to_a_subject() {
        let image = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"c"),
            "layers": [descriptor(b"1"), descriptor(b"22")], "subject": descriptor(b"s"),
            "annotations": { "a": "b" },
        });
        let parsed = parse(IMAGE, &image).unwrap();
        let blob = |of: &[u8]| (Digest::of(of), of.len() as u64);
        assert_eq!(parsed.blobs, [blob(b"c"), blob(b"1"), blob(b"22")]);
        assert_eq!((parsed.subject, parsed.manifests.len()), (Some(Digest::of(b"s")), 0));
        assert_eq!(parsed.artifact_type.as_deref(), Some("a/b"), "that of its config");
        let digest = Digest::of(image.to_string().as_bytes());
        let shown = parsed.descriptor(&digest, image.to_string().as_bytes());
        assert_eq!(
            (&shown["annotations"]["a"], &shown["artifactType"]),
            (&json!("b"), &json!("a/b"))
        );

        let index = json!({
            "schemaVersion": 2, "manifests": [descriptor(b"m")], "artifactType": "x/y",
        });
        let parsed = parse(DOCKER_INDEX, &index).unwrap();
        assert_eq!(parsed.needs().collect::<Vec<_>>(), [&Digest::of(b"m")]);
        assert_eq!((parsed.artifact_type.as_deref(), parsed.subject), (Some("x/y"), None));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let image = || json!({ "schemaVersion": 2, "config": descriptor(b""), "layers": [] });
        assert!(parse(IMAGE, &image()).is_ok());
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 8] = [
            (|it| it["schemaVersion"] = json!(1), "schema version 1"),
            (|it| it["mediaType"] = json!(INDEX), "another `mediaType`"),
            (|it| it["manifests"] = json!([]), "nothing has both"),
            (|it| it["layers"] = Value::Null, "an image has"),
            (|it| it["config"]["digest"] = json!("sha256:../../site.key"), "site.key"),
            (|it| it["config"]["size"] = json!(-1), "not understood"),
            (|it| it["subject"] = json!({ "digest": "x" }), "not understood"),
            (|it| it["layers"] = json!(vec![descriptor(b""); DESCRIPTORS_MAX]), "at most 256"),
        ];
        for (change, words) in changes {
            let mut changed = image();
            change(&mut changed);
            let refusal = parse(IMAGE, &changed).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
        for media_type in ["", "application/json", "text/html"] {
            assert!(matches!(parse(media_type, &image()), Err(InvalidManifest::Type)));
        }
        assert!(matches!(parse(INDEX, &image()), Err(InvalidManifest::Shape)));
        for bytes in [&b""[..], b"{", b"[]", b"\xff", b"{}"] {
            assert!(matches!(Manifest::parse(IMAGE, bytes), Err(InvalidManifest::Json(_))));
        }
    }
}
