//! Components that hand in events of their own, on hosts that may and on one that may not.

use std::{fs, path::Path};

use async_nats::{Client, ConnectOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    house,
    kubernetes::{carry_out, operators_bus, pod},
    pangea::token,
    processors::Image,
    rig::Running,
    site::{DEADLINE, Site, port, succeeds},
};

/// What `cargo xtask build` made of `components/test-application`.
const COMPONENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-components/test-application.wasm");
/// Where the component takes what it is to hand in: a subject within its host's own.
const ASKED: &str = "_INBOX.application";

/// A host that runs the component, and somebody who asks it.
struct Host {
    asking: Client,
    _engines: [Running; 2],
}

impl Host {
    async fn start(site: &Site, image: &Image, name: &str, rights: &[&str], home: &Path) -> Self {
        let folder = home.join(name);
        fs::create_dir(&folder).unwrap();
        let (file, data) = (folder.join("host.json"), site.data_dir());
        let place = ["--data-dir", data.to_str().unwrap(), "--output", file.to_str().unwrap()];
        succeeds(&[&["host", "add", name], &place[..], rights].concat());
        let ticket: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();

        let (bus, address, orders) = operators_bus(&folder).await;
        let mut heartbeats = orders.subscribe("runtime.operator.heartbeat.>").await.unwrap();
        orders.flush().await.unwrap();
        let pod = pod(&folder, address, &ticket);
        let sign = timeout(DEADLINE, heartbeats.next()).await.unwrap().unwrap();
        let id = sign.subject.rsplit_once('.').unwrap().1.to_owned();
        let registry = format!("127.0.0.1:{}", port(site.addresses.registry.as_ref().unwrap()));
        // The host's own token is good for what the site runs there.
        let pull = token(site, &["create", "--name", &format!("{name}-images"), "--scope", "pull"]);
        let order = json!({ "workloadId": "application", "workload": {
            "namespace": "plant",
            "name": "application",
            "witWorld": {
                "components": [{
                    "name": "application",
                    "image": format!("{registry}/{}", image.name()),
                    "imagePullSecret": { "username": "host", "password": pull["token"] },
                    "poolSize": 1,
                    "localResources": { "config": { "subscriptions": ASKED } },
                }],
                "hostInterfaces": [{
                    "namespace": "wasmcloud",
                    "package": "messaging",
                    "version": "0.2.0",
                    "interfaces": ["consumer", "handler"],
                    "config": {},
                }],
            },
        } });
        carry_out(&orders, |command| format!("runtime.host.{id}.{command}"), &order).await;
        let file = |name: &str| folder.join("site").join(name);
        let asking = ConnectOptions::new()
            .require_tls(true)
            .add_root_certificates(file("ca.crt"))
            .add_client_certificate(file("tls.crt"), file("tls.key"))
            .connect(format!("tls://{}", ticket["nats"].as_str().unwrap()));
        Self { asking: asking.await.unwrap(), _engines: [pod, bus] }
    }

    /// What the component is answered.
    async fn hand_in(&self, key: &str, events: &Value) -> String {
        let asked = json!({ "key": key, "events": events }).to_string();
        let answer = self.asking.request(ASKED, asked.into()).await.unwrap();
        String::from_utf8(answer.payload.to_vec()).unwrap()
    }
}

#[test]
fn components_hand_in_events_under_their_hosts_name_if_it_may() {
    let mut site = Site::start(&["--hosts-port=0", "--registry-port=0"]);
    let image = Image::of(fs::read(COMPONENT).unwrap());
    image.publish(&site);
    let home = TempDir::new().unwrap();
    let login = |who: &str| json!([{ "message": format!("{who} logged in"), "actor": who }]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (first, leaf) = runtime.block_on(async {
        let may = Host::start(&site, &image, "shop", &["--writes"], home.path()).await;
        let may_not = Host::start(&site, &image, "other", &[], home.path()).await;
        let first = may.hand_in("login-1", &login("ada")).await;
        let receipt: Value = serde_json::from_str(&first).unwrap();
        let leaf = receipt["receipts"][0]["leaf"].as_u64().unwrap();
        // A retry gets the first receipts; the key is good for these events alone.
        assert_eq!(may.hand_in("login-1", &login("ada")).await, first);
        let other: Value =
            serde_json::from_str(&may.hand_in("login-1", &login("bob")).await).unwrap();
        assert_eq!(other["status"], 409, "{other}");
        let wrong = may.hand_in("login-2", &json!({ "message": 7 })).await;
        assert_eq!(serde_json::from_str::<Value>(&wrong).unwrap()["status"], 400, "{wrong}");
        let refused = may_not.hand_in("login-1", &login("eve")).await;
        assert_eq!(serde_json::from_str::<Value>(&refused).unwrap()["status"], 401, "{refused}");
        // Revoked, it is refused what it could do before.
        let data = site.data_dir();
        succeeds(&["token", "revoke", "host.shop", "--data-dir", data.to_str().unwrap()]);
        let refused = may.hand_in("login-3", &login("ada")).await;
        assert_eq!(serde_json::from_str::<Value>(&refused).unwrap()["status"], 401, "{refused}");
        (receipt, leaf)
    });
    site.stop();
    let kept = house::open(&site.data_dir());
    let sealed = kept.envelopes.iter().zip(0..).filter(|(it, _)| it.event.message.ends_with("in"));
    let sealed: Vec<_> = sealed.filter(|(it, _)| it.event.message.contains("logged")).collect();
    let [(envelope, at)] = sealed.as_slice() else { panic!("{sealed:?}") };
    assert_eq!((*at, envelope.event.token.as_deref()), (leaf, Some("host.shop")));
    assert_eq!(envelope.event.actor.as_deref(), Some("ada"));
    let commitment = tlog::Hash::sha256(&envelope.canonical());
    assert_eq!(first["receipts"][0]["commitment"], hex::encode(commitment.as_bytes()));
}
