//! The registry: its parts, and which of them a request is for.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use access::Gate;
use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use durable::disk::{Disk, RealDisk};
use http_server::Peer;
use ledger::Ledger;
use serde::de::DeserializeOwned;
use tlog::VerifierKey;
use tokio::net::TcpListener;

use crate::{
    cleaning::Cleaning,
    entrance::{self, Readers},
    image::{Image, Images},
    name::{Pinned, Reference},
    publishing::{Publishing, Push},
    reading::Reading,
    refusal::Refusal,
    signature::{SIGNATURE, SIGNATURE_BYTES_MAX},
    store::{Store, StoreError},
    target::Target,
};

/// The registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The loopback address at which this machine's host pulls.
    address: SocketAddr,
    reading: Reading,
    publishing: Publishing,
}

/// What a registry is made of.
#[derive(Debug)]
pub struct Parts {
    /// The site's own components.
    pub images: Vec<Image>,
    /// Folder for what others publish. Created if it does not exist.
    pub folder: PathBuf,
    /// Knows who may publish and, on some ports, who may pull.
    pub gate: Gate,
    /// Where publications are sealed.
    pub ledger: Ledger,
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

/// Why there is no registry.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot listen.
    #[error("the registry cannot listen on loopback")]
    Port(#[source] io::Error),
}

/// The registry's folder in a data directory.
#[must_use]
pub fn folder_in(data_dir: &Path) -> PathBuf {
    data_dir.join("registry")
}

/// Reads a registry's folder as [`Registry::bind`] does, and changes nothing. Returns how many
/// manifests are in it.
///
/// # Errors
/// As [`Registry::bind`].
pub fn look(folder: &Path) -> Result<usize, StoreError> {
    Store::look(&RealDisk, folder)
}

impl Registry {
    /// Opens the registry, and listens on a free loopback port.
    ///
    /// # Errors
    /// The folder cannot be used or is damaged, or loopback has no free port.
    pub async fn bind(parts: Parts) -> Result<(Self, Port), BindError> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(BindError::Port)?;
        let address = listener.local_addr().map_err(BindError::Port)?;
        Ok((Self::open(Arc::new(RealDisk), parts, address)?, Port(listener)))
    }

    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        Parts { images, folder, gate, ledger }: Parts,
        address: SocketAddr,
    ) -> Result<Self, StoreError> {
        let own = Arc::new(Images::new(images));
        let store = Arc::new(Store::open(disk, &folder)?);
        let reading = Reading::new(own, Arc::clone(&store));
        Ok(Self { address, reading, publishing: Publishing::new(gate, ledger, store) })
    }

    /// The image of the site's own component with this name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.reading.own.of_component(name)
    }

    /// Whether there is a manifest of this repository and digest, given as a host pulls it.
    #[must_use]
    pub fn has(&self, image: &str) -> bool {
        let pinned = image.parse::<Pinned>();
        pinned.is_ok_and(|it| self.reading.has(&it.repository, &Reference::Digest(it.digest)))
    }

    /// Whether an image is one of the site's own, which are a part of this program.
    #[must_use]
    pub fn is_own(&self, Pinned { repository, digest }: &Pinned) -> bool {
        self.reading.own.find(repository, &Reference::Digest(*digest)).is_some()
    }

    /// Those of `keys` that signed an image. Blocks on the disk.
    ///
    /// # Errors
    /// A signature cannot be read.
    pub fn signers<'a>(
        &self,
        image: &Pinned,
        keys: &'a [VerifierKey],
    ) -> io::Result<Vec<&'a VerifierKey>> {
        let store = &self.reading.store;
        let mut missing: Vec<_> = keys.iter().collect();
        for (_, artifact) in store.referrers(&image.repository, &image.digest, None) {
            // A config, and the signature. Whatever else says something about the image counts as
            // nothing.
            let [_config, (layer, size)] = artifact.blobs.as_slice() else { continue };
            let is_signature = artifact.artifact_type.as_deref() == Some(SIGNATURE);
            if !is_signature || *size > SIGNATURE_BYTES_MAX as u64 || missing.is_empty() {
                continue;
            }
            let note = String::from_utf8(store.read(layer)?).unwrap_or_default();
            if let Some(signer) = image.signer(&note, missing.iter().copied()) {
                missing.retain(|key| *key != signer);
            }
        }
        Ok(keys.iter().filter(|key| !missing.contains(key)).collect())
    }

    /// The leaf that is to record the publication of an image under a tag, if it was published so.
    /// Only the log can say that it does.
    #[must_use]
    pub fn published(&self, image: &Pinned) -> Option<u64> {
        self.reading.store.published(&image.repository, &image.digest)
    }

    /// Lets hosts pull these images, and the site's own, by their digests, and nothing else.
    pub fn serve_hosts(&self, images: impl IntoIterator<Item = Pinned>) {
        self.reading.serve_hosts(images.into_iter().collect());
    }

    /// Where a host of this machine pulls images.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a port of the registry answers.
    pub fn router(&self, readers: Readers) -> Router {
        Router::new().fallback(answer).with_state((self.clone(), readers))
    }

    /// Removes what nobody needs, and at the end waits for what is being published. To be run for
    /// as long as the registry answers.
    #[must_use]
    pub fn cleaning(&self) -> Cleaning {
        Cleaning(self.publishing.clone())
    }
}

async fn answer(
    State((registry, readers)): State<(Registry, Readers)>,
    request: Request,
) -> Response {
    let is_head = request.method() == Method::HEAD;
    match registry.answer(readers, request).await {
        // Its length stays.
        Ok(answer) if is_head => answer.map(|_body| Body::empty()),
        Ok(answer) => answer,
        Err(refusal) => refusal.into_response(),
    }
}

impl Registry {
    async fn answer(&self, readers: Readers, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<Peer>();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        let gate = &self.publishing.gate;
        let is_read = head.method == Method::GET || head.method == Method::HEAD;
        // Before the path is looked at, so that a stranger learns nothing from answers.
        if is_read {
            let reach = readers.admit(gate, &head.headers, address)?;
            let target = Target::parse(head.uri.path())?;
            if !matches!(target, Target::Upload(..)) {
                self.reading.check_reach(reach, &target)?;
                return self.reading.get(target, parameters(&head.uri)?, &head.headers).await;
            }
        }
        let publisher = entrance::publisher(gate, &head.headers, address)?;
        let push = Push {
            method: head.method,
            publisher,
            parameters: parameters(&head.uri)?,
            headers: head.headers,
            body,
        };
        self.publishing.obey(Target::parse(head.uri.path())?, push).await
    }
}

fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    let Query(parameters) = Query::try_from_uri(uri).map_err(|rejection| {
        Refusal::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", rejection.body_text())
    })?;
    Ok(parameters)
}
