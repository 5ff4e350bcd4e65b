//! Those who push and delete.

use std::{sync::Arc, thread};

use serde_json::json;

use crate::house::{IMAGE, Running, digest, image_of};

#[test]
fn a_blob_comes_whole_in_chunks_or_from_another_repository() {
    let running = Running::start();
    let (whole, chunked) =
        (b"whole".to_vec(), (0..=255).cycle().take(700_000).collect::<Vec<u8>>());
    running.push_blob("a", &whole);

    let begun = running.ask("POST", "/v2/a/blobs/uploads/", "").is(202);
    let upload = begun.header("location").unwrap().to_owned();
    let (first, second) = chunked.split_at(400_000);
    let chunk = |range: &str, bytes: &[u8]| {
        running.ask_as(&running.publisher, "PATCH", &upload, &[("content-range", range)], bytes)
    };
    assert_eq!(chunk("0-399999", first).is(202).header("range"), Some("0-399999"));
    let late = chunk("0-399999", first).is(416);
    assert_eq!(
        (late.header("range"), late.header("location")),
        (Some("0-399999"), Some(upload.as_str()))
    );
    assert_eq!(running.get(&upload).is(204).header("range"), Some("0-399999"));
    let end = format!("{upload}?digest={}", digest(&chunked));
    let done = running.ask("PUT", &end, second).is(201);
    assert_eq!(done.header("docker-content-digest"), Some(digest(&chunked).as_str()));
    assert_eq!(running.get(done.header("location").unwrap()).is(200).body, chunked);
    assert_eq!(running.get(&upload).is(404).code(), "BLOB_UPLOAD_UNKNOWN");

    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest(&whole));
    let mounted = running.ask("POST", &mount, "").is(201);
    assert_eq!(running.get(mounted.header("location").unwrap()).is(200).body, whole);
    let unknown = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest(b"unknown"));
    assert!(running.ask("POST", &unknown, "").is(202).header("location").is_some());

    let given_up = running.ask("POST", "/v2/a/blobs/uploads/", "").is(202);
    let given_up = given_up.header("location").unwrap();
    running.ask("DELETE", given_up, "").is(204);
    assert_eq!(running.ask("PATCH", given_up, "x").is(404).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_publication_is_sealed_and_survives() {
    let running = Running::start();
    let first = running.push_image("plant/app", "1.0", b"one");
    let second = running.push_image("plant/app", "1.0", b"two");
    // Without a tag nothing is published.
    running.push_blob("plant/app", b"three");
    let third = image_of(b"three", None);
    running.put_manifest("plant/app", &digest(&third), IMAGE, &third).is(201);

    let sealed = running.sealed("COMPONENT_PUBLISHED");
    let said = |at: usize| {
        let event = &sealed[at];
        (event.target.as_deref(), event.old.as_deref(), event.new.as_deref())
    };
    assert_eq!(sealed.len(), 2);
    assert_eq!(said(0), (Some("plant/app:1.0"), None, Some(first.as_str())));
    assert_eq!(said(1), (Some("plant/app:1.0"), Some(first.as_str()), Some(second.as_str())));
    assert!(sealed.iter().all(|event| event.actor.as_deref() == Some("token-0")));

    let folder = running.crash();
    let running = Running::start_in(folder);
    let tagged = running.get("/v2/plant/app/manifests/1.0").is(200);
    assert_eq!(digest(&tagged.body), second);
    for (manifest, layer) in [(&first, &b"one"[..]), (&digest(&third), b"three")] {
        running.get(&format!("/v2/plant/app/manifests/{manifest}")).is(200);
        let blob = format!("/v2/plant/app/blobs/{}", digest(layer));
        assert_eq!(running.get(&blob).is(200).body, layer);
    }
}

#[test]
fn what_the_log_does_not_seal_nobody_sees() {
    let mut running = Running::start();
    running.push_image("a", "1", b"layer");
    running.push_blob("a", b"other");
    running.end_log();
    let other = image_of(b"other", None);
    running.put_manifest("a", "1", IMAGE, &other).is(503);
    running.put_manifest("a", "2", IMAGE, &other).is(503);
    running.ask("DELETE", "/v2/a/manifests/1", "").is(503);
    assert_eq!(running.get("/v2/a/manifests/1").is(200).body, image_of(b"layer", None));
    assert_eq!(running.get("/v2/a/tags/list").json()["tags"], json!(["1"]));
    running.get(&format!("/v2/a/manifests/{}", digest(&other))).is(404);
}

#[test]
fn tags_manifests_and_blobs_are_deleted() {
    let running = Running::start();
    let manifest = running.push_image("a", "1", b"layer");
    running.put_manifest("a", "2", IMAGE, &image_of(b"layer", None)).is(201);
    let blob = format!("/v2/a/blobs/{}", digest(b"layer"));
    let refusal = running.ask("DELETE", &blob, "").is(409);
    assert!(String::from_utf8_lossy(&refusal.body).contains("a manifest of a needs"));
    running.ask("DELETE", "/v2/a/manifests/1", "").is(202);
    assert_eq!(running.get("/v2/a/tags/list").json()["tags"], json!(["2"]));
    assert_eq!(running.ask("DELETE", "/v2/a/manifests/1", "").is(404).code(), "MANIFEST_UNKNOWN");
    running.ask("DELETE", &format!("/v2/a/manifests/{manifest}"), "").is(202);
    let sealed = running.sealed("COMPONENT_DELETED");
    let said = sealed.iter().map(|it| {
        let (target, old) = (it.target.as_deref().unwrap(), it.old.as_deref().unwrap());
        (it.actor.as_deref().unwrap(), target, old, it.message.as_str())
    });
    let words = [
        format!("token-0 deleted the tag a:1, which named {manifest}"),
        format!("token-0 deleted a@{manifest}, which 1 tags named"),
    ];
    let expected = ["a:1", "a"].into_iter().zip(&words);
    let expected = expected.map(|(target, words)| ("token-0", target, &*manifest, &**words));
    assert!(said.eq(expected), "{sealed:?}");
    assert_eq!(running.get("/v2/a/tags/list").is(404).code(), "NAME_UNKNOWN");
    running.ask("DELETE", &blob, "").is(202);
    assert_eq!(running.get(&blob).is(404).code(), "BLOB_UNKNOWN");
    assert_eq!(running.ask("DELETE", &blob, "").is(404).code(), "BLOB_UNKNOWN");
    // Nothing comes back.
    let running = Running::start_in(running.crash());
    assert_eq!(running.get("/v2/_catalog").json()["repositories"], json!(["sealwire/reader"]));
    assert_eq!(running.get(&blob).status, 404);
}

#[test]
fn a_push_that_was_killed_before_its_manifest_goes_on() {
    let running = Running::start();
    running.push_blob("a", b"{}");
    running.push_blob("a", b"layer");
    let begun = running.ask("POST", "/v2/a/blobs/uploads/", "").is(202);
    let upload = begun.header("location").unwrap().to_owned();
    running.ask("PATCH", &upload, "half").is(202);
    assert_eq!(running.files(".upload"), 1);

    let running = Running::start_in(running.crash());
    assert_eq!(running.files(".upload"), 0, "nobody can continue it");
    assert_eq!(running.ask("PATCH", &upload, "x").is(404).code(), "BLOB_UPLOAD_UNKNOWN");
    running.ask("HEAD", &format!("/v2/a/blobs/{}", digest(b"layer")), "").is(200);
    running.put_manifest("a", "1", IMAGE, &image_of(b"layer", None)).is(201);
}

#[test]
fn many_push_the_same_at_once() {
    let running = Arc::new(Running::start());
    let layer: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    let pushing: Vec<_> = (0..8)
        .map(|number| {
            let (running, layer) = (Arc::clone(&running), layer.clone());
            thread::spawn(move || running.push_image("a", &number.to_string(), &layer))
        })
        .collect();
    let pushed: Vec<_> = pushing.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(pushed.iter().all(|digest| *digest == pushed[0]));
    assert_eq!(running.get("/v2/a/tags/list").json()["tags"].as_array().unwrap().len(), 8);
    assert_eq!(running.sealed("COMPONENT_PUBLISHED").len(), 8);
    let blob = format!("/v2/a/blobs/{}", digest(&layer));
    assert_eq!(running.get(&blob).is(200).body, layer);
    assert_eq!((running.files(".upload"), running.files("")), (0, 3));
}
