//! A processor of a user's own, from its first file to what a site seals of it.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    mqtt::{Device, heartbeat},
    pangea::Client,
    processors::list,
    site::{Site, sealwire, succeeds, until},
};

/// Where cargo builds projects, kept from one run to the next.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/authoring");
const SENSOR: &str = "0b5a6e0c-8888-4222-8333-944455566677";

/// Runs a program in a project.
fn run(project: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(project);
    // Whatever toolchain runs this test, a project has its own.
    command.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TARGET_DIR", TARGET).output().unwrap()
}

/// The same, and nothing goes wrong.
fn does(project: &Path, program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(project, program, arguments);
    let [printed, said] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(status.success(), "{program} {arguments:?}: {printed}{said}");
    printed
}

/// Starts a project.
fn begin(folder: &Path, language: &str) -> std::path::PathBuf {
    let project = folder.join("double");
    succeeds(&["component", "new", "double", "--lang", language, project.to_str().unwrap()]);
    project
}

fn build(project: &Path) {
    let printed = does(project, env!("CARGO_BIN_EXE_sealwire"), &["component", "build"]);
    assert!(printed.contains("double.wasm ("), "{printed}");
}

/// Tests the project's component on what a site sealed. Returns the exit code and the report.
fn test(project: &Path, site: &Site, arguments: &[&str]) -> (Option<i32>, Value) {
    let (component, data_dir) = (project.join("double.wasm"), site.data_dir());
    let [component, data_dir] = [&component, &data_dir].map(|path| path.to_str().unwrap());
    let command = ["component", "test", component, "--data-dir", data_dir, "--json"];
    let (code, printed, said) = sealwire(&[&command, arguments].concat());
    let report = serde_json::from_str(&printed);
    (code, report.unwrap_or_else(|_| panic!("{code:?}: {printed}{said}")))
}

/// Publishes the project's component. Returns what is printed for the file of processors.
fn push(project: &Path, site: &Site) -> String {
    let token_file = project.join("token");
    let mut options = fs::OpenOptions::new();
    let mut file = options.mode(0o600).write(true).create_new(true).open(&token_file).unwrap();
    file.write_all(Client::new(site, "me", "publish").token.as_bytes()).unwrap();
    let registry = site.addresses.registry.as_ref().unwrap();
    let (component, token_file) = (project.join("double.wasm"), token_file.to_str().unwrap());
    let arguments = [component.to_str().unwrap(), "plant/double", "--registry", registry];
    succeeds(&[&["component", "push"], &arguments[..], &["--token-file", token_file]].concat())
}

/// A site with a device whose values are small and large in turn.
fn site(folder: TempDir, arguments: &[&str]) -> (Site, Device) {
    let site = Site::start_in(folder, arguments);
    let device = Device::start(&site, heartbeat(SENSOR, "Boiler", 300), |number| {
        json!({ "value": if number % 2 == 0 { "60" } else { "20" }, "seq": number }).to_string()
    });
    until("readings are sealed", || (site.events("SENSOR_READING").len() > 4).then_some(()));
    succeeds(&["log", "--data-dir", site.data_dir().to_str().unwrap(), "checkpoint"]);
    (site, device)
}

#[test]
fn a_project_in_rust_is_built_tested_deployed_and_compared_with_its_next_version() {
    let folder = TempDir::new().unwrap();
    let home = folder.path().to_owned();
    let project = begin(&home, "rust");
    does(&project, "cargo", &["test", "--locked"]);
    let lints = ["--locked", "--release", "--target", "wasm32-unknown-unknown"];
    does(&project, "cargo", &[&["clippy"][..], &lints, &["--", "--deny", "warnings"]].concat());
    does(&project, "cargo", &["fmt", "--check"]);
    build(&project);

    let file = list(&home, &[]);
    let (mut site, _device) = site(folder, &["--processors", &file, "--registry-port", "0"]);
    let (code, report) = test(&project, &site, &[]);
    assert_eq!(code, Some(0), "{report}");
    let (judged, derived) = (&report["judged"], &report["derived"]);
    assert!(judged.as_u64() > derived.as_u64() && derived.as_u64() > Some(0), "{report}");
    assert_eq!(report["values"][0]["value"], "120");

    let listed = push(&project, &site);
    fs::write(&file, &listed).unwrap();
    let (_, digest) = listed.trim_end().trim_end_matches('"').split_once('@').unwrap();
    let published = site.wait_for_event("COMPONENT_PUBLISHED", |_| true);
    assert_eq!(published["envelope"]["event"]["new"], digest);
    site.stop();
    site.start_again();
    let derived = site.wait_for_event("DERIVED", |_| true);
    let own = &derived["envelope"]["sealwire"];
    assert_eq!(
        (&derived["envelope"]["event"]["new"], &own["component"]),
        (&json!("120"), &json!(digest))
    );
    succeeds(&["log", "--data-dir", site.data_dir().to_str().unwrap(), "checkpoint"]);
    let (code, report) = test(&project, &site, &["--against", "double", "--processors", &file]);
    assert_eq!((code, &report["against"]["components"]), (Some(0), &json!([digest])), "{report}");
    assert!(report["against"]["equal"].as_u64() > Some(0), "{report}");

    let logic = project.join("src/process.rs");
    let text = fs::read_to_string(&logic).unwrap();
    fs::write(&logic, text.replace("large * 2.0", "large * 3.0")).unwrap();
    build(&project);
    let (code, report) = test(&project, &site, &["--against", "double"]);
    let against = &report["against"];
    assert_eq!((code, &against["equal"], &against["new"]), (Some(1), &json!(0), &json!(0)));
    assert!(against["different"].as_u64() > Some(0), "{report}");
    let first = &against["differences"][0];
    assert_eq!(
        (&first["sealed"]["value"], &first["derived"]["value"]),
        (&json!("120"), &json!("180"))
    );
}

#[test]
fn a_project_in_javascript_is_built_and_tested() {
    let folder = TempDir::new().unwrap();
    let project = begin(folder.path(), "javascript");
    does(&project, "npm", &["test", "--silent"]);
    build(&project);
    let (site, _device) = site(folder, &[]);
    let (code, report) = test(&project, &site, &[]);
    assert_eq!((code, &report["values"][0]["value"]), (Some(0), &json!("120")), "{report}");
    assert_eq!(report["failures"], json!([]));
}

#[test]
fn what_is_no_processor_is_refused_before_a_host_starts() {
    let folder = TempDir::new().unwrap();
    let components = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/components");
    for (component, words) in [
        ("ui.wasm", "does not export wasmcloud:messaging/handler@0.2.0"),
        ("pangea-api.wasm", "it imports wasi:http/"),
        ("no.wasm", "cannot read"),
    ] {
        let path = format!("{components}/{component}");
        let data_dir = folder.path().to_str().unwrap();
        let (code, _, said) = sealwire(&["component", "test", &path, "--data-dir", data_dir]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let project = begin(folder.path(), "rust");
    let again = ["component", "new", "double", "--lang", "rust", project.to_str().unwrap()];
    let (code, _, said) = sealwire(&again);
    assert_eq!(code, Some(1));
    assert!(said.contains("exists already"), "{said}");
}
