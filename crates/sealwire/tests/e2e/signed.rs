//! Signs an image in a site's registry, and shows who did.

use std::fs;

use crate::{
    apps::push,
    pangea::Client,
    site::{Site, agent, sealwire, succeeds},
};

const REPOSITORY: &str = "plant/reader";

#[test]
fn whoever_signed_an_image_is_shown_and_a_deletion_is_sealed() {
    let mut site = Site::start(&["--registry-port", "0"]);
    let token = Client::new(&site, "ci", "publish").token;
    let folder = site.data_dir().parent().unwrap().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    durable::write_secret(&folder.join("token"), token.as_bytes()).unwrap();
    let registry = site.addresses.registry.clone().unwrap();
    let [signed, other] = ["signed", "other"].map(|note| {
        format!("{REPOSITORY}@{}", push(&registry, &token, REPOSITORY, b"component", note))
    });
    let key = |name: &str| {
        let words = ["component", "key", &path(name), "--name", &format!("plant.example/{name}")];
        succeeds(&words).trim().to_owned()
    };
    let (ours, stranger) = (key("ours"), key("stranger"));
    let token_file = path("token");
    let at = ["--registry", &registry, "--token-file", &token_file];
    let ask = |words: &[&str]| {
        let (code, printed, said) = sealwire(&[&["component"], words, &at[..]].concat());
        (code, format!("{printed}{said}"))
    };

    let (code, said) = ask(&["signatures", &signed]);
    assert!(code == Some(0) && said.contains("nobody signed it"), "{said}");
    let (code, said) = ask(&["sign", &signed, "--key", &path("ours")]);
    assert!(code == Some(0) && said.contains(&ours), "{said}");
    let (code, said) = ask(&["signatures", &signed, "--vkey", &ours]);
    assert!(code == Some(0) && said.contains(&format!("ok  {ours}")), "{said}");
    let (code, said) = ask(&["signatures", &signed]);
    assert!(code == Some(0) && said.contains("not checked  plant.example/ours"), "{said}");
    for (image, vkey) in [(&signed, &stranger), (&other, &ours)] {
        let (code, said) = ask(&["signatures", image, "--vkey", vkey]);
        assert!(code == Some(1) && said.contains(&format!("MISSING  {vkey}")), "{said}");
    }

    let nowhere = format!("{REPOSITORY}@sha256:{}", "0".repeat(64));
    let (code, said) = ask(&["sign", &nowhere, "--key", &path("ours")]);
    assert!(code == Some(1) && said.contains("does not have plant/reader@"), "{said}");
    let (code, said) = ask(&["signatures", &signed, "--ca", "/dev/null"]);
    assert!(code == Some(1) && said.contains("begins with https://"), "{said}");
    fs::write(path("token"), "pts_wrong").unwrap();
    let (code, said) = ask(&["sign", &signed, "--key", &path("ours")]);
    assert!(code == Some(1) && said.contains("there is no such API token"), "{said}");

    let digest = signed.split_once('@').unwrap().1;
    let url = format!("{registry}/v2/{REPOSITORY}/manifests/{digest}");
    let bearer = format!("Bearer {token}");
    assert_eq!(agent().delete(&url).header("authorization", &bearer).call().unwrap().status(), 202);
    let deleted = site.wait_for_event("COMPONENT_DELETED", |it| it["event"]["old"] == *digest);
    assert_eq!(deleted["envelope"]["event"]["actor"], "ci");
    site.stop();
}
