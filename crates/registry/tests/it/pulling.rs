//! Those who pull.

use access::Scope;
use registry::Pinned;
use serde_json::json;

use crate::house::{IMAGE, INDEX, Running, digest, image_of};

#[test]
fn the_sites_own_components_are_there_whatever_is_on_disk() {
    let running = Running::start();
    let manifest = running.get("/v2/sealwire/reader/manifests/latest").is(200);
    assert_eq!(manifest.header("content-type"), Some(IMAGE));
    let named = manifest.header("docker-content-digest").unwrap().to_owned();
    assert_eq!(named, digest(&manifest.body));
    for reference in ["1.2.3", &named] {
        let path = format!("/v2/sealwire/reader/manifests/{reference}");
        assert_eq!(running.get(&path).is(200).body, manifest.body);
    }
    let layer = &manifest.json()["layers"][0];
    assert_eq!(layer["annotations"]["org.opencontainers.image.title"], "reader.wasm");
    let blob = format!("/v2/sealwire/reader/blobs/{}", layer["digest"].as_str().unwrap());
    assert_eq!(running.get(&blob).is(200).body, b"component");
    assert_eq!(running.get(&blob.replace("reader", "other")).is(404).code(), "BLOB_UNKNOWN");
    assert_eq!(running.get("/v2/sealwire/reader/manifests/9").is(404).code(), "MANIFEST_UNKNOWN");
    // Nobody publishes there.
    for (method, path) in [
        ("POST", "/v2/sealwire/reader/blobs/uploads/"),
        ("PUT", "/v2/sealwire/reader/manifests/latest"),
        ("PUT", "/v2/sealwire/new/manifests/latest"),
        ("DELETE", "/v2/sealwire/reader/manifests/latest"),
        ("DELETE", &blob),
    ] {
        assert_eq!(running.ask(method, path, "x").is(403).code(), "DENIED", "{method} {path}");
    }
    assert!(!running.registry_folder().join("repositories/sealwire+reader.json").exists());
}

#[test]
fn lists_come_in_pages() {
    let running = Running::start();
    for (name, tag) in [("b", "2"), ("b", "1"), ("b", "3"), ("a/x", "1")] {
        running.push_image(name, tag, b"layer");
    }
    let all = running.get("/v2/_catalog").is(200);
    assert_eq!(all.json()["repositories"], json!(["a/x", "b", "sealwire/reader"]));
    assert_eq!(all.header("link"), None);
    assert_eq!(
        running.get("/v2/b/tags/list").is(200).json(),
        json!({ "name": "b", "tags": ["1", "2", "3"] })
    );
    let (mut path, mut seen) = (String::from("/v2/b/tags/list?n=1"), Vec::new());
    loop {
        let page = running.get(&path).is(200);
        seen.extend(page.json()["tags"].as_array().unwrap().clone());
        let Some(link) = page.header("link") else { break };
        let (next, rel) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(rel, "; rel=\"next\"");
        path = next.to_owned();
    }
    assert_eq!(json!(seen), json!(["1", "2", "3"]));
    let after = running.get("/v2/_catalog?last=a/x&n=1").is(200);
    assert_eq!(after.json()["repositories"], json!(["b"]));
    assert_eq!(running.get("/v2/b/tags/list?n=0").is(200).json()["tags"], json!([]));
    assert_eq!(running.get("/v2/b/tags/list?n=-1").status, 400);
    assert_eq!(running.get("/v2/none/tags/list").is(404).code(), "NAME_UNKNOWN");
}

#[test]
fn what_is_said_about_a_manifest_is_found_by_it() {
    let running = Running::start();
    let subject = running.push_image("app", "1", b"layer");
    running.push_blob("app", b"signature");
    let about = image_of(b"signature", Some(&subject));
    let answer = running.put_manifest("app", &digest(&about), IMAGE, &about).is(201);
    assert_eq!(answer.header("oci-subject"), Some(subject.as_str()));
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": "x/+y", "manifests": [],
        "subject": { "mediaType": IMAGE, "digest": subject, "size": 1 },
    });
    running.put_manifest("app", "about", INDEX, index.to_string().as_bytes()).is(201);

    let list = |more: &str| {
        let answer = running.get(&format!("/v2/app/referrers/{subject}{more}")).is(200);
        assert_eq!(answer.header("content-type"), Some(INDEX));
        let types: Vec<_> = answer.json()["manifests"].as_array().unwrap().to_vec();
        (types, answer.header("oci-filters-applied").map(str::to_owned))
    };
    let (all, filtered) = list("");
    assert_eq!((all.len(), filtered), (2, None));
    let empty = "application/vnd.oci.empty.v1%2Bjson";
    let (some, filtered) = list(&format!("?artifactType={empty}"));
    assert_eq!(filtered.as_deref(), Some("artifactType"));
    assert_eq!((some.len(), &some[0]["digest"]), (1, &json!(digest(&about))));
    assert_eq!(some[0]["annotations"]["about"], json!(subject));
    assert_eq!(list("?artifactType=x/%2By").0.len(), 1);
    assert_eq!(list("?artifactType=none").0.len(), 0);
    // Also of what is not there.
    let other = format!("/v2/none/referrers/{}", digest(b"other"));
    assert_eq!(running.get(&other).is(200).json()["manifests"], json!([]));
}

#[test]
fn content_is_served_whole_or_in_part() {
    let running = Running::start();
    let blob: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let path = format!("/v2/a/blobs/{}", running.push_blob("a", &blob));
    let ask = |method: &str, range: &str| {
        running.ask_as(&running.publisher, method, &path, &[("range", range)], "")
    };
    assert_eq!(running.get(&path).is(200).body, blob);
    let head = running.ask("HEAD", &path, "").is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("1048576"), 0));
    let part = ask("GET", "bytes=300000-700000").is(206);
    assert_eq!(part.body, blob[300_000..=700_000]);
    assert_eq!(part.header("content-range"), Some("bytes 300000-700000/1048576"));
    assert_eq!(ask("GET", "bytes=-5").is(206).body, blob[blob.len() - 5..]);
    assert_eq!(
        ask("GET", "bytes=1048576-").is(416).header("content-range"),
        Some("bytes */1048576")
    );
    assert_eq!(ask("GET", "bytes=5-1").is(200).body, blob);
}

#[test]
fn each_token_does_what_its_scope_says() {
    let running = Running::start();
    let path = format!("/v2/a/blobs/{}", running.push_blob("a", b"x"));
    let (pull, read) = (running.token(&[Scope::Pull]), running.token(&[Scope::Read, Scope::Write]));
    let status =
        |token: &str, method: &str, path: &str| running.ask_as(token, method, path, &[], "").status;
    assert_eq!([status("", "GET", &path), status("pts_x", "GET", &path)], [401, 401]);
    assert_eq!([status(&pull, "GET", &path), status(&read, "GET", &path)], [200, 403]);
    for method in ["PUT", "DELETE"] {
        let path = "/v2/a/manifests/x";
        assert_eq!([status(&pull, method, path), status("", method, path)], [403, 401]);
    }
    let begin = "/v2/a/blobs/uploads/";
    assert_eq!([status(&pull, "POST", begin), status(&read, "POST", begin)], [403, 403]);
    let challenge = running.ask_as("", "POST", begin, &[], "");
    assert_eq!(challenge.header("www-authenticate"), Some("Basic realm=\"sealwire\""));
    // A browser adds a password that it remembers.
    let led = [("origin", "https://evil.example")];
    assert_eq!(running.ask_as(&running.publisher, "POST", begin, &led, "").status, 403);
}

#[test]
fn a_host_pulls_what_is_wanted_and_nothing_else() {
    let running = Running::start();
    let [wanted, other] = ["wanted", "other"].map(|layer| {
        let image = running.push_image("plant/app", layer, layer.as_bytes());
        running.push_image("plant/else", layer, layer.as_bytes());
        image
    });
    // An index, through which a host gets to an image.
    let part = |digest: &str| {
        let manifest = running.get(&format!("/v2/plant/app/manifests/{digest}")).is(200);
        json!({ "mediaType": IMAGE, "digest": digest, "size": manifest.body.len() })
    };
    let index = json!({ "schemaVersion": 2, "manifests": [part(&wanted)] }).to_string();
    running.put_manifest("plant/app", "all", INDEX, index.as_bytes()).is(201);
    let index = digest(index.as_bytes());
    running.push_blob("plant/app", b"unneeded");

    let token = running.token_named("host.hall-1", &[Scope::Pull]);
    let status = |path: &str| {
        let whole = running.ask_as(&token, "GET", path, &[], "").status;
        assert_eq!(running.ask_as(&token, "HEAD", path, &[], "").status, whole, "{path}");
        whole
    };
    let manifest = |digest: &str| format!("/v2/plant/app/manifests/{digest}");
    let blob = |of: &[u8]| format!("/v2/plant/app/blobs/{}", digest(of));
    let own = running.registry.image("reader").unwrap().digest();
    let own = [
        String::from("/v2/"),
        format!("/v2/sealwire/reader/manifests/{own}"),
        format!("/v2/sealwire/reader/blobs/{}", digest(b"component")),
    ];
    let theirs = [manifest(&wanted), blob(b"wanted"), blob(b"{}"), manifest(&index)];
    let never = [
        manifest(&other),
        manifest("wanted"),
        blob(b"other"),
        blob(b"unneeded"),
        format!("/v2/plant/else/manifests/{wanted}"),
        format!("/v2/plant/else/blobs/{}", digest(b"wanted")),
        String::from("/v2/_catalog"),
        String::from("/v2/plant/app/tags/list"),
        String::from("/v2/sealwire/reader/manifests/latest"),
        format!("/v2/plant/app/referrers/{wanted}"),
    ];
    let check = |served: &[&String]| {
        for path in own.iter().chain(&theirs).chain(&never) {
            let expected = if served.contains(&path) || own.contains(path) { 200 } else { 403 };
            assert_eq!(status(path), expected, "{path}");
        }
    };
    check(&[]);
    let [image, layer, config, _index] = &theirs;
    let pinned = |digest: &str| format!("plant/app@{digest}").parse::<Pinned>().unwrap();
    running.registry.serve_hosts([pinned(&wanted)]);
    check(&[image, layer, config]);
    running.registry.serve_hosts([pinned(&index)]);
    check(&theirs.each_ref());
    running.registry.serve_hosts([]);
    check(&[]);
    // Tools may pull everything.
    let tool = running.token_named("hosts", &[Scope::Pull]);
    assert!(
        theirs
            .iter()
            .chain(&never)
            .all(|it| running.ask_as(&tool, "GET", it, &[], "").status == 200)
    );
}
