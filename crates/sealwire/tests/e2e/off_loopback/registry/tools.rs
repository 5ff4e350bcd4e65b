//! Tools of other makers push to the registry and pull from it: wasmCloud's `wash`, `oras` and
//! Google's `crane`, from another machine. What a machine cannot have is skipped in words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use engine::release;
use serde_json::Value;
use tempfile::TempDir;

use super::super::Elsewhere;
use crate::{
    pangea::Client,
    site::{Site, port, sealwire, succeeds},
};

/// A site with a registry, and somebody elsewhere who may publish.
struct Plant<'a> {
    elsewhere: &'a Elsewhere,
    site: Site,
    ca: String,
    /// Host name and port of the registry.
    registry: String,
    token: String,
    /// Where the tools keep what they keep.
    home: TempDir,
}

#[test]
fn tools_of_other_makers_push_and_pull() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let ca = elsewhere.certify(&folder.path().join("data"), &[]);
    let listen = ["--registry-port", "0", "--registry-listen", &elsewhere.here];
    let site = Site::start_in(folder, &listen);
    let registry =
        format!("{}:{}", elsewhere.here, port(site.addresses.registry.as_ref().unwrap()));
    let token = Client::new(&site, "ci", "publish").token;
    let home = TempDir::new().unwrap();
    let mut plant = Plant { elsewhere: &elsewhere, site, ca, registry, token, home };
    plant.wash_pushes_and_pulls();
    let tool = |variable: &str| {
        let path = std::env::var_os(variable).map(PathBuf::from);
        if path.is_none() {
            eprintln!("skipped: {variable} names no program; `cargo xtask test` builds it with Go");
        }
        path
    };
    let crane = tool("CRANE");
    if let Some(crane) = &crane {
        plant.crane_copies(crane);
    }
    let oras = tool("ORAS");
    if let Some(oras) = &oras {
        plant.oras_pushes_and_pulls(oras);
    }
    plant.everything_is_sealed(crane.is_some(), oras.is_some());
}

impl Plant<'_> {
    /// Runs a program elsewhere in the folder of the tools, and returns what it prints.
    #[track_caller]
    fn run(&self, program: &Path, words: &[&str]) -> String {
        let mut command = self.elsewhere.command(&[program.to_str().unwrap()]);
        let home = self.home.path();
        command.args(words).current_dir(home).env("HOME", home).env("DOCKER_CONFIG", home);
        let said = command.env("SSL_CERT_FILE", &self.ca).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&said.stdout), text(&said.stderr));
        assert!(said.status.success(), "{words:?}: {out}{err}");
        out
    }

    fn component(&self) -> Vec<u8> {
        let path = "/../../target/components/sensor-reader.wasm";
        let component = fs::read(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        fs::write(self.home.path().join("mine.wasm"), &component).unwrap();
        component
    }

    fn wash_pushes_and_pulls(&self) {
        let wash = engine::find(&release::WASH, &|_line| {}).unwrap();
        let (component, reference) =
            (self.component(), format!("{}/plant/wash:1.0", self.registry));
        let who = ["--user", "anyone", "--password", &self.token, "--ca-path", &self.ca];
        let run = |words: &[&str]| self.run(&wash, &[words, &who[..]].concat());
        run(&["oci", "push", &reference, "mine.wasm"]);
        run(&["oci", "pull", &reference, "pulled.wasm"]);
        assert!(fs::read(self.home.path().join("pulled.wasm")).unwrap() == component);
        let own = format!("{}/sealwire/sensor-reader:latest", self.registry);
        run(&["oci", "pull", &own, "own.wasm"]);
        assert!(fs::read(self.home.path().join("own.wasm")).unwrap() == component);
    }

    fn crane_copies(&self, crane: &Path) {
        let at = |reference: &str| format!("{}/{reference}", self.registry);
        let run = |words: &[&str]| self.run(crane, words);
        run(&["auth", "login", &self.registry, "--username", "anyone", "--password", &self.token]);
        let (own, copy) = (at("sealwire/ui:latest"), at("plant/crane:1"));
        run(&["copy", &own, &copy]);
        assert_eq!(run(&["digest", &own]), run(&["digest", &copy]));
        run(&["tag", &copy, "2"]);
        assert_eq!(run(&["ls", &at("plant/crane")]), "1\n2\n");
        assert!(run(&["catalog", &self.registry]).contains("plant/crane\n"));
        run(&["validate", "--remote", &copy]);
        run(&["delete", &copy]);
        assert_eq!(run(&["ls", &at("plant/crane")]), "2\n");
    }

    fn oras_pushes_and_pulls(&self, oras: &Path) {
        let (component, at) = (self.component(), |name: &str| format!("{}/{name}", self.registry));
        let who = ["--username", "anyone", "--password", &self.token, "--ca-file", &self.ca];
        let run = |words: &[&str]| self.run(oras, &[words, &who[..]].concat());
        let reference = at("plant/oras:1");
        run(&[
            "push",
            &reference,
            "--artifact-type",
            "application/wasm",
            "mine.wasm:application/wasm",
        ]);
        run(&["pull", &reference, "--output", "pulled"]);
        assert!(fs::read(self.home.path().join("pulled/mine.wasm")).unwrap() == component);
        // The site's own image has a title, so a file is written.
        run(&["pull", &at("sealwire/sensor-reader:latest"), "--output", "own"]);
        assert!(fs::read(self.home.path().join("own/sensor-reader.wasm")).unwrap() == component);

        // What is exported is what the site's registry serves, so it can be copied without one.
        let layout = self.home.path().join("layout");
        let printed = succeeds(&["component", "export", layout.to_str().unwrap()]);
        let exported = printed.lines().find(|line| line.starts_with("sealwire/ui:")).unwrap();
        let (_, digest) = exported.split_once('@').unwrap();
        let to = ["--to-username", "anyone", "--to-password", &self.token];
        let copy = ["cp", "--to-ca-file", &self.ca, "--from-oci-layout"];
        let (from, copied) = (format!("layout@{digest}"), at("plant/exported:1"));
        self.run(oras, &[&copy[..], &to, &[&from, &copied]].concat());
        let served = |reference: &str| run(&["resolve", &at(reference)]);
        assert_eq!(served("sealwire/ui:latest").trim(), digest);
        assert_eq!(served("plant/exported:1").trim(), digest);
        let (code, _, said) = sealwire(&["component", "export", layout.to_str().unwrap()]);
        assert!(code == Some(1) && said.contains("cannot write"), "{said}");

        fs::write(self.home.path().join("about.txt"), "about").unwrap();
        run(&["attach", &reference, "--artifact-type", "text/about", "about.txt:text/plain"]);
        let found = run(&["discover", &reference, "--format", "json"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        let list = found["referrers"].as_array().or_else(|| found["manifests"].as_array());
        assert_eq!(list.unwrap()[0]["artifactType"], "text/about", "{found}");
        assert!(run(&["repo", "ls", &self.registry]).contains("plant/oras\n"));
        assert_eq!(run(&["repo", "tags", &at("plant/oras")]), "1\n");
    }

    fn everything_is_sealed(&mut self, with_crane: bool, with_oras: bool) {
        self.site.stop();
        let sealed = crate::house::open(&self.site.data_dir());
        let of = |it: &&model::Envelope| it.event.action.as_deref() == Some("COMPONENT_PUBLISHED");
        let published: Vec<_> = sealed
            .envelopes
            .iter()
            .filter(of)
            .map(|it| (it.event.actor.clone().unwrap(), it.event.target.clone().unwrap()))
            .collect();
        let mut expected = vec!["plant/wash:1.0"];
        if with_crane {
            expected.extend(["plant/crane:1", "plant/crane:2"]);
        }
        if with_oras {
            expected.extend(["plant/oras:1", "plant/exported:1"]);
        }
        let expected: Vec<_> =
            expected.into_iter().map(|it| (String::from("ci"), it.to_owned())).collect();
        assert_eq!(published, expected);
    }
}
