//! A log to cosign, a running witness, and a client for it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use durable::disk::RealDisk;
use tempfile::TempDir;
use tlog::{
    AddCheckpoint, Checkpoint, CosignerKey, Frontier, Growth, Hash, KeyName, Origin, SignedNote,
    Signer, TreeSize, consistency_proof_from_subtrees, leaf_hash,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;
use witness::{LogList, OpenWitnessError, Witness, WitnessConfig, serve};

/// A log, or a fork of it, whose leaves come from another seed from `forks_at` on.
pub(crate) struct Log {
    pub(crate) signer: Signer,
    forks_at: u64,
}

impl Log {
    pub(crate) fn new(name: &str) -> Self {
        let signer = Signer::from_seed(KeyName::parse(name).unwrap(), &[1; 32]);
        Self { signer, forks_at: u64::MAX }
    }

    /// A fork under the same key, with other leaves from this one on.
    pub(crate) fn fork(&self, forks_at: u64) -> Self {
        Self { forks_at, ..Self::new(self.signer.vkey().name().as_str()) }
    }

    fn leaf(&self, index: u64) -> Hash {
        leaf_hash(format!("{index} {}", index >= self.forks_at).as_bytes())
    }

    fn frontier(&self, from: u64, to: u64) -> Frontier {
        let mut frontier = Frontier::new();
        for index in from..to {
            frontier.append(self.leaf(index));
        }
        frontier
    }

    pub(crate) fn checkpoint(&self, size: u64) -> SignedNote {
        let origin = Origin::parse(self.signer.vkey().name().as_str()).unwrap();
        let root = self.frontier(0, size).root();
        let checkpoint = Checkpoint::new(origin, TreeSize::new(size), root);
        SignedNote::parse(&checkpoint.sign(&self.signer)).unwrap()
    }

    pub(crate) fn prove(&self, growth: Growth) -> Vec<Hash> {
        let root = |subtree: tlog::Subtree| {
            let root = self.frontier(subtree.begin().get(), subtree.end().get()).root();
            Ok::<_, std::convert::Infallible>(root)
        };
        consistency_proof_from_subtrees::<tlog::Rfc6962, _>(growth, root).unwrap()
    }

    /// The request to cosign from one size to another.
    pub(crate) fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let (old_size, size) = (TreeSize::new(old), TreeSize::new(new));
        let proof = size.extends(old_size).map_or_else(|_| vec![], |growth| self.prove(growth));
        AddCheckpoint { old_size, proof, checkpoint: self.checkpoint(new) }
    }

    /// Its lines in a list of logs.
    pub(crate) fn listed(&self, requests_per_day: u32) -> String {
        format!("vkey {}\nqpd {requests_per_day}\n", self.signer.vkey())
    }
}

pub(crate) fn open(folder: &Path, logs: &str) -> Result<Witness, OpenWitnessError> {
    let logs = LogList::parse(&format!("logs/v0\n{logs}")).unwrap();
    let config = WitnessConfig { data_dir: folder, name: Some("w.test"), logs: &logs };
    Witness::open(Arc::new(RealDisk), &config)
}

/// A running witness. Dropping it stops it.
pub(crate) struct Running {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) address: SocketAddr,
    pub(crate) key: CosignerKey,
    shutdown: CancellationToken,
    serving: Option<(Runtime, tokio::task::JoinHandle<()>)>,
}

impl Running {
    pub(crate) fn start(logs: &str) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), logs)
    }

    pub(crate) fn start_in(folder: Arc<TempDir>, logs: &str) -> Self {
        let witness = open(folder.path(), logs).unwrap();
        let (key, shutdown) = (witness.vkey().clone(), CancellationToken::new());
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = runtime.spawn(serve(listener, Arc::new(witness), shutdown.clone()));
        Self { folder, address, key, shutdown, serving: Some((runtime, serving)) }
    }

    /// Restarts the witness in its folder.
    pub(crate) fn restart(mut self, logs: &str) -> Self {
        self.stop();
        Self::start_in(Arc::clone(&self.folder), logs)
    }

    fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some((runtime, serving)) = self.serving.take() {
            runtime.block_on(serving).unwrap();
        }
    }

    /// Status, content type and body.
    pub(crate) fn post(&self, body: &str) -> (u16, String, String) {
        let url = format!("http://{}/add-checkpoint", self.address);
        answer(agent().post(&url).send(body).unwrap())
    }

    pub(crate) fn ask(&self, request: &AddCheckpoint) -> (u16, String) {
        let (status, _, body) = self.post(&request.to_string());
        (status, body)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) =
            answer(agent().get(&format!("http://{}{path}", self.address)).call().unwrap());
        (status, body)
    }

    /// Sends raw bytes, and reads until the connection is closed.
    pub(crate) fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // The witness may close before it has read everything.
        let _broken = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> (u16, String, String) {
    let kind = response.headers().get("content-type");
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    (response.status().as_u16(), kind, response.body_mut().read_to_string().unwrap())
}
