//! Engines without a site.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use access::{ApiTokens, Gate};
use async_nats::Client;
use engine::{
    Authority, Credentials, HostKind, Traffic,
    nats_server::ForHosts,
    release,
    supervise::{RUN_ENGINE, Start},
    wash_host::{self, Identities, PullsFrom},
};
use ledger::Ledger;
use registry::{Image, Parts, Readers, Registry};
use tlog::{KeyName, Signer};
use tokio::task::JoinSet;

use crate::site::DEADLINE;

/// A running engine. Dropping it kills it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts an engine as a site does: through our own program, which confines it.
    pub(crate) fn start(start: &Start) -> Self {
        let log = fs::File::create(&start.log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sealwire"))
            .arg(RUN_ENGINE)
            .arg(std::process::id().to_string())
            .args([&start.folder, &start.program])
            .args(&start.arguments)
            .env_clear()
            .env("HOME", &start.folder)
            .current_dir(&start.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Starts a registry in a home, which serves one component as long as the tasks live.
pub(crate) async fn registry_with(home: &Path, component: &str) -> (Registry, JoinSet<()>) {
    let built = format!("{}/../../target/components/{component}.wasm", env!("CARGO_MANIFEST_DIR"));
    let key = KeyName::parse("test").unwrap();
    let parts = Parts {
        images: vec![Image::new(component, "0.1.0", &fs::read(built).unwrap())],
        folder: registry::folder_in(home),
        gate: Gate::new(ApiTokens::load(access::path_in(home)).unwrap()),
        ledger: Ledger::open(&home.join("log"), Signer::from_seed(key, &[7; 32])).unwrap().0,
    };
    let (registry, port) = Registry::bind(parts).await.unwrap();
    let (listener, router) = (port.into_listener(), registry.router(Readers::OwnHost));
    let mut serving = JoinSet::new();
    serving.spawn(async { axum::serve(listener, router).await.unwrap() });
    (registry, serving)
}

/// Starts the hosts' server in a folder. Returns it, its address, and the site's connections for
/// control and for data. `answered` is what components answer.
pub(crate) async fn hosts_server(
    folder: &Path,
    authority: &Authority,
    answered: &[&str],
) -> (Running, SocketAddr, [Client; 2]) {
    let nats = free_address();
    let server = ForHosts {
        name: String::from("site"),
        nats,
        folder: folder.to_owned(),
        authority_pem: authority.pem(),
        traffic: Traffic {
            of_components: answered,
            of_guests: &[],
            of_own_components: &[],
            of_site: &[],
            of_service: &[],
        },
    };
    let identity = authority.server(vec![nats.ip().to_string()]).unwrap();
    server.write(&identity, &[]).unwrap();
    let running = Running::start(&server.start(found(&release::NATS_SERVER)));
    let control = Credentials::for_control(authority, authority).unwrap();
    let data = Credentials::for_data(authority, authority).unwrap();
    (running, nats, [connect(nats, &control).await, connect(nats, &data).await])
}

/// How a host of the site's own starts in a folder. It pulls from a registry of this machine.
pub(crate) fn host(
    folder: &Path,
    name: &str,
    authority: &Authority,
    (nats, registry): (SocketAddr, SocketAddr),
    calls_servers: bool,
) -> Start {
    let config = wash_host::Config {
        kind: HostKind::Site,
        name,
        group: wash_host::GROUP,
        nats: &nats.to_string(),
        server_ca_pem: &authority.pem(),
        identities: &Identities::of_own_host(authority, HostKind::Site).unwrap(),
        pulls_from: &PullsFrom {
            registry: registry.to_string(),
            in_clear_text: true,
            ca_pem: None,
            token: None,
        },
        http: Some(free_address()),
        folder,
        calls_servers,
        servers_ca: None,
    };
    wash_host::prepare(found(&release::WASH), &config).unwrap()
}

/// A port of loopback that nobody uses.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// The program of an engine.
pub(crate) fn found(release: &release::Release) -> PathBuf {
    engine::find(release, &|_| {}).unwrap()
}

/// Connects to the hosts' server as soon as it answers.
async fn connect(address: SocketAddr, credentials: &Credentials) -> Client {
    let started = Instant::now();
    loop {
        match credentials.options().connect(format!("nats://{address}")).await {
            Ok(client) => return client,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
        }
    }
}
