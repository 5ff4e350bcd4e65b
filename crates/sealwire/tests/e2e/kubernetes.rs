//! A Kubernetes cluster beside a site: somebody else's operator orders hosts that are started as
//! `deploy/kubernetes/hosts.yaml` says, and has them run what `sealwire component manifests`
//! prints. The test does what the operator does.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use async_nats::{Client, Request};
use engine::{Authority, HostAddress, accounts::ALL_HEARTBEATS, release};
use futures::StreamExt as _;
use model::derive;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    house,
    mqtt::{Device, heartbeat},
    rig::{Running, found, free_address, host, hosts_server, registry_with},
    site::{DEADLINE, Follower, Site, port, succeeds},
};

/// Milliseconds between two polls of the device.
const EVERY_MS: u64 = 200;
/// Id of a device whose every second value is out of range.
const SWINGING: &str = "0b5a6e0c-8888-4222-8333-944455566677";
/// Questions that are asked to see who answers.
const QUESTIONS: usize = 20;

/// The container of the Deployment that runs a cluster's hosts.
fn container() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/hosts.yaml");
    let deployment: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(|it| it.as_str().unwrap())
}

/// The request by which the operator has a host run a replica of this. It calls each replica
/// differently, and puts in the place of the secret's name what is in it.
fn order(manifest: &Value, replica: usize, secret: &Value) -> Value {
    let spec = &manifest["spec"]["template"]["spec"];
    let mut components = spec["components"].clone();
    for component in components.as_array_mut().unwrap() {
        if let Some(named) = component.get_mut("imagePullSecret") {
            *named = secret.clone();
        }
    }
    let name = format!("{}-7d4b9c-{replica}", manifest["metadata"]["name"].as_str().unwrap());
    json!({
        "workloadId": format!("{name}-uid"),
        "workload": {
            "namespace": "plant",
            "name": name,
            "witWorld": { "components": components, "hostInterfaces": spec["hostInterfaces"] },
        },
    })
}

/// Has a host carry out an order, and waits until the workload runs.
pub(crate) async fn carry_out(bus: &Client, host: impl Fn(&str) -> String, order: &Value) {
    let ask = async |command: &str, body: &Value| {
        let request = Request::new().payload(body.to_string().into()).timeout(Some(DEADLINE));
        let answer = bus.send_request(host(command), request).await.unwrap();
        serde_json::from_slice::<Value>(&answer.payload).unwrap()
    };
    let started = ask("workload.start", order).await;
    let id = &started["workloadStatus"]["workloadId"];
    assert!(id.is_string(), "{started}");
    let running = async {
        let mut status = started["workloadStatus"].clone();
        while status["workloadState"] != "WORKLOAD_STATE_RUNNING" {
            assert_ne!(status["workloadState"], "WORKLOAD_STATE_ERROR", "{status}");
            tokio::task::yield_now().await;
            let told = ask("workload.status", &json!({ "workloadId": id })).await;
            status = told["workloadStatus"].clone();
        }
    };
    timeout(DEADLINE, running).await.unwrap();
}

#[test]
fn a_host_in_a_cluster_is_started_as_a_site_starts_its_own() {
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    let container = container();
    let authority = Authority::new().unwrap();
    let own = host(&home, "site", &authority, (free_address(), free_address()), false);
    for (name, value) in own.environment {
        let is_it = |it: &&Value| it["name"] == name;
        let found = container["env"].as_array().unwrap().iter().find(is_it);
        assert_eq!(found.map(|it| &it["value"]), Some(&json!(value)), "{name}");
    }
    let own: Vec<&str> = own.arguments.iter().map(|it| it.to_str().unwrap()).collect();
    for option in ["--core-instances", "--default-heap-memory", "--nats-connect-timeout"] {
        let value = own.iter().skip_while(|word| **word != option).nth(1).unwrap();
        let wanted = format!("{option}={value}");
        assert!(texts(&container["args"]).any(|word| word == wanted), "{wanted}");
    }
}

#[test]
fn a_question_goes_to_one_of_all_replicas_whatever_the_operator_calls_them() {
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let authority = Authority::new().unwrap();
        let folder = home.join("hosts");
        let (_server, nats, [control, data]) =
            hosts_server(&folder, &authority, &[derive::SUBJECT]).await;
        let mut heartbeats = control.subscribe(ALL_HEARTBEATS).await.unwrap();
        control.flush().await.unwrap();
        let component = "sensor-reader";
        let (registry, _serving) = registry_with(&home, component).await;
        let start = host(&home.join("wash"), "pod", &authority, (nats, registry.address()), false);
        let _host = Running::start(&start);
        let sign = timeout(DEADLINE, heartbeats.next()).await.unwrap().unwrap();
        let address = HostAddress::of_heartbeat(&sign.subject).unwrap();

        let image = registry.image(component).unwrap();
        let config = [(derive::DIGEST_KEY, "sha256:0")];
        let component = lattice::Component::new(component, image.reference(), &config);
        let interfaces = [
            (("wasmcloud", "messaging", "0.2.0"), &["consumer", "handler"][..]),
            (("wasi", "config", "0.2.0-rc.1"), &["store"]),
        ];
        let interfaces = interfaces
            .map(|(package, interfaces)| lattice::HostInterface::new(package, interfaces, &[]));
        let component = component.taking(derive::SUBJECT);
        let workload =
            lattice::Workload::new("sensor-reader", vec![component], interfaces.to_vec());
        let cluster = lattice::Cluster {
            registry: registry.address().to_string().parse().unwrap(),
            pull_secret: None,
            group: String::from("default"),
            replicas: 2.try_into().unwrap(),
        };
        let manifest = workload.manifest(&cluster);
        for replica in 0..2 {
            let order = order(&manifest, replica, &Value::Null);
            carry_out(&control, |command| address.order(command), &order).await;
        }

        // One after the other, so the second answer to a question would be there before the first
        // one to the last question.
        let question = serde_json::to_vec(&derive::Question::default()).unwrap();
        let replies = data.new_inbox();
        let mut answers = data.subscribe(replies.clone()).await.unwrap();
        for _ in 0..QUESTIONS {
            let (reply, question) = (replies.clone(), question.clone());
            data.publish_with_reply(derive::SUBJECT, reply, question.into()).await.unwrap();
            timeout(DEADLINE, answers.next()).await.unwrap().unwrap();
        }
        data.flush().await.unwrap();
        let second = timeout(Duration::from_millis(1), answers.next()).await;
        assert!(second.is_err(), "a question was answered twice");
    });
}

/// Starts `wash` as the Deployment does, with the places of this test.
pub(crate) fn pod(folder: &Path, bus: SocketAddr, ticket: &Value) -> Running {
    let site = folder.join("site");
    fs::create_dir_all(&site).unwrap();
    for (name, content) in [
        ("ca.crt", &ticket["server_ca"]),
        ("tls.crt", &ticket["data"]["certificate"]),
        ("tls.key", &ticket["data"]["key"]),
    ] {
        fs::write(site.join(name), content.as_str().unwrap()).unwrap();
    }
    let container = container();
    let own = |value: &str| folder.join(value.trim_start_matches('/')).display().to_string();
    let arguments = texts(&container["args"]).filter_map(|word| {
        let Some((option, value)) = word.split_once('=') else { return Some(word.to_owned()) };
        let value = match option {
            // The operator's server of this test speaks clear text, as the registry does on
            // loopback.
            "--scheduler-nats-tls-ca"
            | "--scheduler-nats-tls-cert"
            | "--scheduler-nats-tls-key" => {
                return None;
            }
            "--oci-ca-path" => return Some(String::from("--allow-insecure-registries")),
            "--scheduler-nats-url" => format!("nats://{bus}"),
            "--data-nats-url" => format!("tls://{}", ticket["nats"].as_str().unwrap()),
            "--host-name" | "--environment" => value.trim_matches(['$', '(', ')']).to_owned(),
            _ if value.starts_with('/') => own(value),
            _ => value.to_owned(),
        };
        Some(format!("{option}={value}"))
    });
    let environment = container["env"].as_array().unwrap().iter();
    let environment =
        environment.filter_map(|it| Some((it["name"].as_str()?, it["value"].as_str()?)));
    fs::create_dir_all(folder.join("tmp")).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let child = Command::new(found(&release::WASH))
        .args(arguments)
        .env_clear()
        .envs(environment)
        .env("HOME", folder.join("tmp"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

/// The server of the operator, with nothing of a site.
pub(crate) async fn operators_bus(folder: &Path) -> (Running, SocketAddr, Client) {
    let address = free_address();
    let child = Command::new(found(&release::NATS_SERVER))
        .args(["--addr", &Ipv4Addr::LOCALHOST.to_string(), "--port", &address.port().to_string()])
        .args([Path::new("--log"), &folder.join("operator.log")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(format!("nats://{address}")).await.unwrap();
    (Running(child), address, client)
}

#[test]
fn a_cluster_judges_for_a_site_whose_own_host_is_away() {
    let mut site = Site::start(&["--hosts-port=0", "--registry-port=0"]);
    let mut beat = heartbeat(SWINGING, "Swinging", EVERY_MS);
    beat["range"] = json!([0, 10]);
    let device = Device::start(&site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    });
    let follower = Follower::start(&site);
    let data = site.data_dir();
    let data = data.to_str().unwrap();
    let home = TempDir::new().unwrap();
    let file: PathBuf = home.path().join("cluster.json");
    succeeds(&["host", "add", "cluster", "--data-dir", data, "--output", file.to_str().unwrap()]);
    let ticket: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let registry = format!("127.0.0.1:{}", port(site.addresses.registry.as_ref().unwrap()));
    let printed = succeeds(
        &[
            &["component", "manifests", "--data-dir", data, "--registry", &registry][..],
            &["--pull-secret", "sealwire-registry", "--group", "sealwire", "--replicas", "2"],
        ]
        .concat(),
    );
    let list: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
    let secret = json!({ "username": "host", "password": ticket["registry_token"] });

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engines = runtime.block_on(async {
        let (bus, address, client) = operators_bus(home.path()).await;
        let mut heartbeats = client.subscribe("runtime.operator.heartbeat.>").await.unwrap();
        client.flush().await.unwrap();
        let pod = pod(home.path(), address, &ticket);
        let sign = timeout(DEADLINE, heartbeats.next()).await.unwrap().unwrap();
        let said: Value = serde_json::from_slice(&sign.payload).unwrap();
        let id = sign.subject.rsplit_once('.').unwrap().1.to_owned();
        for manifest in list["items"].as_array().unwrap() {
            // The operator gives work to hosts with these labels.
            let spec = &manifest["spec"]["template"]["spec"];
            assert_eq!(said["labels"]["hostgroup"], spec["hostSelector"]["hostgroup"]);
            for replica in 0..2 {
                let host = |command: &str| format!("runtime.host.{id}.{command}");
                carry_out(&client, host, &order(manifest, replica, &secret)).await;
            }
        }
        (pod, bus)
    });
    let own = site.engine("wash");
    kill_process(own, Signal::STOP).unwrap();
    follower.wait_for_more("OUT_OF_RANGE", 10);
    kill_process(own, Signal::CONT).unwrap();
    // Both judge. The cluster's hosts go, and the site's own goes on.
    follower.wait_for_more("OUT_OF_RANGE", 3);
    drop(engines);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    let told = follower.seen();
    drop(device);
    site.stop();
    let kept = house::open(&site.data_dir());
    kept.assert_holds(&told);
    kept.assert_derived_is_what_follows();
}
