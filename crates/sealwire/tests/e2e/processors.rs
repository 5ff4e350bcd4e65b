//! Users' processors beside `sensor-reader`.

use std::{fs, path::Path};

use http_client::Authorities;
use serde_json::{Value, json};
use tempfile::TempDir;
use tlog::Hash;

use crate::{
    house,
    mqtt::{Device, heartbeat},
    pangea::Client,
    site::{Site, agent, sealwire, until},
};

/// What `cargo xtask build` made of `components/test-processor`.
pub(crate) const COMPONENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-components/test-processor.wasm");
const REPOSITORY: &str = "plant/double";
const SENSOR: &str = "0b5a6e0c-7777-4222-8333-944455566677";

/// An image of a component, as tools make them.
pub(crate) struct Image {
    component: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    pub(crate) fn of(component: Vec<u8>) -> Self {
        let layer = digest(&component);
        let config = json!({ "architecture": "wasm", "os": "wasip2", "layerDigests": [layer] });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": digest(&config),
                "size": config.len(),
            },
            "layers": [
                { "mediaType": "application/wasm", "digest": layer, "size": component.len() },
            ],
        });
        Self { component, config, manifest: manifest.to_string().into_bytes() }
    }

    /// Its name in a registry to which it was published.
    pub(crate) fn name(&self) -> String {
        format!("{REPOSITORY}@{}", self.digest())
    }

    /// The digest by which a list names it.
    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Publishes it to the site's registry, and returns its digest.
    pub(crate) fn publish(&self, site: &Site) -> String {
        let token = Client::new(site, "ci", "publish").token;
        let registry = site.addresses.registry.as_ref().unwrap();
        let authorization = format!("Bearer {token}");
        let agent = if registry.starts_with("https:") {
            let own =
                Authorities::parse(&fs::read(site.data_dir().join("tls/ca.pem")).unwrap()).unwrap();
            ureq::Agent::new_with_config(
                ureq::config::Config::builder().tls_config(own.tls()).build(),
            )
        } else {
            agent()
        };
        for blob in [&self.component, &self.config] {
            let url = format!("{registry}/v2/{REPOSITORY}/blobs/uploads/?digest={}", digest(blob));
            let sent = agent.post(&url).header("authorization", &authorization).send(&blob[..]);
            assert_eq!(sent.unwrap().status(), 201);
        }
        let url = format!("{registry}/v2/{REPOSITORY}/manifests/{}", digest(&self.manifest));
        let sent = agent
            .put(&url)
            .header("authorization", &authorization)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .send(&self.manifest[..]);
        assert_eq!(sent.unwrap().status(), 201);
        digest(&self.manifest)
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Hash::sha256(bytes).as_bytes()))
}

/// The file that lists processors, each with its name and the digest of its image.
pub(crate) fn list(folder: &Path, processors: &[(&str, &str)]) -> String {
    let processor = |(name, digest): &(&str, &str)| {
        format!("[[processor]]\nname = \"{name}\"\nimage = \"{REPOSITORY}@{digest}\"\n")
    };
    let path = folder.join("processors.toml");
    fs::write(&path, processors.iter().map(processor).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_processor_derives_beside_others_and_no_poison_keeps_anything_from_it() {
    let folder = TempDir::new().unwrap();
    let image = Image::of(fs::read(COMPONENT).unwrap());
    let component = image.digest();
    // Nobody ever publishes the other image.
    let nowhere = digest(b"nowhere");
    let file = list(folder.path(), &[("double", &component), ("nowhere", &nowhere)]);
    let mut site = Site::start_in(folder, &["--processors", &file, "--registry-port", "0"]);
    let mut beat = heartbeat(SENSOR, "Boiler", 300);
    beat["range"] = json!([0, 50]);
    beat["unit"] = json!("bar");
    let _device = Device::start(&site, beat, |number| {
        let large = if number % 2 == 0 { "60" } else { "20" };
        // The component traps on one, derives what it was not asked about, and is never done.
        let poisons = [(3, "trap"), (5, "nonsense"), (7, "hang")];
        let poison = poisons.into_iter().find(|(at, _)| *at == number);
        let value = poison.map_or(large, |(_, poison)| poison);
        json!({ "value": value, "seq": number }).to_string()
    });
    // sensor-reader judges all of them, while no processor runs.
    site.wait_for_event("RANGE_NOT_JUDGED", |envelope| envelope["event"]["new"] == "trap");
    site.wait_for_event("BACK_IN_RANGE", |_| true);
    assert_eq!(site.events("DERIVED"), Vec::<Value>::new());
    image.publish(&site);

    until("each poison is given up", || (site.events("NOT_JUDGED").len() == 3).then_some(()));
    let poison = site.wait_for_event("NOT_JUDGED", |_| true);
    let (event, own) = (&poison["envelope"]["event"], &poison["envelope"]["sealwire"]);
    assert_eq!((&event["actor"], &own["component"]), (&json!("pipeline"), &json!(component)));
    assert!(event["message"].as_str().unwrap().contains("double fails on it"), "{event}");
    let after = own["from_leaf"].as_u64().unwrap();
    let (_, reading) = site.get(&format!("/api/proof/{after}"));
    assert!(reading["envelope"].as_str().unwrap().contains(r#""new":"hang""#), "{reading}");
    let derived = site.wait_for_event("DERIVED", |envelope| {
        envelope["sealwire"]["from_leaf"].as_u64() > Some(after)
    });
    let (event, own) = (&derived["envelope"]["event"], &derived["envelope"]["sealwire"]);
    assert_eq!(
        json!([event["actor"], event["new"], event["source"], event["message"], own["unit"]]),
        json!(["processor/double", "120", "Hall.Boiler", "Hall.Boiler: double: 120", "bar"])
    );
    assert_eq!((&own["component"], &own["sensor"]), (&json!(component), &json!(SENSOR)));
    let (_, metrics) = site.get_log("/metrics", "127.0.0.1");
    let value = |name: &str, cursor: &str| {
        let line = format!("sealwire_{name}{{cursor=\"{cursor}\"}} ");
        let value = metrics.lines().find_map(|told| told.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("{line}: {metrics}")).parse::<u64>().unwrap()
    };
    assert_eq!(value("pipeline_not_judged_total", house::PROCESSOR), 3);
    assert!(value("pipeline_failures_total", house::PROCESSOR) >= 15);
    assert_eq!(value("pipeline_failures_total", "sensor-reader"), 0);
    assert_eq!(value("pipeline_questions_total", "processor/nowhere"), 0);
    site.stop();
    // Whoever keeps to the documents is refused nothing.
    let log = fs::read_to_string(site.data_dir().join("hosts/nats-server.log")).unwrap();
    assert!(!log.contains("Violation"), "{log}");

    let kept = house::open(&site.data_dir());
    kept.assert_derived_is_what_follows();
    kept.assert_processed_once("60");
    rehearse(&site.data_dir(), after);
}

/// Tests the component on the log in which it failed on a leaf, and did well after that.
fn rehearse(data_dir: &Path, poison: u64) {
    let data_dir = data_dir.to_str().unwrap();
    let test = |arguments: &[&str]| {
        let command = ["component", "test", COMPONENT, "--json", "--data-dir", data_dir];
        let (code, printed, said) = sealwire(&[&command, arguments].concat());
        (code, serde_json::from_str::<Value>(&printed).unwrap_or_default(), said)
    };
    let (from, to) = (poison.to_string(), (poison + 1).to_string());
    let (code, report, said) = test(&["--from", &from, "--to", &to]);
    assert_eq!((code, &report["failures"][0]["leaf"]), (Some(1), &json!(poison)), "{report}{said}");
    assert!(report["reasons"]["wasm trap: interrupt"].as_u64() > Some(0), "{report}");
    // Nothing that was sealed is missing, and nothing else is derived.
    let (code, report, said) = test(&["--against", "double", "--from", &to]);
    let against = &report["against"];
    assert_eq!(code, Some(0), "{report}{said}");
    assert!(
        against["equal"].as_u64() > Some(0) && against["equal"] == report["derived"],
        "{report}"
    );
    let others = [&against["different"], &against["missing"], &against["new"]];
    assert_eq!(others, [&json!(0); 3], "{report}");
}

#[test]
fn a_list_that_cannot_be_followed_is_refused_with_its_line() {
    let folder = TempDir::new().unwrap();
    let image = format!("image = \"plant/a@{}\"", digest(b"nowhere"));
    for (lines, words) in [
        (format!("name = \"A b\"\n{image}"), "not the name of a processor"),
        (String::from("name = \"a\"\nimage = \"a:latest\""), "use <repository>@sha256:"),
        (format!("name = \"a\"\n{image}\nunits = []"), "unknown field `units`"),
    ] {
        let text = format!("[[processor]]\n{lines}\n");
        let path = folder.path().join("processors.toml");
        fs::write(&path, text).unwrap();
        let data_dir = folder.path().join("data");
        let (file, data_dir) = (path.to_str().unwrap(), data_dir.to_str().unwrap());
        let (code, _, said) = sealwire(&["up", "--data-dir", data_dir, "--processors", file]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words) && said.contains("TOML parse error at line"), "{said}");
    }
}
