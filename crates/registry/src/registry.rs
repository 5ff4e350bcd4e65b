//! The registry and what it answers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, Method, header},
    response::{IntoResponse, Response},
};
use http_server::Peer;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    entrance::Readers,
    image::{Image, Images, MANIFEST_TYPE},
    name::{Digest, Reference, Repository, Tag},
    refusal::Refusal,
    target::Target,
};

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// The registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The loopback address at which this machine's host pulls.
    address: SocketAddr,
    images: Arc<Images>,
}

/// A port that listens, but does not answer yet: the caller serves [`Registry::router`] on it.
#[derive(Debug)]
pub struct Port(TcpListener);

impl Port {
    /// The listener, for a server that limits what clients can make it hold.
    #[must_use]
    pub fn into_listener(self) -> TcpListener {
        self.0
    }
}

impl Registry {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// Loopback has no free port.
    pub async fn bind(images: impl IntoIterator<Item = Image>) -> io::Result<(Self, Port)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok((Self { address, images: Arc::new(Images::new(images)) }, Port(listener)))
    }

    /// The image of the component with this name, and the reference by which a host of this machine
    /// pulls it.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<(&Image, String)> {
        let image = self.images.of_component(name)?;
        Some((image, format!("{}/sealwire/{name}@{}", self.address, image.digest)))
    }

    /// What a port of the registry answers.
    pub fn router(&self, readers: Readers) -> Router {
        let shared = Shared { images: Arc::clone(&self.images), readers };
        Router::new().fallback(answer).with_state(shared)
    }
}

#[derive(Clone)]
struct Shared {
    images: Arc<Images>,
    readers: Readers,
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, _body) = request.into_parts();
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    // Before the path is looked at, so that a stranger learns nothing from answers.
    let answer = shared.readers.admit(&head.headers, address).and_then(|()| {
        let target = Target::parse(head.uri.path())?;
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::method("GET and HEAD"));
        }
        shared.get(target)
    });
    match answer {
        Ok(answer) if head.method == Method::HEAD => answer.map(|_body| Body::empty()),
        Ok(answer) => answer,
        Err(refusal) => refusal.into_response(),
    }
}

impl Shared {
    fn get(&self, target: Target) -> Result<Response, Refusal> {
        match target {
            Target::Base => Ok(json_of(&json!({}))),
            Target::Catalog => {
                let names: Vec<_> = self.images.repositories().map(Repository::as_str).collect();
                Ok(json_of(&json!({ "repositories": names })))
            }
            Target::Tags(repository) => {
                let tags =
                    self.images.tags(&repository).ok_or_else(|| no_repository(&repository))?;
                let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
                Ok(json_of(&json!({ "name": repository.as_str(), "tags": tags })))
            }
            Target::Manifest(repository, reference) => {
                let found = self.images.find(&repository, &reference);
                let image = found.ok_or_else(|| no_manifest(&repository, &reference))?;
                Ok(content(MANIFEST_TYPE, &image.digest, &image.manifest))
            }
            Target::Blob(repository, digest) => {
                let found = self.images.blob(&repository, &digest);
                let blob = found.ok_or_else(|| no_blob(&repository, &digest))?;
                Ok(content(BYTES, &digest, blob))
            }
        }
    }
}

fn json_of(value: &serde_json::Value) -> Response {
    let version = HeaderName::from_static("docker-distribution-api-version");
    ([(header::CONTENT_TYPE, JSON), (version, "registry/2.0")], value.to_string()).into_response()
}

fn content(media_type: &'static str, digest: &Digest, bytes: &Arc<[u8]>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
        (HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    (headers, Bytes::from_owner(Arc::clone(bytes))).into_response()
}

fn no_repository(repository: &Repository) -> Refusal {
    Refusal::unknown("NAME_UNKNOWN", format_args!("repository {repository}"))
}

fn no_manifest(repository: &Repository, reference: &Reference) -> Refusal {
    Refusal::unknown("MANIFEST_UNKNOWN", format_args!("manifest {reference} in {repository}"))
}

fn no_blob(repository: &Repository, digest: &Digest) -> Refusal {
    Refusal::unknown("BLOB_UNKNOWN", format_args!("blob {digest} in {repository}"))
}
