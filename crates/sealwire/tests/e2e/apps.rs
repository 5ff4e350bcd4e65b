//! Deploys other images of components while readings are judged: they are on trial, and stay, go
//! back by themselves, or are taken back.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    house,
    mqtt::{Device, heartbeat},
    pangea::Client,
    site::{Follower, Site, agent, sealwire, succeeds, until},
};

/// Time in which a deployment goes back that cannot stay. The tests beside this one keep the
/// machine busy.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What `cargo xtask build` made of a component.
pub(crate) fn built(file: &str) -> Vec<u8> {
    fs::read(format!("{}/../../target/{file}.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Config and manifest of the image of a component. `note` makes it another image than those with
/// the same bytes.
fn image_of(component: &[u8], note: &str) -> (String, String) {
    let layer = digest(component);
    let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [layer] });
    let config = config.to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": digest(config.as_bytes()), "size": config.len() },
        "layers": [{ "mediaType": "application/wasm", "digest": layer, "size": component.len() }],
        "annotations": { "org.opencontainers.image.title": note },
    });
    (config, manifest.to_string())
}

/// The digest of that image.
pub(crate) fn digest_of(component: &[u8], note: &str) -> String {
    digest(image_of(component, note).1.as_bytes())
}

/// Pushes these bytes as the image of a component under the tag `latest`, and returns its digest.
fn push(registry: &str, token: &str, repository: &str, component: &[u8], note: &str) -> String {
    push_as(registry, token, repository, component, (note, true))
}

/// The same under the tag or under none.
pub(crate) fn push_as(
    registry: &str,
    token: &str,
    repository: &str,
    component: &[u8],
    (note, is_tagged): (&str, bool),
) -> String {
    let bearer = format!("Bearer {token}");
    let (config, manifest) = image_of(component, note);
    for blob in [config.as_bytes(), component] {
        let url = format!("{registry}/v2/{repository}/blobs/uploads/?digest={}", digest(blob));
        let answer = agent().post(&url).header("authorization", &bearer).send(blob).unwrap();
        assert_eq!(answer.status(), 201, "{url}");
    }
    let named = digest(manifest.as_bytes());
    let reference = if is_tagged { "latest" } else { &named };
    let url = format!("{registry}/v2/{repository}/manifests/{reference}");
    let put = agent().put(&url).header("authorization", &bearer);
    let put = put.content_type("application/vnd.oci.image.manifest.v1+json");
    let answer = put.send(&manifest).unwrap();
    assert_eq!(answer.status(), 201, "{url}");
    named
}

/// The digest by which the newest derived event names its component.
pub(crate) fn deriving(site: &Site) -> Option<String> {
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

    let built = built("components/sensor-reader");
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

    // One that does not start replaces nothing, and goes back by itself.
    wants(&broken);
    assert_refused(path, data_dir, "went back: sensor-reader in its trial: no host starts it");
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), other);
    let history = app(&["history"]);
    assert_eq!(history.lines().count(), 2 * 3, "{history}");
    assert!(history.contains("no host starts it"), "{history}");

    // A start runs what was deployed, and continues with what is on trial.
    fs::write(&file, "").unwrap();
    app(&["deploy", path, "--reason", "the site's own", "--no-wait"]);
    assert_refused(path, data_dir, "is on trial");
    until("it is on probation", || app(&["status"]).contains("on probation").then_some(()));
    until("its own derives", || (deriving(&site)? == own).then_some(()));
    site.kill();
    site.start_again();
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    until("it is on probation again", || app(&["status"]).contains("on probation").then_some(()));
    until("its own derives again", || (deriving(&site)? == own).then_some(()));
    app(&["rollback", "--reason", "we want the other one"]);
    until("the other one derives again", || (deriving(&site)? == other).then_some(()));
    let history = app(&["history"]);
    assert!(history.lines().last().unwrap().ends_with("we want the other one"), "{history}");
    app(&["rollback", "--reason", "before the first deployment the site ran its own"]);
    until("its own derives at last", || (deriving(&site)? == own).then_some(()));
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

/// A device whose readings say how `test-reader` is to fail.
fn faulty_device(site: &Site, fault: &Arc<Mutex<&'static str>>) -> Device {
    let fault = Arc::clone(fault);
    let beat = heartbeat("0b5a6e0c-5555-4222-8333-944455566699", "Faulty", 200);
    Device::start(site, beat, move |number| {
        json!({ "value": *fault.lock().unwrap(), "seq": number }).to_string()
    })
}

fn swinging_device(site: &Site) -> Device {
    let mut beat = heartbeat("0b5a6e0c-5555-4222-8333-944455566688", "Swinging", 200);
    beat["range"] = json!([0, 10]);
    Device::start(site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    })
}

#[test]
fn an_upgrade_that_fails_goes_back_by_itself_and_every_reading_is_judged_once() {
    let mut site = Site::start(&["--registry-port", "0"]);
    let fault = Arc::new(Mutex::new("7"));
    let _devices = [swinging_device(&site), faulty_device(&site, &fault)];
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    let own = deriving(&site).unwrap();
    let token = Client::new(&site, "ci", "publish").token;
    let registry = site.addresses.registry.clone().unwrap();
    let faulty = built("test-components/test-reader");
    let digest = push(&registry, &token, "plant/reader", &faulty, "faulty");
    let (data_dir, file) = (site.data_dir(), site.data_dir().with_file_name("plant.toml"));
    let (data_dir, path) = (data_dir.to_str().unwrap(), file.to_str().unwrap());
    let image = format!("image = \"plant/reader@{digest}\"");
    fs::write(&file, format!("[component.sensor-reader]\n{image}\n")).unwrap();

    // It does well in its trial, and fails later: nothing is given up that the old one can judge.
    let app = |words: &[&str]| succeeds(&[&["app"], words, &["--data-dir", data_dir]].concat());
    app(&["deploy", path, "--reason", "a test", "--no-wait"]);
    until("it is on probation", || app(&["status"]).contains("on probation").then_some(()));
    until("it derives", || (deriving(&site)? == digest).then_some(()));
    *fault.lock().unwrap() = "trap";
    let began = Instant::now();
    let stands = until("it is decided", || {
        let status = app(&["status"]);
        let line = status.lines().last().unwrap().to_owned();
        (line.contains("went back") || line.contains("it stays")).then_some(line)
    });
    let words = "it went back: sensor-reader on probation: it does not answer what the old one";
    assert!(stands.contains(words), "{stands}");
    assert!(began.elapsed() < BACK_WITHIN, "{:?}", began.elapsed());
    until("its own derives", || (deriving(&site)? == own).then_some(()));

    // One that fails from the beginning judges nothing.
    for (number, (how, words)) in [
        ("trap", "it does not answer what the old one answers"),
        ("hang", "it does not answer what the old one answers"),
        ("memory", "it does not answer what the old one answers"),
        ("nonsense", "the site refuses its answer"),
    ]
    .into_iter()
    .enumerate()
    {
        *fault.lock().unwrap() = how;
        site.wait_for_event("SENSOR_READING", |it| it["event"]["new"] == how);
        let began = Instant::now();
        assert_refused(path, data_dir, &format!("went back: sensor-reader in its trial: {words}"));
        assert!(began.elapsed() < BACK_WITHIN, "{how}: {:?}", began.elapsed());
        let back = site.events("COMPONENT_ROLLED_BACK");
        assert_eq!(back.len(), number + 2, "{how}");
        let event = &back[0]["envelope"]["event"];
        assert_eq!(
            json!([event["actor"], event["target"], event["old"], event["new"]]),
            json!(["site", "sensor-reader", digest, own]),
            "{how}"
        );
        follower.wait_for_more("OUT_OF_RANGE", 1);
    }
    assert_eq!(deriving(&site).unwrap(), own);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(site.events("NOT_JUDGED"), Vec::<Value>::new());
    site.stop();
    let (code, printed, _) = sealwire(&["verify", "--completeness", data_dir]);
    assert_eq!(code, Some(0), "{printed}");
    house::open(Path::new(data_dir)).assert_derived_is_what_follows();
}

#[test]
fn a_secret_is_nowhere_but_in_its_own_file() {
    let mut site = Site::start(&["--registry-port", "0"]);
    let (data_dir, file) = (site.data_dir(), site.data_dir().with_file_name("plant.toml"));
    let (path, secrets) = (file.to_str().unwrap(), data_dir.join("secrets"));
    let text = "[component.sensor-reader]\nconfig.limit = \"5\"\nsecrets.key = \"boiler\"\n";
    fs::write(&file, text).unwrap();
    let folder = data_dir.to_str().unwrap();
    assert_refused(path, folder, "there is no secret ");
    let (secret, value) = (secrets.join("boiler"), "the boiler is hot");
    fs::create_dir(&secrets).unwrap();
    fs::write(&secret, format!("{value}\n")).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    assert_refused(path, folder, "(mode 644): `chmod 600` it");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();

    let app = |words: &[&str]| succeeds(&[&["app"], words, &["--data-dir", folder]].concat());
    let mut said = app(&["deploy", path, "--reason", "a test", "--no-wait", "--json"]);
    assert!(said.contains("key = the secret boiler"), "{said}");
    // So it answers with this configuration.
    until("it is on probation", || app(&["status"]).contains("on probation").then_some(()));
    said.extend([app(&["status", "--json"]), app(&["history"])]);
    site.stop();
    said.push_str(&site.output());
    assert!(!said.contains(value), "{said}");
    let mut folders = vec![data_dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && path != secret {
                let content = fs::read(&path).unwrap();
                let is_in_it = content.windows(value.len()).any(|part| part == value.as_bytes());
                assert!(!is_in_it, "{}", path.display());
            }
        }
    }
}

#[test]
fn whatever_is_not_the_component_it_is_deployed_as_goes_back() {
    let site = Site::start(&["--registry-port", "0"]);
    let token = Client::new(&site, "ci", "publish").token;
    let registry = site.addresses.registry.clone().unwrap();
    let (data_dir, file) = (site.data_dir(), site.data_dir().with_file_name("plant.toml"));
    let (data_dir, path) = (data_dir.to_str().unwrap(), file.to_str().unwrap());
    let deployed = |name: &str, component: &str| {
        let bytes = built(&format!("components/{component}"));
        let digest = push(&registry, &token, &format!("plant/{name}"), &bytes, name);
        let image = format!("image = \"plant/{name}@{digest}\"");
        fs::write(&file, format!("[component.{name}]\n{image}\n")).unwrap();
    };
    for (name, component) in [("event-logger", "sensor-reader"), ("http-gateway", "ui")] {
        deployed(name, component);
        assert_refused(path, data_dir, "went back: ");
    }
    // An event logger and a gateway like the site's own stay.
    for name in ["event-logger", "http-gateway"] {
        deployed(name, name);
        let deploy = ["app", "deploy", path, "--reason", "a test", "--data-dir", data_dir];
        let printed = succeeds(&deploy);
        assert!(printed.contains("deployed on trial"), "{printed}");
    }
    assert_eq!(site.events("COMPONENT_ROLLED_BACK").len(), 2);
}
