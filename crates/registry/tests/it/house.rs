//! A registry that runs, and a client.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use access::{ApiTokens, Gate, Scope, TokenDescription};
use http_server::Places;
use ledger::Ledger;
use model::{Envelope, Timestamp};
use registry::{Image, Parts, Readers, Registry, no_room};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tlog::{KeyName, Signer};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use ureq::http::{Request, Response};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry with a log. Its folder outlives it.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    pub(crate) folder: Arc<TempDir>,
    pub(crate) ledger: Ledger,
    pub(crate) tokens: ApiTokens,
    pub(crate) registry: Registry,
    pub(crate) address: SocketAddr,
    /// A token that may publish.
    pub(crate) publisher: String,
    writer: Option<ledger::Writer>,
    stop: CancellationToken,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}: {}", String::from_utf8_lossy(&self.body));
        self
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()))
    }

    pub(crate) fn start_in(folder: Arc<TempDir>) -> Self {
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.path().join("log"), signer).unwrap();
        let tokens = ApiTokens::load(access::path_in(folder.path())).unwrap();
        let parts = Parts {
            images: vec![Image::new("reader", "1.2.3", b"component")],
            folder: folder.path().join("registry"),
            gate: Gate::new(tokens.clone()),
            ledger: ledger.clone(),
        };
        let (registry, port) = runtime.block_on(Registry::bind(parts)).unwrap();
        drop(port);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let places = Places { connections: 64, refusals: 4 };
        let router = registry.router(Readers::WithToken);
        let serving = http_server::serve(places, listener, router, no_room, stop.clone());
        let mut owner = tokio::task::JoinSet::new();
        owner.spawn(serving);
        owner.detach_all();
        drop(entered);
        let mut running = Self {
            runtime,
            folder,
            ledger,
            tokens,
            registry,
            address,
            publisher: String::new(),
            writer: Some(writer),
            stop,
        };
        running.publisher = running.token(&[Scope::Publish]);
        running
    }

    /// Ends the log under the registry.
    pub(crate) fn end_log(&mut self) {
        let writer = self.writer.take().unwrap();
        self.runtime.block_on(writer.close()).unwrap();
    }

    /// Ends as a crash does: nothing is completed.
    pub(crate) fn crash(mut self) -> Arc<TempDir> {
        self.stop.cancel();
        self.end_log();
        let folder = Arc::clone(&self.folder);
        self.runtime.shutdown_background();
        folder
    }

    /// A new token.
    pub(crate) fn token(&self, scope: &[Scope]) -> String {
        self.token_named(&format!("token-{}", self.tokens.all().len()), scope)
    }

    pub(crate) fn token_named(&self, name: &str, scope: &[Scope]) -> String {
        let secret = ApiTokens::new_secret();
        let token = TokenDescription {
            name: name.parse().unwrap(),
            scope: scope.to_vec(),
            log: None,
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        self.tokens.add(token, &secret).unwrap();
        secret
    }

    pub(crate) fn registry_folder(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    /// Number of files of content and uploads whose names end so.
    pub(crate) fn files(&self, ending: &str) -> usize {
        let files = self.registry_folder().join("blobs/sha256").read_dir().unwrap();
        files
            .filter(|it| it.as_ref().unwrap().file_name().to_str().unwrap().ends_with(ending))
            .count()
    }

    /// Asks with a token, if it is not empty.
    pub(crate) fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .build()
            .into();
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Vec<u8> = body.into();
        // A request without a body says so by having none.
        let answer = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(request.body(body).unwrap())
        };
        answer_of(answer.unwrap())
    }

    /// Asks as the publisher.
    pub(crate) fn ask(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.ask_as(&self.publisher, method, path, &[], body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// Pushes a blob whole.
    #[track_caller]
    pub(crate) fn push_blob(&self, repository: &str, blob: &[u8]) -> String {
        let digest = digest(blob);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask("POST", &path, blob).is(201);
        digest
    }

    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.ask_as(&self.publisher, "PUT", &path, &[("content-type", media_type)], manifest)
    }

    /// Pushes an image of one layer under a tag. Returns the manifest's digest.
    #[track_caller]
    pub(crate) fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        self.push_blob(repository, b"{}");
        self.push_blob(repository, layer);
        let manifest = image_of(layer, None);
        self.put_manifest(repository, tag, IMAGE, &manifest).is(201);
        digest(&manifest)
    }

    /// The sealed events with this action.
    pub(crate) fn sealed(&self, action: &str) -> Vec<model::Event> {
        let stored = self.ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
        let envelopes = stored.into_iter().filter_map(|it| it.bytes);
        envelopes
            .map(|bytes| Envelope::parse(&bytes).unwrap().event)
            .filter(|event| event.action.as_deref() == Some(action))
            .collect()
    }
}

/// The manifest of an image with an empty config and one layer.
pub(crate) fn image_of(layer: &[u8], subject: Option<&str>) -> Vec<u8> {
    let descriptor = |bytes: &[u8], kind: &str| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(layer, "application/wasm")],
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
        manifest["annotations"] = json!({ "about": subject });
    }
    manifest.to_string().into_bytes()
}

fn answer_of(mut answer: Response<ureq::Body>) -> Answer {
    let headers = answer.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers = headers.collect();
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    Answer { status: answer.status().as_u16(), headers, body }
}
