//! Deploys another image of a component, and takes it back, while readings are judged.

use std::{fs, path::Path};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    house,
    mqtt::{Device, heartbeat},
    pangea::Client,
    site::{Follower, Site, agent, sealwire, succeeds, until},
};

/// Pushes these bytes as the image of a component, and returns its digest. `note` makes it another
/// image than those with the same bytes.
fn push(registry: &str, token: &str, repository: &str, component: &[u8], note: &str) -> String {
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let bearer = format!("Bearer {token}");
    let config = json!({ "architecture": "wasm", "os": "wasip2",
        "layerDigests": [digest(component)] })
    .to_string();
    for blob in [config.as_bytes(), component] {
        let url = format!("{registry}/v2/{repository}/blobs/uploads/?digest={}", digest(blob));
        let answer = agent().post(&url).header("authorization", &bearer).send(blob).unwrap();
        assert_eq!(answer.status(), 201, "{url}");
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": digest(config.as_bytes()), "size": config.len() },
        "layers": [{ "mediaType": "application/wasm", "digest": digest(component),
            "size": component.len() }],
        "annotations": { "org.opencontainers.image.title": note },
    })
    .to_string();
    let url = format!("{registry}/v2/{repository}/manifests/latest");
    let put = agent().put(&url).header("authorization", &bearer);
    let put = put.content_type("application/vnd.oci.image.manifest.v1+json");
    let answer = put.send(&manifest).unwrap();
    assert_eq!(answer.status(), 201, "{url}");
    digest(manifest.as_bytes())
}

/// The digest by which the newest derived event names its component.
fn deriving(site: &Site) -> Option<String> {
    let events = site.events("OUT_OF_RANGE");
    let component = &events.first()?["envelope"]["sealwire"]["component"];
    component.as_str().map(String::from)
}

#[test]
fn what_is_deployed_runs_after_a_restart_too_and_is_taken_back() {
    let mut site = Site::start(&["--simulate", "20", "--registry-port", "0"]);
    let id = "0b5a6e0c-5555-4222-8333-944455566688";
    let mut beat = heartbeat(id, "Swinging", 200);
    beat["range"] = json!([0, 10]);
    let _device = Device::start(&site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    });
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    let own = deriving(&site).unwrap();

    let built = fs::read(format!(
        "{}/../../target/components/sensor-reader.wasm",
        env!("CARGO_MANIFEST_DIR")
    ));
    let built = built.unwrap();
    let token = Client::new(&site, "ci", "publish").token;
    let registry = site.addresses.registry.clone().unwrap();
    let other = push(&registry, &token, "plant/reader", &built, "other");
    let broken = push(&registry, &token, "plant/reader", b"\0asm\x0d\0\x01\0nonsense", "broken");

    let data_dir = site.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let file = site.data_dir().with_file_name("plant.toml");
    let wants = |digest: &str| {
        let text = format!("[component.sensor-reader]\nimage = \"plant/reader@{digest}\"\n");
        fs::write(&file, text).unwrap();
    };
    let app = |words: &[&str]| succeeds(&[&["app"], words, &["--data-dir", data_dir]].concat());
    let path = file.to_str().unwrap();

    // What is not in the registry is refused, and so is what cannot be followed.
    wants(&format!("sha256:{}", "0".repeat(64)));
    assert_refused(path, data_dir, "registry does not have plant/reader@sha256:000");
    fs::write(&file, "[component.sensor-reader]\nreplicas = 0\n").unwrap();
    assert_refused(path, data_dir, "line 2: replicas are a number from 1 to 64");

    wants(&other);
    let shown = app(&["diff", path]);
    assert!(shown.contains(&own) && shown.contains(&other), "{shown}");
    let deployed = app(&["deploy", path, "--reason", "a test", "--actor", "ada"]);
    assert!(deployed.contains(&other), "{deployed}");
    let sealed = site.wait_for_event("COMPONENT_DEPLOYED", |it| it["event"]["new"] == *other);
    let event = &sealed["envelope"]["event"];
    assert_eq!((&event["old"], &event["target"]), (&json!(own), &json!("sensor-reader")));
    assert!(event["actor"].as_str().unwrap().ends_with(" as ada"), "{event}");
    until("the other one derives", || (deriving(&site)? == other).then_some(()));
    // The old one is stopped: nobody but the other one derives from here on.
    until("only one of them runs", || {
        let log = fs::read_to_string(site.data_dir().join("wash/wash-host.log")).unwrap();
        log.contains("Stopping workload").then_some(())
    });

    // One that does not start replaces nothing.
    wants(&broken);
    app(&["deploy", path, "--reason", "a test"]);
    until("the host says why it does not start", || {
        app(&["status"])
            .lines()
            .any(|line| line.starts_with("sensor-reader") && line.contains('('))
            .then_some(())
    });
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), other);
    app(&["rollback", "--reason", "it does not start"]);
    let history = app(&["history"]);
    assert_eq!(history.lines().count(), 2 * 3, "{history}");
    assert!(history.lines().last().unwrap().ends_with("it does not start"), "{history}");

    // A start runs what was deployed.
    site.kill();
    site.start_again();
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), other);

    // Before the first deployment the site ran its own.
    fs::write(&file, "").unwrap();
    app(&["deploy", path, "--reason", "the site's own"]);
    until("its own derives", || (deriving(&site)? == own).then_some(()));
    site.stop();
    let (code, printed, _) = sealwire(&["verify", "--completeness", data_dir]);
    assert_eq!(code, Some(0), "{printed}");
    house::open(Path::new(data_dir)).assert_derived_is_what_follows();
}

#[track_caller]
fn assert_refused(path: &str, data_dir: &str, words: &str) {
    let deploy = ["app", "deploy", path, "--reason", "a test", "--data-dir", data_dir];
    let (code, _, said) = sealwire(&deploy);
    assert!(code == Some(1) && said.contains(words), "{said}");
}
