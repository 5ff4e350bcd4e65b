//! The registry, as hosts and tools on another machine meet it.

mod tools;

use registry::Image;
use serde_json::Value;
use tempfile::TempDir;

use super::Elsewhere;
use crate::{
    pangea::Client,
    site::{Site, port, sealwire, until},
};

/// Size of the digest's text, `sha256:` and 64 digits.
const DIGEST_CHARS: usize = 71;

#[test]
fn another_machine_pulls_with_tls_and_a_token_alone() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let here = elsewhere.here.as_str();
    let listen = ["--registry-listen", here];
    for (more, words) in [
        (&["--registry-port", "0"][..], "the registry cannot listen on"),
        (&[], "registry-listen needs registry-port"),
    ] {
        let up = ["up", "--data-dir", data_dir.to_str().unwrap()];
        let (code, _, said) = sealwire(&[&up, &listen[..], more].concat());
        assert!(code == Some(1) && said.contains(words), "{said}");
    }

    let ca = &elsewhere.certify(&data_dir, &[]);
    let mut site = Site::start_in(folder, &[&listen[..], &["--registry-port", "0"]].concat());
    let address = site.addresses.registry.clone().unwrap();
    let registry = format!("{here}:{}", port(&address));
    assert_eq!(address, format!("https://{registry}"));
    assert!(site.output().contains(&format!("    registry {address}\n")), "{}", site.output());
    elsewhere.serial(ca, port(&address));
    assert_eq!(elsewhere.curl(ca, &[&format!("http://{registry}/v2/")]).0, 0, "in clear text");

    let puller = Client::new(&site, "host-2", "pull").token;
    let reader = Client::new(&site, "ada", "read,write,operate").token;
    strangers_are_told_to_bring_a_token(&elsewhere, ca, &address);
    wrong_tokens_are_counted(&elsewhere, ca, &address, &puller);
    a_token_for_something_else_is_told_so(&elsewhere, ca, &address, &reader);
    a_token_pulls(&elsewhere, ca, &address, &puller);
    site.stop();
}

fn strangers_are_told_to_bring_a_token(elsewhere: &Elsewhere, ca: &str, address: &str) {
    // Whether a path exists is nobody's business.
    for path in ["", "_catalog", "sealwire/ui/tags/list", "none/tags/list", "../x", "a/b/c/d"] {
        let url = format!("{address}/v2/{path}");
        let (status, said) = elsewhere.curl(ca, &["--include", "--path-as-is", &url]);
        assert_eq!(status, 401, "{path}: {said}");
        assert!(said.contains("www-authenticate: Basic realm=\"sealwire\"\r\n"), "{said}");
        assert!(said.contains(r#"{"errors":[{"code":"UNAUTHORIZED","#), "{said}");
    }
}

fn wrong_tokens_are_counted(elsewhere: &Elsewhere, ca: &str, address: &str, right: &str) {
    let url = format!("{address}/v2/");
    until("there were too many wrong tokens", || {
        let (status, said) = elsewhere.curl(ca, &["--user", "ada:pts_wrong", &url]);
        assert!([401, 429].contains(&status), "{status} {said}");
        (status == 429).then_some(())
    });
    let right = format!("anyone:{right}");
    assert_eq!(elsewhere.curl(ca, &["--user", &right, &url]).0, 200, "others keep nobody out");
}

fn a_token_for_something_else_is_told_so(
    elsewhere: &Elsewhere,
    ca: &str,
    address: &str,
    token: &str,
) {
    let (user, url) = (format!("ada:{token}"), format!("{address}/v2/"));
    let (status, said) = elsewhere.curl(ca, &["--user", &user, &url]);
    assert!(status == 403 && said.contains("the token ada may not pull"), "{status} {said}");
}

fn a_token_pulls(elsewhere: &Elsewhere, ca: &str, address: &str, token: &str) {
    let (user, bearer) = (format!("x:{token}"), format!("Authorization: Bearer {token}"));
    let get = |words: &[&str], path: &str| {
        let url = format!("{address}/v2/{path}");
        elsewhere.curl(ca, &[&["--user", &user, &url], words].concat())
    };
    let json = |path: &str| -> Value {
        let (status, said) = get(&[], path);
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap()
    };
    assert_eq!(elsewhere.curl(ca, &["--header", &bearer, &format!("{address}/v2/")]).0, 200);
    let mut names = site::COMPONENTS.map(|name| format!("sealwire/{name}"));
    names.sort_unstable();
    assert_eq!(json("_catalog")["repositories"], serde_json::json!(names));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(json("sealwire/ui/tags/list")["tags"], serde_json::json!([version, "latest"]));

    let component = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/components/sensor-reader.wasm"
    ));
    let component = component.unwrap();
    let expected = Image::new("sensor-reader", version, &component).digest();
    let manifests = "sealwire/sensor-reader/manifests";
    let manifest = json(&format!("{manifests}/latest"));
    assert_eq!(manifest, json(&format!("{manifests}/{version}")));
    assert_eq!(manifest, json(&format!("{manifests}/{expected}")));
    let layer = &manifest["layers"][0];
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "sensor-reader.wasm");
    let (status, head) = get(&["--head"], &format!("{manifests}/latest"));
    let named = format!("docker-content-digest: {expected}\r\n");
    assert!(status == 200 && expected.len() == DIGEST_CHARS && head.contains(&named), "{head}");

    let blob = format!("sealwire/sensor-reader/blobs/{}", layer["digest"].as_str().unwrap());
    let (status, head) = get(&["--head"], &blob);
    let length = format!("content-length: {}\r\n", component.len());
    assert!(status == 200 && head.contains(&length), "{head}");
    let pulled =
        std::env::temp_dir().join(format!("sealwire-pulled-{:016x}", rand::random::<u64>()));
    let path = pulled.to_str().unwrap();
    assert_eq!(get(&["--output", path], &blob).0, 200);
    assert!(std::fs::read(&pulled).unwrap() == component, "the layer is the component");
    std::fs::remove_file(pulled).unwrap();

    for (path, code) in [
        ("none/tags/list", "NAME_UNKNOWN"),
        (&format!("{manifests}/none") as &str, "MANIFEST_UNKNOWN"),
        (&blob.replace("sensor-reader", "ui"), "BLOB_UNKNOWN"),
        ("Upper/tags/list", "NAME_INVALID"),
    ] {
        let (status, said) = get(&[], path);
        assert!([400, 404].contains(&status) && said.contains(code), "{path}: {status} {said}");
    }
    assert_eq!(get(&["--request", "PUT"], "a/manifests/b").0, 403);
}
