//! Which images may run: those that listed publishers signed, and whose publication the log proves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    apps::{built, deriving, digest_of, push_as},
    house,
    mqtt::{Device, heartbeat},
    pangea::Client,
    site::{Follower, Site, agent, sealwire, succeeds, until},
    witnesses::Witness,
};

const READER: &str = "plant/reader";
const DOUBLE: &str = "plant/double";

/// Someone who pushes and signs images, and an operator who says what is to run.
struct Plant {
    data_dir: String,
    folder: PathBuf,
    token: String,
}

impl Plant {
    fn of(site: &Site) -> Self {
        let token = Client::new(site, "ci", "publish").token;
        let folder = site.data_dir().parent().unwrap().to_owned();
        durable::write_secret(&folder.join("token"), token.as_bytes()).unwrap();
        Self { data_dir: site.data_dir().to_str().unwrap().to_owned(), folder, token }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Makes a publisher's key, and returns the verifier key.
    fn key(&self, name: &str) -> String {
        let words =
            ["component", "key", &self.path(name), "--name", &format!("plant.example/{name}")];
        succeeds(&words).trim().to_owned()
    }

    fn push(&self, site: &Site, repository: &str, bytes: &[u8], how: (&str, bool)) -> String {
        push_as(site.addresses.registry.as_ref().unwrap(), &self.token, repository, bytes, how)
    }

    /// Asks the registry as `sealwire component` does.
    fn component(&self, site: &Site, words: &[&str]) -> (Option<i32>, String) {
        let (registry, token) = (site.addresses.registry.as_ref().unwrap(), self.path("token"));
        let at = ["--registry", registry, "--token-file", &token];
        let (code, printed, said) = sealwire(&[&["component"], words, &at[..]].concat());
        (code, format!("{printed}{said}"))
    }

    fn sign(&self, site: &Site, image: &str, key: &str) {
        let (code, said) = self.component(site, &["sign", image, "--key", &self.path(key)]);
        assert_eq!(code, Some(0), "{said}");
    }

    /// Deploys a file and waits for the outcome.
    fn deploy(&self, lines: &str) -> (Option<i32>, String) {
        let file = self.path("plant.toml");
        fs::write(&file, lines).unwrap();
        let words = ["app", "deploy", &file, "--reason", "a test", "--data-dir", &self.data_dir];
        let (code, printed, said) = sealwire(&words);
        (code, format!("{printed}{said}"))
    }

    #[track_caller]
    fn deploys(&self, lines: &str) {
        let (code, said) = self.deploy(lines);
        assert_eq!(code, Some(0), "{said}");
    }

    /// A deployment goes back for this reason.
    #[track_caller]
    fn goes_back(&self, lines: &str, why: &str) {
        let (code, said) = self.deploy(lines);
        assert!(code == Some(1) && said.contains(why), "{code:?} {said}");
    }

    /// Waits until this is said of a workload.
    fn wait_for_status(&self, workload: &str, words: &str) {
        until(words, || {
            let told = succeeds(&["app", "status", "--data-dir", &self.data_dir]);
            let line = told.lines().find(|line| line.starts_with(workload))?;
            line.contains(words).then_some(())
        });
    }
}

/// Waits until what is wanted has been looked at again, and may still not be started.
fn wait_for_another_look(site: &Site) {
    let forbidden = || {
        let (_, metrics) = site.get_log("/metrics", "127.0.0.1");
        let name = "sealwire_component_starts_forbidden_total ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.parse::<u64>().unwrap()
    };
    let before = forbidden();
    // Each of two workloads is looked at twice.
    until("it is looked again", || (forbidden() >= before + 4).then_some(()));
}

fn swinging(site: &Site) -> Device {
    let mut beat = heartbeat("0b5a6e0c-5555-4222-8333-944455566699", "Swinging", 200);
    beat["range"] = json!([0, 10]);
    beat["unit"] = json!("bar");
    Device::start(site, beat, |number| {
        json!({ "value": (number % 2) * 60, "seq": number }).to_string()
    })
}

#[test]
fn what_no_listed_publisher_signed_does_not_run_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let processors = folder.path().join("processors.toml");
    let double = built("test-components/test-processor");
    // The image follows from the component, so its digest is known before it is pushed.
    let double_image = format!("{DOUBLE}@{}", digest_of(&double, "double"));
    let lines = format!("[[processor]]\nname = \"double\"\nimage = \"{double_image}\"\n");
    fs::write(&processors, lines).unwrap();
    let processors = processors.to_str().unwrap().to_owned();
    let mut site = Site::start_in(folder, &["--registry-port", "0", "--processors", &processors]);
    let (plant, device) = (Plant::of(&site), swinging(&site));
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    let own = deriving(&site).unwrap();
    let (ours, other) = (plant.key("ours"), plant.key("other"));
    let reader = built("components/sensor-reader");
    let [first, second] =
        ["first", "second"].map(|note| plant.push(&site, READER, &reader, (note, true)));
    let image = |digest: &str| format!("{READER}@{digest}");
    let publishers = |key: &str| format!("[publishers]\nci = \"{key}\"\n");
    let wants = |key: &str, digest: &str| {
        let image = image(digest);
        format!("{}[component.sensor-reader]\nimage = \"{image}\"\n", publishers(key))
    };

    plant.deploys(&publishers(&ours));
    let set = site.wait_for_event("COMPONENT_POLICY_SET", |_| true);
    assert!(set["envelope"]["event"]["new"].as_str().unwrap().contains(&ours), "{set}");
    // A processor's image is held to it, too.
    let why = "0 of the 1 listed publishers signed it";
    let pushed = plant.push(&site, DOUBLE, &double, ("double", true));
    assert_eq!(format!("{DOUBLE}@{pushed}"), double_image);
    plant.wait_for_status("processor-double", why);
    // Neither nobody's signature, nor that of a key that is not listed, nor of another image.
    plant.goes_back(&wants(&ours, &first), why);
    plant.sign(&site, &image(&first), "other");
    plant.sign(&site, &image(&second), "ours");
    plant.goes_back(&wants(&ours, &first), why);
    wait_for_another_look(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), own, "the old one goes on");
    assert_eq!(site.events("DERIVED").len(), 0);
    let of = |target: &str, event: &Value| event["envelope"]["event"]["target"] == target;
    let told = site.events("COMPONENT_FORBIDDEN");
    assert_eq!(told.iter().filter(|it| of("processor-double", it)).count(), 1, "sealed once");
    let told = told.iter().find(|it| of("sensor-reader", it)).unwrap();
    let event = &told["envelope"]["event"];
    assert_eq!(event["new"], first.as_str());
    assert!(event["message"].as_str().unwrap().contains(why), "{event}");

    plant.sign(&site, &double_image, "ours");
    follower.wait_for_more("DERIVED", 1);
    plant.sign(&site, &image(&first), "ours");
    plant.deploys(&wants(&ours, &first));
    until("the signed one derives", || (deriving(&site)? == first).then_some(()));
    those_who_signed_are_listed(&site, &plant, &image(&first), [&ours, &other]);

    // What runs goes on when its publisher is not listed any more, and is not started again.
    let stranger = plant.key("stranger");
    plant.deploys(&wants(&stranger, &first));
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), first);
    site.kill();
    site.start_again();
    plant.wait_for_status("sensor-reader", why);
    plant.wait_for_status("processor-double", why);
    let newest = || site.events("OUT_OF_RANGE").first().unwrap()["leaf"].clone();
    let derived = newest();
    wait_for_another_look(&site);
    assert_eq!(newest(), derived, "nobody judges");
    // Readings are sealed all the same, and judged once somebody may.
    plant.deploys(&wants(&ours, &first));
    until("it judges again", || (newest() != derived).then_some(()));
    assert_eq!(deriving(&site).unwrap(), first);
    drop(device);
    site.stop();
    let (code, printed, _) = sealwire(&["verify", "--completeness", &plant.data_dir]);
    assert_eq!(code, Some(0), "{printed}");
    house::open(Path::new(&plant.data_dir)).assert_derived_is_what_follows();
}

fn those_who_signed_are_listed(site: &Site, plant: &Plant, image: &str, keys: [&String; 2]) {
    let [ours, other] = keys;
    let ask = |words: &[&str]| plant.component(site, &[&["signatures", image], words].concat());
    let (code, said) = ask(&["--vkey", ours, "--vkey", other]);
    assert!(code == Some(0) && said.contains(&format!("ok  {ours}")), "{said}");
    let (code, said) = ask(&[]);
    assert!(code == Some(0) && said.contains("not checked  plant.example/other"), "{said}");
    let absent = plant.key("absent");
    let (code, said) = ask(&["--vkey", &absent]);
    assert!(code == Some(1) && said.contains(&format!("MISSING  {absent}")), "{said}");
    let (code, said) = ask(&["--ca", "/dev/null"]);
    assert!(code == Some(1) && said.contains("begins with https://"), "{said}");
    let nowhere = format!("{READER}@sha256:{}", "0".repeat(64));
    let (code, said) = plant.component(site, &["sign", &nowhere, "--key", &plant.path("ours")]);
    assert!(code == Some(1) && said.contains("does not have plant/reader@"), "{said}");
}

#[test]
fn what_the_log_does_not_prove_under_the_witnesses_does_not_run() {
    let mut site = Site::start(&["--registry-port", "0"]);
    let log = site.addresses.vkey.clone();
    site.stop();
    let mut witness = Witness::start("one.test", &log);
    let lines = format!("witness one {} {}\nquorum one\n", witness.at.vkey, witness.at.url);
    fs::write(site.data_dir().join("witness-policy"), lines).unwrap();
    site.start_again();
    let (plant, _device) = (Plant::of(&site), swinging(&site));
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 1);
    let own = deriving(&site).unwrap();

    let reader = built("components/sensor-reader");
    let policy = "[policy]\nlogged = true\n";
    let wants = |digest: &str| {
        format!("{policy}[component.sensor-reader]\nimage = \"{READER}@{digest}\"\n")
    };
    plant.deploys(policy);
    let image = plant.push(&site, READER, &reader, ("image", false));
    plant.goes_back(&wants(&image), "the log does not say that it was published");
    // A program cannot say it in the site's place.
    let writer = Client::new(&site, "writer", "write");
    let event = json!({ "message": "ci published it", "action": "COMPONENT_PUBLISHED",
        "source": "registry", "target": format!("{READER}:latest"), "new": image });
    let (status, said) = writer.post("/v1/log", json!({ "event": event }).to_string());
    assert_eq!(status, 200, "{said}");
    plant.goes_back(&wants(&image), "the log does not say that it was published");

    witness.kill();
    assert_eq!(plant.push(&site, READER, &reader, ("image", true)), image);
    plant.goes_back(&wants(&image), "too few witnesses have signed");
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(deriving(&site).unwrap(), own, "the old one goes on");
    witness.start_again();
    until("it stays once witnesses have seen it", || {
        (plant.deploy(&wants(&image)).0 == Some(0)).then_some(())
    });
    until("it derives", || (deriving(&site)? == image).then_some(()));

    // Whoever may publish can take an image away, and the log says so.
    let registry = site.addresses.registry.as_ref().unwrap();
    let url = format!("{registry}/v2/{READER}/manifests/{image}");
    let bearer = format!("Bearer {}", plant.token);
    assert_eq!(agent().delete(&url).header("authorization", &bearer).call().unwrap().status(), 202);
    let deleted = site.wait_for_event("COMPONENT_DELETED", |it| it["event"]["old"] == *image);
    assert_eq!(deleted["envelope"]["event"]["actor"], "ci");
    // What is demanded of images stays, although the newest file cannot be followed any more.
    site.kill();
    site.start_again();
    until("its own derives", || (deriving(&site)? == own).then_some(()));
    let untagged = plant.push(&site, READER, &reader, ("untagged", false));
    let file = plant.path("same.toml");
    fs::write(&file, wants(&untagged)).unwrap();
    let diff = succeeds(&["app", "diff", &file, "--data-dir", &plant.data_dir]);
    assert!(diff.contains(&untagged) && !diff.contains("images\n"), "{diff}");
    site.stop();
}
