//! What a cluster is asked to run is what a site runs, in the form that the operator takes.

mod schema;

use std::fs;

use lattice::Workload;
use model::processing::ProcessorName;
use serde_json::json;

use super::*;
use crate::{mirror::Mirror, processors::ImageName};

/// Each component of a site, with nothing in it.
fn components() -> Vec<(String, Vec<u8>)> {
    workloads::COMPONENTS.map(|name| (name.to_owned(), name.as_bytes().to_vec())).to_vec()
}

fn cluster() -> Cluster {
    Cluster {
        registry: "plant.example:5000".parse().unwrap(),
        pull_secret: Some(String::from("sealwire-registry")),
        group: String::from("hall"),
        replicas: 2.try_into().unwrap(),
    }
}

/// Every workload that a site runs, those of its own host included.
fn all() -> Vec<Workload> {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    durable::write_secret(&token, b"pts_secret").unwrap();
    let endpoint = "https://audit.example".parse().unwrap();
    let mirror = Mirror::read((endpoint, None), &token, None).unwrap();
    let images = workloads::images(&components());
    let page = WorkloadName::random();
    let mut all = workloads::workloads(&images, &page, "{}").unwrap();
    all.push(workloads::mirroring(&images, &mirror).unwrap());
    let own = ImageName::own(images.first().unwrap());
    let processors = Processors::of(&["double".parse::<ProcessorName>().unwrap()], &own);
    all.extend(processors.iter().map(|it| Workload::clone(&workloads::processing(it).workload)));
    all
}

#[test]
fn what_a_site_runs_is_what_wasmclouds_operator_takes() {
    let schema = schema::of("workloaddeployments");
    let all = all();
    let components: usize = all.iter().map(|it| it.wit_world.components.len()).sum();
    assert_eq!(components, workloads::COMPONENTS.len() + 1);
    for workload in &all {
        let manifest = workload.manifest(&cluster());
        assert_eq!(schema::faults(&schema, &manifest), Vec::<String>::new(), "{manifest:#}");
        let spec = &manifest["spec"]["template"]["spec"];
        for (component, own) in
            spec["components"].as_array().unwrap().iter().zip(&workload.wit_world.components)
        {
            assert_eq!(component["image"], format!("plant.example:5000/{}", own.image));
            assert_eq!(component["imagePullSecret"]["name"], "sealwire-registry");
            assert_eq!(component["localResources"]["config"], json!(own.local_resources.config));
        }
        assert_eq!(spec["hostSelector"], json!({ "hostgroup": "hall" }));
        assert_eq!(spec["hostInterfaces"], json!(workload.wit_world.host_interfaces));
        assert_eq!(manifest["spec"]["replicas"], 2);
    }
}

#[test]
fn a_manifest_with_anything_wrong_in_it_is_refused() {
    let schema = schema::of("workloaddeployments");
    let right = all().pop().unwrap().manifest(&cluster());
    let component = "/spec/template/spec/components/0";
    let interfaces = "/spec/template/spec/hostInterfaces";
    let of = |place: &str, name: &str| format!("{place} has the unknown field {name}");
    for (place, name, value, fault) in [
        // Kubernetes would drop these, and run something else.
        ("/spec", "replica", json!(1), of("/spec", "replica")),
        (component, "digest", json!("sha256:0"), of(component, "digest")),
        ("", "replicas", json!(1), of("", "replicas")),
        // What has a wrong type, is missing, too long, too small or not of the form.
        ("/spec", "replicas", json!("2"), String::from("/spec/replicas is no \"integer\"")),
        (component, "image", json!(null), format!("{component} has no \"image\"")),
        (component, "poolSize", json!(-1), format!("{component}/poolSize is less than 0")),
        (component, "poolSize", json!(1u64 << 31), format!("{component}/poolSize is no int32")),
        (
            component,
            "localResources",
            json!({ "allowedHosts": ["https://a.example/path"] }),
            format!("{component}/localResources/allowedHosts/0 does not match"),
        ),
        (
            component,
            "localResources",
            json!({ "config": { "key": 1 } }),
            format!("{component}/localResources/config/key is no \"string\""),
        ),
        (
            "/spec/template/spec/hostInterfaces/0",
            "interfaces",
            json!([]),
            format!("{interfaces}/0/interfaces has 0 items"),
        ),
        (
            "/spec/template/spec/hostInterfaces/0",
            "version",
            json!("0".repeat(65)),
            format!("{interfaces}/0/version has 65 characters"),
        ),
        (
            "/spec/template/spec/hostInterfaces/1",
            "package",
            right.pointer("/spec/template/spec/hostInterfaces/0/package").unwrap().clone(),
            format!("{interfaces} names a package twice"),
        ),
    ] {
        let mut wrong = right.clone();
        let fields = wrong.pointer_mut(place).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            fields.remove(name).unwrap();
        } else {
            fields.insert(name.to_owned(), value);
        }
        if name == "package" {
            let first = wrong.pointer("/spec/template/spec/hostInterfaces/0/namespace").unwrap();
            let namespace = first.clone();
            *wrong.pointer_mut("/spec/template/spec/hostInterfaces/1/namespace").unwrap() =
                namespace;
        }
        let faults = schema::faults(&schema, &wrong);
        let [only] = faults.as_slice() else { panic!("{place}/{name}: {faults:?}") };
        assert!(only.starts_with(&fault), "{only}, not {fault}");
    }
}

#[test]
fn a_cluster_gets_what_hosts_on_other_machines_run_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let print = |folder: &Path| manifests(folder, &components(), None, &cluster());
    assert!(matches!(print(folder.path()), Err(ManifestError::NoSite(..))));
    fs::write(folder.path().join(folder::DESCRIPTION), "{}").unwrap();
    let fields = r#"{"fields":[{"id":"batch","type":"string"}]}"#;
    fs::write(folder.path().join(folder::PANGEA), fields).unwrap();
    let image = format!("plant/judge@sha256:{}", "a".repeat(64));
    let state = format!("[component.sensor-reader]\nimage = \"{image}\"");
    let kept = json!({ "deployments": [{ "leaf": 1, "leaves": 1, "state": state }] });
    fs::write(folder.path().join(apps::NAME), kept.to_string()).unwrap();

    let manifests = print(folder.path()).unwrap();
    let names: Vec<&Value> = manifests.iter().map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(names, [workloads::SENSOR_READER, workloads::EVENT_LOGGER]);
    let component = |number: usize| &manifests[number]["spec"]["template"]["spec"]["components"][0];
    // What was deployed at the site, and its log's own fields.
    assert_eq!(component(0)["image"], format!("plant.example:5000/{image}"));
    let digest = &component(0)["localResources"]["config"]["digest"];
    assert_eq!(*digest, format!("sha256:{}", "a".repeat(64)));
    let schema = component(1)["localResources"]["config"]["schema"].as_str().unwrap();
    assert!(schema.contains("batch"), "{schema}");

    // Processors have hosts of their own.
    let own = ImageName::own(workloads::images(&components()).first().unwrap());
    let processors = Processors::of(&["double".parse::<ProcessorName>().unwrap()], &own);
    let manifests =
        super::manifests(folder.path(), &components(), Some(&processors), &cluster()).unwrap();
    let [manifest] = manifests.as_slice() else { panic!("{manifests:?}") };
    assert_eq!(manifest["metadata"]["name"], "processor-double");
}
