//! Who signed an image, whatever else somebody pushes beside it.

use registry::{Pinned, SIGNATURE, SIGNATURE_BYTES_MAX, SignatureArtifact};
use serde_json::{Value, json};
use tlog::{KeyName, Signer, VerifierKey};

use crate::house::{IMAGE, Running, digest, image_of};

fn signer(seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse("plant.example/ci").unwrap(), &[seed; 32])
}

/// Pushes an artifact of the type of signatures, whose layer has these bytes.
fn push(running: &Running, repository: &str, image: &Pinned, note: &[u8]) {
    let made = SignatureArtifact::new(image, (IMAGE, 1), "");
    let mut manifest: Value = serde_json::from_slice(&made.manifest.1).unwrap();
    let layer = running.push_blob(repository, note);
    manifest["layers"][0]["digest"] = json!(layer);
    manifest["layers"][0]["size"] = json!(note.len());
    running.push_blob(repository, b"{}");
    let bytes = manifest.to_string().into_bytes();
    running.put_manifest(repository, &digest(&bytes), IMAGE, &bytes).is(201);
}

fn signed_by(running: &Running, image: &Pinned, keys: &[VerifierKey]) -> Vec<String> {
    let signers = running.registry.signers(image, keys).unwrap();
    signers.into_iter().map(ToString::to_string).collect()
}

#[test]
fn those_who_signed_are_found_and_nobody_else() {
    let running = Running::start();
    let name = format!("plant/app@{}", running.push_image("plant/app", "1", b"layer"));
    let image: Pinned = name.parse().unwrap();
    let (ours, other, unlisted) = (signer(1), signer(2), signer(3));
    let keys = [&ours, &other].map(|signer| signer.vkey().clone());
    assert!(signed_by(&running, &image, &keys).is_empty());

    let elsewhere: Pinned = name.replace("plant/app", "plant/elsewhere").parse().unwrap();
    let another: Pinned = format!("plant/app@{}", digest(b"another")).parse().unwrap();
    let long = format!("{}{}", image.sign(&ours), " ".repeat(SIGNATURE_BYTES_MAX));
    push(&running, "plant/app", &image, image.sign(&unlisted).as_bytes());
    push(&running, "plant/app", &image, elsewhere.sign(&ours).as_bytes());
    push(&running, "plant/app", &image, another.sign(&ours).as_bytes());
    push(&running, "plant/app", &another, image.sign(&ours).as_bytes());
    push(&running, "plant/elsewhere", &image, image.sign(&ours).as_bytes());
    push(&running, "plant/app", &image, long.as_bytes());
    push(&running, "plant/app", &image, b"\xff\xfe no note");
    push(&running, "plant/app", &image, b"");
    let manifest = image_of(b"layer", Some(&digest(b"subject")));
    running.put_manifest("plant/app", "2", IMAGE, &manifest).is(201);
    assert!(signed_by(&running, &image, &keys).is_empty());

    push(&running, "plant/app", &image, image.sign(&other).as_bytes());
    assert_eq!(signed_by(&running, &image, &keys), [other.vkey().to_string()]);
    push(&running, "plant/app", &image, image.sign(&ours).as_bytes());
    assert_eq!(signed_by(&running, &image, &keys), keys.each_ref().map(ToString::to_string));
    assert_eq!(signed_by(&running, &image, &keys[..1]), [ours.vkey().to_string()]);

    // They are referrers like any other, and survive.
    let running = Running::start_in(running.crash());
    assert_eq!(signed_by(&running, &image, &keys).len(), 2);
    let listed = running.get(&format!(
        "/v2/plant/app/referrers/{}?artifactType={SIGNATURE}",
        name.split_once('@').unwrap().1
    ));
    assert_eq!(listed.json()["manifests"].as_array().unwrap().len(), 8);
    // What is deleted counts no more.
    let made = SignatureArtifact::new(&image, (IMAGE, 1), &image.sign(&ours));
    let path = format!("/v2/plant/app/manifests/{}", made.manifest.0);
    running.ask("DELETE", &path, "").is(202);
    assert_eq!(signed_by(&running, &image, &keys), [other.vkey().to_string()]);
}

#[test]
fn a_signature_that_was_changed_on_disk_is_not_read() {
    let running = Running::start();
    let name = format!("plant/app@{}", running.push_image("plant/app", "1", b"layer"));
    let image: Pinned = name.parse().unwrap();
    let note = image.sign(&signer(1));
    push(&running, "plant/app", &image, b"nothing");
    let file = digest(b"nothing").replace("sha256:", "blobs/sha256/");
    std::fs::write(running.registry_folder().join(file), note).unwrap();
    let keys = [signer(1).vkey().clone()];
    let failure = running.registry.signers(&image, &keys).unwrap_err();
    assert_eq!(failure.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_publication_has_its_leaf_and_a_push_by_digest_has_none() {
    let running = Running::start();
    let tagged: Pinned = format!("a@{}", running.push_image("a", "1", b"layer")).parse().unwrap();
    running.push_blob("a", b"other");
    let bytes = image_of(b"other", None);
    running.put_manifest("a", &digest(&bytes), IMAGE, &bytes).is(201);
    let untagged: Pinned = format!("a@{}", digest(&bytes)).parse().unwrap();
    let leaf = running.registry.published(&tagged).unwrap();
    let stored = running.ledger.envelopes(leaf, 1, usize::MAX).unwrap().remove(0);
    let event = model::Envelope::parse(&stored.bytes.unwrap()).unwrap().event;
    assert_eq!(event.action.as_deref(), Some("COMPONENT_PUBLISHED"));
    assert_eq!(running.registry.published(&untagged), None);

    let running = Running::start_in(running.crash());
    assert_eq!(running.registry.published(&tagged), Some(leaf));
    running.push_image("a", "1", b"layer");
    assert!(running.registry.published(&tagged) > Some(leaf), "the newest");
    let path = format!("/v2/a/manifests/{}", tagged.to_string().split_once('@').unwrap().1);
    running.ask("DELETE", &path, "").is(202);
    assert_eq!(running.registry.published(&tagged), None);
}
