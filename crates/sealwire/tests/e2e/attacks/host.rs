//! What a host can reach on the machine if somebody else gives it orders.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use access::{ApiTokens, Gate};
use async_nats::{Client, Request};
use engine::{
    Authority, Credentials, Traffic,
    nats_server::ForHosts,
    release,
    supervise::{RUN_ENGINE, Start},
    wash_host,
};
use futures::StreamExt as _;
use ledger::Ledger;
use model::derive;
use registry::{Image, Parts, Readers, Registry};
use serde_json::{Value, json};
use tempfile::TempDir;
use tlog::{KeyName, Signer};

use crate::site::DEADLINE;

/// A running engine. Dropping it kills it.
struct Running(Child);

impl Running {
    /// Starts an engine as a site does: through our own program, which confines it.
    fn start(start: &Start) -> Self {
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

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn found(release: &release::Release) -> std::path::PathBuf {
    engine::find(release, &|_| {}).unwrap()
}

#[test]
fn a_host_mounts_no_folder_but_its_own() {
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    fs::write(home.join("site.key"), "secret").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let authority = Authority::new().unwrap();
        let (nats, http) = (free_address(), free_address());
        let traffic = Traffic { of_components: &[derive::SUBJECT], of_site: &[], of_service: &[] };
        let (hosts, wash) = (home.join("hosts"), home.join("wash"));
        let server =
            ForHosts { name: "site", nats, folder: &hosts, authority: &authority, traffic };
        let _server = Running::start(&server.prepare(found(&release::NATS_SERVER)).unwrap());
        let control = connect(nats, &Credentials::for_control(&authority).unwrap()).await;
        let data = connect(nats, &Credentials::for_data(&authority).unwrap()).await;
        let mut signs_of_life = control.subscribe("runtime.operator.heartbeat.*").await.unwrap();
        control.flush().await.unwrap();

        let config = wash_host::Config {
            name: "site",
            nats,
            http,
            folder: &wash,
            authority: &authority,
            servers_ca: None,
        };
        let start = wash_host::prepare(found(&release::WASH), &config).unwrap();
        let _host = Running::start(&start);
        let sign = tokio::time::timeout(DEADLINE, signs_of_life.next()).await.unwrap().unwrap();
        let host = sign.subject.rsplit_once('.').unwrap().1.to_owned();

        let name = KeyName::parse("test").unwrap();
        let reader =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components/sensor-reader.wasm");
        let parts = Parts {
            images: vec![Image::new("reader", "0.1.0", &fs::read(reader).unwrap())],
            folder: registry::folder_in(&home),
            gate: Gate::new(ApiTokens::load(access::path_in(&home)).unwrap()),
            ledger: Ledger::open(&home.join("log"), Signer::from_seed(name, &[7; 32])).unwrap().0,
        };
        let (registry, port) = Registry::bind(parts).await.unwrap();
        let (_, image) = registry.image("reader").unwrap();
        let (listener, router) = (port.into_listener(), registry.router(Readers::Anyone));
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await });

        // With its own folder mounted the component answers, so the volume is not the cause of the
        // following failures.
        order(&control, &host, "start", &workload("own", &image, &wash)).await;
        let answer = tokio::time::timeout(DEADLINE, ask(&data)).await.unwrap();
        assert!(answer.is_some(), "{}", fs::read_to_string(&start.log).unwrap());
        order(&control, &host, "stop", &json!({ "workloadId": "own" })).await;

        order(&control, &host, "start", &workload("theirs", &image, &home)).await;
        let asked = Instant::now();
        let refusal = loop {
            assert_eq!(ask(&data).await, None, "a component ran with the site's folder mounted");
            let log = fs::read_to_string(&start.log).unwrap();
            if let Some(refusal) = log.lines().find(|line| line.contains("Permission denied")) {
                break refusal.to_owned();
            }
            assert!(asked.elapsed() < DEADLINE, "{log}");
        };
        assert!(refusal.contains("failed to create store"), "{refusal}");
    });
}

async fn connect(address: SocketAddr, credentials: &Credentials) -> Client {
    let started = Instant::now();
    loop {
        match credentials.options().connect(format!("nats://{address}")).await {
            Ok(client) => return client,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
        }
    }
}

/// The component `sensor-reader`, with a folder of the machine mounted.
fn workload(name: &str, image: &str, folder: &Path) -> Value {
    let interface = |namespace: &str, package: &str, version: &str, interfaces: &[&str]| {
        json!({
            "namespace": namespace, "package": package, "version": version,
            "interfaces": interfaces, "config": {},
        })
    };
    json!({ "workloadId": name, "workload": {
        "namespace": "sealwire",
        "name": name,
        "volumes": [{ "name": "folder", "hostPath": { "localPath": folder } }],
        "witWorld": {
            "components": [{
                "name": "reader",
                "image": image,
                "poolSize": 1,
                "localResources": {
                    "config": { "subscriptions": derive::SUBJECT, (derive::DIGEST_KEY): "sha256:0" },
                    "volumeMounts": [{ "name": "folder", "mountPath": "/folder" }],
                },
            }],
            "hostInterfaces": [
                interface("wasmcloud", "messaging", "0.2.0", &["consumer", "handler"]),
                interface("wasi", "config", "0.2.0-rc.1", &["store"]),
            ],
        },
    } })
}

async fn order(control: &Client, host: &str, order: &str, body: &Value) {
    let request = Request::new().payload(body.to_string().into()).timeout(Some(DEADLINE));
    let subject = format!("runtime.host.{host}.workload.{order}");
    let answer = control.send_request(subject, request).await.unwrap();
    let answer = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(answer.contains("success"), "{answer}");
}

/// Asks the component an empty question. `None` if no answer comes.
async fn ask(data: &Client) -> Option<Value> {
    let question = serde_json::to_vec(&derive::Question::default()).unwrap();
    let request = Request::new().payload(question.into()).timeout(Some(Duration::from_secs(2)));
    let answer = data.send_request(derive::SUBJECT, request).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}
