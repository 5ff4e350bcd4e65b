//! A read-only OCI registry on loopback, from which hosts pull our components.
//!
//! A host asks its registry at every start, even with a warm cache. A site that must start without
//! a network therefore has a registry of its own. It serves the pull endpoints of the OCI
//! distribution specification 1.1, for images in the Wasm OCI artifact layout: one config, one
//! layer.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";

/// A component as an OCI image.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    manifest: Arc<[u8]>,
    digest: String,
    blobs: BTreeMap<String, Arc<[u8]>>,
}

impl Image {
    /// Makes an image from a component's bytes.
    #[must_use]
    pub fn new(name: &str, component: &[u8]) -> Self {
        let layer_digest = sha256(component);
        let config = json!({
            "architecture": "wasm", "os": "wasip2", "layerDigests": [layer_digest],
        })
        .to_string()
        .into_bytes();
        let config_digest = sha256(&config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": { "mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len() },
            "layers": [{ "mediaType": LAYER_TYPE, "digest": layer_digest, "size": component.len() }],
        })
        .to_string()
        .into_bytes();
        Self {
            name: String::from(name),
            digest: sha256(&manifest),
            manifest: manifest.into(),
            blobs: BTreeMap::from([
                (layer_digest, component.into()),
                (config_digest, config.into()),
            ]),
        }
    }

    /// Digest of the manifest, as `sha256:` and hex. It pins every byte of the component.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A registry that listens, but does not answer yet: the caller serves [`Registry::into_service`].
#[derive(Debug)]
pub struct Registry {
    listener: TcpListener,
    address: SocketAddr,
    images: BTreeMap<String, Image>,
}

impl Registry {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// Loopback has no free port.
    pub async fn bind(images: impl IntoIterator<Item = Image>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let images = images.into_iter().map(|image| (image.name.clone(), image)).collect();
        Ok(Self { listener, address, images })
    }

    /// The image with this name, and the reference by which a host pulls it.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<(&Image, String)> {
        let image = self.images.get(name)?;
        Some((image, format!("{}/sealwire/{name}@{}", self.address, image.digest)))
    }

    /// The listener and the routes, for a server that limits what clients can make it hold.
    pub fn into_service(self) -> (TcpListener, Router) {
        let router = Router::new()
            .route("/v2/", get(|| async {}))
            .route("/v2/sealwire/{name}/manifests/{reference}", get(manifest))
            .route("/v2/sealwire/{name}/blobs/{digest}", get(blob))
            .with_state(Arc::new(self.images));
        (self.listener, router)
    }
}

type Images = State<Arc<BTreeMap<String, Image>>>;

async fn manifest(
    State(images): Images,
    Path((name, reference)): Path<(String, String)>,
) -> Response {
    match images.get(&name).filter(|image| image.digest == reference) {
        Some(image) => content(MANIFEST_TYPE, &image.digest, &image.manifest),
        None => unknown("MANIFEST_UNKNOWN", &reference),
    }
}

async fn blob(State(images): Images, Path((name, digest)): Path<(String, String)>) -> Response {
    match images.get(&name).and_then(|image| image.blobs.get(&digest)) {
        Some(blob) => content("application/octet-stream", &digest, blob),
        None => unknown("BLOB_UNKNOWN", &digest),
    }
}

fn content(media_type: &'static str, digest: &str, body: &Arc<[u8]>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::HeaderName::from_static("docker-content-digest"), digest),
    ];
    (headers, body.to_vec()).into_response()
}

fn unknown(code: &str, what: &str) -> Response {
    let errors = json!({ "errors": [{ "code": code, "message": format!("there is no {what}") }] });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::NOT_FOUND, headers, errors.to_string()).into_response()
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
