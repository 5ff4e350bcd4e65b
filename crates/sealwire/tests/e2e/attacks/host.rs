//! What a host can reach on the machine if somebody else gives it orders.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use async_nats::{Client, Request};
use engine::{Authority, HostAddress, accounts::ALL_HEARTBEATS};
use futures::StreamExt as _;
use model::{
    derive,
    mirror::{self, Answer},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    rig::{Running, host, hosts_server, registry_with},
    site::DEADLINE,
};

/// A host that serves one component, and who may give it orders and ask the component.
struct Host {
    name: HostAddress,
    /// Reference of the component's image.
    image: String,
    control: Client,
    data: Client,
    folder: PathBuf,
    log: PathBuf,
    _serving: JoinSet<()>,
    _engines: [Running; 2],
}

impl Host {
    /// Starts a host in this home, without a site. `subject` is where the component is asked.
    async fn start(home: &Path, component: &str, subject: &str) -> Self {
        let authority = Authority::new().unwrap();
        let (server, nats, [control, data]) =
            hosts_server(&home.join("hosts"), &authority, &[subject]).await;
        let mut signs_of_life = control.subscribe(ALL_HEARTBEATS).await.unwrap();
        control.flush().await.unwrap();

        let (registry, serving) = registry_with(home, component).await;
        let reference = registry.image(component).unwrap().reference();
        let image = format!("{}/{reference}", registry.address());

        let folder = home.join("wash");
        let start = host(&folder, "site", &authority, (nats, registry.address()), true);
        let host = Running::start(&start);
        let sign = tokio::time::timeout(DEADLINE, signs_of_life.next()).await.unwrap().unwrap();
        let name = HostAddress::of_heartbeat(&sign.subject).unwrap();
        let (log, engines) = (start.log, [host, server]);
        Self { name, image, control, data, folder, log, _serving: serving, _engines: engines }
    }

    async fn order(&self, order: &str, body: &Value) {
        let request = Request::new().payload(body.to_string().into()).timeout(Some(DEADLINE));
        let subject = self.name.order(&format!("workload.{order}"));
        let answer = self.control.send_request(subject, request).await.unwrap();
        let answer = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(answer.contains("success"), "{answer}");
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

#[test]
fn a_host_mounts_no_folder_but_its_own() {
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    fs::write(home.join("site.key"), "secret").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let host = Host::start(&home, "sensor-reader", derive::SUBJECT).await;
        // With its own folder mounted the component answers, so the volume is not the cause of the
        // following failures.
        host.order("start", &workload("own", &host.image, &host.folder)).await;
        let answer = tokio::time::timeout(DEADLINE, ask(&host.data)).await.unwrap();
        assert!(answer.is_some(), "{}", host.log());
        host.order("stop", &json!({ "workloadId": "own" })).await;

        host.order("start", &workload("theirs", &host.image, &home)).await;
        let asked = Instant::now();
        let refusal = loop {
            let answer = ask(&host.data).await;
            assert_eq!(answer, None, "a component ran with the site's folder mounted");
            let log = host.log();
            if let Some(refusal) = log.lines().find(|line| line.contains("Permission denied")) {
                break refusal.to_owned();
            }
            assert!(asked.elapsed() < DEADLINE, "{log}");
        };
        assert!(refusal.contains("failed to create store"), "{refusal}");
    });
}

#[test]
fn a_component_calls_no_server_but_the_one_that_it_may() {
    // An address beyond this machine. Whatever is there, or nothing: the host lets the call go.
    const ELSEWHERE: &str = "http://10.255.255.1:9";
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let host = Host::start(&home, "pangea-api", mirror::SUBJECT).await;
        host.order("start", &calling("allowed", &host.image, ELSEWHERE, ELSEWHERE)).await;
        let asked = Instant::now();
        let end = loop {
            // A host needs a moment to begin to hear.
            if let Some(answer) = call(&host.data).await {
                break answer.end;
            }
            assert!(asked.elapsed() < DEADLINE, "{}", host.log());
        };
        assert!(!format!("{end:?}").contains("Denied"), "{end:?}");
        assert!(!host.log().contains(DENIED), "{}", host.log());
        host.order("stop", &json!({ "workloadId": "allowed" })).await;

        let other = "http://10.255.255.2:9";
        host.order("start", &calling("other", &host.image, ELSEWHERE, other)).await;
        let asked = Instant::now();
        while !host.log().contains(DENIED) {
            let answer = call(&host.data).await;
            let is_denied = |answer: &Answer| format!("{:?}", answer.end).contains("Denied");
            assert!(answer.as_ref().is_none_or(is_denied), "{answer:?}");
            assert!(asked.elapsed() < DEADLINE, "{}", host.log());
        }
    });
}

/// What a host's log says of a call that it does not allow.
const DENIED: &str = "denied by allowed_hosts policy";

/// An interface that a workload needs of its host.
fn interface(namespace: &str, package: &str, version: &str, interfaces: &[&str]) -> Value {
    json!({
        "namespace": namespace, "package": package, "version": version,
        "interfaces": interfaces, "config": {},
    })
}

/// The component `pangea-api`, which is to call one server and may call another.
fn calling(name: &str, image: &str, endpoint: &str, allowed: &str) -> Value {
    json!({ "workloadId": name, "workload": {
        "namespace": "sealwire",
        "name": name,
        "witWorld": {
            "components": [{
                "name": "pangea-api",
                "image": image,
                "poolSize": 1,
                "localResources": {
                    "config": {
                        "subscriptions": mirror::SUBJECT,
                        (derive::DIGEST_KEY): "sha256:0",
                        (mirror::ENDPOINT_KEY): endpoint,
                        (mirror::TOKEN_KEY): "pts_test",
                    },
                    "allowedHosts": [allowed],
                },
            }],
            "hostInterfaces": [
                interface("wasi", "http", "0.2.0", &["outgoing-handler"]),
                interface("wasmcloud", "messaging", "0.2.0", &["consumer", "handler"]),
                interface("wasi", "config", "0.2.0-rc.1", &["store"]),
            ],
        },
    } })
}

/// Has the component call its server. `None` if no answer comes.
async fn call(data: &Client) -> Option<Answer> {
    let call = mirror::Call::Result { id: String::from("prq_test") };
    let question = mirror::Question { call, body: Vec::new() }.to_bytes();
    let request = Request::new().payload(question.into()).timeout(Some(Duration::from_secs(6)));
    let answer = data.send_request(mirror::SUBJECT, request).await.ok()?;
    Some(Answer::parse(&answer.payload).unwrap())
}

/// The component `sensor-reader`, with a folder of the machine mounted.
fn workload(name: &str, image: &str, folder: &Path) -> Value {
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

/// Asks the component an empty question. `None` if no answer comes.
async fn ask(data: &Client) -> Option<Value> {
    let question = serde_json::to_vec(&derive::Question::default()).unwrap();
    let request = Request::new().payload(question.into()).timeout(Some(Duration::from_secs(2)));
    let answer = data.send_request(derive::SUBJECT, request).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}
