//! Those who have a token and want more, and those who make mistakes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use access::Scope;
use serde_json::{Value, json};

use crate::house::{IMAGE, INDEX, Running, digest, image_of};

/// Begins an upload. Returns its address.
fn begin(running: &Running, repository: &str) -> String {
    let begun = running.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "").is(202);
    begun.header("location").unwrap().to_owned()
}

/// Sends a request as text, and returns the answer until the server closes.
fn raw(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn content_is_what_its_digest_says_or_is_not_taken() {
    let running = Running::start();
    let other = digest(b"other");
    let path = format!("/v2/a/blobs/uploads/?digest={other}");
    assert_eq!(running.ask("POST", &path, "content").is(400).code(), "DIGEST_INVALID");
    let upload = begin(&running, "a");
    running.ask("PATCH", &upload, "con").is(202);
    let end = format!("{upload}?digest={other}");
    assert_eq!(running.ask("PUT", &end, "tent").is(400).code(), "DIGEST_INVALID");
    assert_eq!(running.get(&upload).is(404).code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(running.get(&format!("/v2/a/blobs/{other}")).status, 404);
    for wrong in ["", "sha256:", "sha512:00", "md5:x", "sha256:../../../site.key"] {
        let upload = begin(&running, "a");
        let end = format!("{upload}?digest={wrong}");
        assert_eq!(running.ask("PUT", &end, "x").is(400).code(), "DIGEST_INVALID", "{wrong}");
    }
    running.push_image("a", "1", b"layer");
    let manifest = image_of(b"layer", None);
    let refusal = running.put_manifest("a", &other, IMAGE, &manifest).is(400);
    assert_eq!(refusal.code(), "DIGEST_INVALID");
    // Five uploads were not ended, because their digests were none.
    assert_eq!((running.files(".upload"), running.files("")), (5, 8));
    assert_eq!(running.sealed("COMPONENT_PUBLISHED").len(), 1);
}

#[test]
fn a_manifest_needs_what_is_there() {
    let running = Running::start();
    let refused = |media_type: &str, manifest: &Value| {
        let answer = running.put_manifest("a", "1", media_type, manifest.to_string().as_bytes());
        (answer.status, answer.code())
    };
    let image: Value = serde_json::from_slice(&image_of(b"layer", None)).unwrap();
    let unknown = (404, String::from("MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(refused(IMAGE, &image), unknown);
    running.push_blob("a", b"{}");
    assert_eq!(refused(IMAGE, &image), unknown);
    running.push_blob("a", b"layer");
    let mut wrong = image.clone();
    wrong["layers"][0]["size"] = json!(99);
    assert_eq!(refused(IMAGE, &wrong), (400, String::from("SIZE_INVALID")));
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": IMAGE, "digest": digest(b"none"), "size": 1 }],
    });
    assert_eq!(refused(INDEX, &index), unknown);
    for (media_type, manifest) in [(INDEX, &image), (IMAGE, &json!([])), ("text/html", &image)] {
        assert_eq!(refused(media_type, manifest), (400, String::from("MANIFEST_INVALID")));
    }
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(running.put_manifest("a", "1", IMAGE, &large).is(413).code(), "SIZE_INVALID");
    assert_eq!(
        (running.get("/v2/a/tags/list").status, running.sealed("COMPONENT_PUBLISHED").len()),
        (404, 0)
    );
    assert_eq!(refused_never(&running, &image), 201);
}

fn refused_never(running: &Running, image: &Value) -> u16 {
    running.put_manifest("a", "1", IMAGE, image.to_string().as_bytes()).status
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let running = Running::start();
    let secret = running.folder.path().join("secret.json");
    fs::write(&secret, "secret").unwrap();
    let bearer = format!("authorization: Bearer {}", running.publisher);
    for path in [
        "/v2/../secret/manifests/1",
        "/v2/a/../../secret/manifests/1",
        "/v2/..%2f..%2fsecret/tags/list",
        "/v2/a+b/tags/list",
        "/v2/a/manifests/..%2f..%2fsecret.json",
        "/v2/a/blobs/sha256:../../../secret.json",
        "/v2/a/blobs/../../../secret.json",
        "/v2/a/blobs/uploads/../../secret.json",
        "/v2//etc/passwd/manifests/x",
        "/v2/a/%00/manifests/x",
    ] {
        for method in ["GET", "PUT", "DELETE", "PATCH", "POST"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\n{bearer}\r\ncontent-length: 1\r\n\
                 connection: close\r\n\r\nx"
            );
            let answer = raw(&running, &request);
            let status: u16 = answer[9..12].parse().unwrap();
            assert!([400, 404, 405].contains(&status) && !answer.contains("secret\""), "{answer}");
        }
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    let names = fs::read_dir(running.registry_folder()).unwrap().count();
    assert_eq!(names, 2, "blobs and repositories");
}

#[test]
fn nobody_touches_the_uploads_of_others() {
    let running = Running::start();
    let upload = begin(&running, "a");
    running.ask("PATCH", &upload, "mine").is(202);
    let other = running.token(&[Scope::Publish]);
    let end = format!("{upload}?digest={}", digest(b"mine"));
    for (method, path) in [("GET", &upload), ("PATCH", &upload), ("PUT", &end), ("DELETE", &upload)]
    {
        let answer = running.ask_as(&other, method, path, &[], "x");
        assert_eq!(answer.is(404).code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
        let elsewhere = path.replace("/v2/a/", "/v2/b/");
        let answer = running.ask("GET", &elsewhere, "");
        assert_eq!(answer.is(404).code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
    }
    let guessed = format!("{}{}", &upload[..upload.len() - 1], "g");
    assert_eq!(running.get(&guessed).is(404).code(), "BLOB_UPLOAD_UNKNOWN");
    running.ask("PUT", &end, "").is(201);
}

#[test]
fn ranges_that_do_not_fit_are_refused() {
    let running = Running::start();
    let upload = begin(&running, "a");
    let chunk = |range: &str, bytes: &str| {
        running.ask_as(&running.publisher, "PATCH", &upload, &[("content-range", range)], bytes)
    };
    for range in ["5-9", "1-5", "18446744073709551614-18446744073709551615"] {
        assert_eq!(chunk(range, "12345").is(416).code(), "BLOB_UPLOAD_INVALID", "{range}");
    }
    for range in ["bytes 0-4/5", "4-0", "x", "-", "0-99999999999999999999"] {
        assert_eq!(chunk(range, "12345").is(400).code(), "BLOB_UPLOAD_INVALID", "{range}");
    }
    chunk("0-4", "12345").is(202);
    // A chunk of another size than it says makes the upload useless.
    assert_eq!(chunk("5-9", "67").is(400).code(), "SIZE_INVALID");
    assert_eq!(running.get(&upload).is(404).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn what_is_too_large_is_refused_before_it_comes() {
    let running = Running::start();
    let upload = begin(&running, "a");
    let bearer = format!("authorization: Bearer {}", running.publisher);
    for (method, path, length) in [
        ("POST", &format!("/v2/a/blobs/uploads/?digest={}", digest(b"")) as &str, 1_u64 << 62),
        ("PATCH", &upload, (1 << 30) + 1),
        ("PUT", "/v2/a/manifests/1", 1 << 40),
    ] {
        let answer = raw(
            &running,
            &format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\n{bearer}\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\nx"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("SIZE_INVALID"), "{answer}");
    }
    // Without a token nothing of the body is read.
    let stranger = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-length: 1000000\r\n\r\n";
    assert!(raw(&running, stranger).starts_with("HTTP/1.1 401 "));
}

#[test]
fn an_upload_whose_client_hangs_up_is_continued_or_takes_one_place() {
    let running = Running::start();
    let upload = begin(&running, "a");
    let bearer = format!("authorization: Bearer {}", running.publisher);
    let mut stream = TcpStream::connect(running.address).unwrap();
    let head =
        format!("PATCH {upload} HTTP/1.1\r\nhost: x\r\n{bearer}\r\ncontent-length: 99\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"hello ").unwrap();
    drop(stream);
    // The server notices it a moment later. Until then another request holds the upload.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let answer = running.get(&upload);
        if answer.header("range") == Some("0-5") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
    }
    let end = format!("{upload}?digest={}", digest(b"hello world"));
    running.ask("PUT", &end, "world").is(201);

    let uploads: Vec<_> = (0..24).map(|_| begin(&running, "a")).collect();
    let refusal = running.ask("POST", "/v2/a/blobs/uploads/", "").is(429);
    assert_eq!(refusal.code(), "TOOMANYREQUESTS");
    running.ask("DELETE", &uploads[0], "").is(204);
    begin(&running, "a");
}

#[test]
fn a_revoked_token_publishes_nothing_more() {
    let running = Running::start();
    running.push_image("a", "1", b"layer");
    let upload = begin(&running, "a");
    let all = running.tokens.all();
    let by = access::Revocation {
        actor: String::from("root"),
        at: model::Timestamp::from_unix_micros(1),
    };
    running.tokens.revoke(&all[0].name, by).unwrap();
    let end = format!("{upload}?digest={}", digest(b"x"));
    running.ask("PUT", &end, "x").is(401);
    running.put_manifest("a", "2", IMAGE, &image_of(b"layer", None)).is(401);
    assert_eq!(running.sealed("COMPONENT_PUBLISHED").len(), 1);
}

#[test]
fn what_was_changed_on_disk_nobody_gets_whole() {
    let running = Running::start();
    let layer: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    let image = running.push_image("a", "1", &layer);
    let whole = |path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let url = format!("http://{}{path}", running.address);
        let bearer = format!("Bearer {}", running.publisher);
        // What is sent in one piece may break off before its head.
        agent.get(&url).header("authorization", bearer).call()?.body_mut().read_to_vec()
    };
    let paths = [format!("/v2/a/blobs/{}", digest(&layer)), format!("/v2/a/manifests/{image}")];
    assert_eq!(whole(&paths[0]).unwrap(), layer);
    for (path, digest) in paths.iter().zip([digest(&layer), image]) {
        whole(path).unwrap();
        let file = digest.replace("sha256:", "blobs/sha256/");
        let file = running.registry_folder().join(file);
        let mut bytes = fs::read(&file).unwrap();
        bytes[7] ^= 1;
        fs::write(&file, bytes).unwrap();
        let got = whole(path);
        assert!(got.is_err(), "{path}: {:?}", got.map(|it| it.len()));
    }
}
