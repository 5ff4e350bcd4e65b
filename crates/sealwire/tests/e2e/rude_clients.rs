//! Rude clients of Pangea's API. Each gets an answer that says what is wrong, and nothing of theirs
//! is sealed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::{
    pangea::{Client, token},
    site::{Site, port},
};

/// Allowed growth of the site's memory for one client: the largest body, in a buffer of twice its
/// length.
const GROWTH_BYTES_MAX: u64 = 2 * (16 << 20);

/// Refused requests: path, body, the reported fault, and its place.
fn malformed() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let deep = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(100_000), close.repeat(100_000))
    };
    let (lists, objects) = (deep("[", "1", "]"), deep(r#"{"a":"#, "1", "}"));
    let digits = "9".repeat(100_000);
    let many = json!({ "events": vec![json!({ "event": { "message": "m" } }); 1_001] });
    let row =
        |path, body: &dyn AsRef<[u8]>, code, place| (path, body.as_ref().to_vec(), code, place);
    vec![
        // Not JSON, or incomplete.
        row("/v1/log", &"", "InvalidObject", ""),
        row("/v1/log", &"[]", "InvalidObject", ""),
        row("/v1/log", &"{\"event\":", "InvalidObject", ""),
        row("/v1/log", &r#"{"event":{"message":"m"}} {}"#, "InvalidObject", ""),
        row("/v1/log", &b"{\"event\":{\"message\":\"\xff\xfe\"}}", "InvalidObject", ""),
        row("/v1/log", &b"\xef\xbb\xbf{\"event\":{\"message\":\"m\"}}", "InvalidObject", ""),
        row("/v1/log", &b"\0", "InvalidObject", ""),
        row("/v1/log", &r#"{"event":{"message":NaN}}"#, "InvalidObject", ""),
        // Nested deeper than any stack.
        row("/v1/log", &lists, "InvalidObject", ""),
        row("/v1/log", &objects, "FieldRequired", "/event"),
        row("/v1/log", &format!(r#"{{"event":{lists}}}"#), "InvalidObject", "/event"),
        row(
            "/v1/log",
            &format!(r#"{{"event":{{"message":{lists}}}}}"#),
            "InvalidObject",
            "/event/message",
        ),
        row(
            "/v1/log",
            &format!(r#"{{"event":{{"message":{objects}}}}}"#),
            "InvalidObject",
            "/event/message",
        ),
        row("/v2/log", &format!(r#"{{"events":{lists}}}"#), "InvalidObject", "/events/0"),
        // JSON of other types.
        row("/v1/log", &r#"{"event":[]}"#, "InvalidObject", "/event"),
        row("/v1/log", &r#"{"event":{"message":"\ud800"}}"#, "InvalidString", "/event/message"),
        row("/v1/log", &r#"{"event":{"message":1}}"#, "InvalidString", "/event/message"),
        row(
            "/v1/log",
            &format!(r#"{{"event":{{"message":{digits}}}}}"#),
            "InvalidString",
            "/event/message",
        ),
        row("/v1/log", &r#"{"event":{"message":"m"},"verbose":1}"#, "InvalidBool", "/verbose"),
        row("/v2/log", &r#"{"events":{}}"#, "InvalidArray", "/events"),
        row("/v2/log", &r#"{"events":[]}"#, "BelowMinItems", "/events"),
        row(
            "/v2/log",
            &r#"{"events":[{"event":{"message":"m"}},7]}"#,
            "InvalidObject",
            "/events/1",
        ),
        row("/v2/log", &many.to_string(), "AboveMaxItems", "/events"),
        // Numbers that are too large.
        row("/v1/root", &format!(r#"{{"tree_size":{digits}}}"#), "IsTooBig", "/tree_size"),
        row("/v1/root", &r#"{"tree_size":1e999}"#, "IsTooBig", "/tree_size"),
        row("/v1/search", &r#"{"limit":18446744073709551616}"#, "IsTooBig", "/limit"),
        // Members that appear twice, are unknown or reserved, or belong to another log.
        row("/v1/log", &r#"{"event":{"message":"a","message":"b"}}"#, "InvalidObject", "/event"),
        row(
            "/v1/log",
            &r#"{"event":{"message":"m","unknown":"x"}}"#,
            "UnexpectedProperty",
            "/event/unknown",
        ),
        row(
            "/v1/log",
            &r#"{"event":{"message":"m","action":"KEY_ROTATED"}}"#,
            "InvalidConst",
            "/event/action",
        ),
        row(
            "/v1/log",
            &r#"{"event":{"message":"m"},"config_id":"pci_other"}"#,
            "ConfigNotExist",
            "/config_id",
        ),
    ]
}

#[test]
fn what_is_not_understood_is_named_with_its_place() {
    let mut site = Site::start(&[]);
    let client = Client::new(&site, "rude", "write,read");
    let sealed = || client.ask("/v1/search", &json!({}))["count"].clone();
    let before = sealed();
    for (path, body, code, place) in malformed() {
        let begin: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        let (status, answer) = client.post(path, &body);
        assert_eq!((status, &answer["status"]), (400, &json!("ValidationError")), "{begin}");
        let errors = answer["result"]["errors"].as_array().unwrap();
        let [error] = errors.as_slice() else { panic!("{begin}: {answer}") };
        assert_eq!((&error["code"], &error["source"]), (&json!(code), &json!(place)), "{begin}");
        // The answer does not repeat megabytes of the request.
        assert!(error["detail"].as_str().is_some_and(|detail| detail.len() < 200), "{answer}");
    }
    assert_eq!(client.post("/v1/nothing", "{}").0, 404);
    assert_eq!(sealed(), before, "something was sealed");
    site.stop();
}

#[test]
fn who_has_no_token_or_sends_too_much_or_too_slowly_is_told_so() {
    let mut site = Site::start(&[]);
    let client = Client::new(&site, "rude", "write,read");
    let revoked = Client::new(&site, "revoked", "write").token;
    token(&site, &["revoke", "revoked", "--actor", "ada"]);
    let memory = site.memory();
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let own = bearer(&client.token);
    for access in [
        String::new(),
        bearer(""),
        bearer("pts_wrong"),
        bearer(&revoked),
        bearer(&client.token[..client.token.len() - 1]),
        bearer(&"x".repeat(60_000)),
        format!("authorization: Basic {}\r\n", client.token),
        format!("x-authorization: Bearer {}\r\n", client.token),
    ] {
        let head = format!("POST /v1/root HTTP/1.1\r\n{access}content-length: 2\r\n");
        assert_eq!(send(&site, &head, "{}"), (401, json!("Unauthorized")), "{access:.100}");
    }
    let large = "x".repeat(17 << 20);
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (path, length, body) in [
        ("/v1/log", "content-length: 9223372036854775807", ""),
        ("/v1/log", "content-length: 67108864", "{"),
        // These clients send everything before they read the answer.
        ("/v2/log", "content-length: 17825792", &large),
        ("/v2/log", "transfer-encoding: chunked", &chunk),
        ("/v1/search", "transfer-encoding: chunked", &chunk),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\n{own}{length}\r\n");
        assert_eq!(send(&site, &head, body), (413, json!("PayloadTooLarge")), "{path} {length}");
    }
    // The rest never comes.
    let head = format!("POST /v1/log HTTP/1.1\r\n{own}content-length: 10\r\n");
    assert_eq!(send(&site, &head, "{"), (408, json!("RequestTimeout")));
    let grown = site.memory().peak_bytes - memory.bytes;
    assert!(grown <= GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    site.stop();
}

/// Sends a request unchanged, and returns the HTTP status and Pangea's status. The answer is
/// complete, and the connection ended without an error.
#[track_caller]
fn send(site: &Site, head: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port(&site.addresses.log))).unwrap();
    let request = format!("{head}host: localhost\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let mut body: Value = serde_json::from_str(body).unwrap();
    let id = format!("x-request-id: {}", body["request_id"].as_str().unwrap());
    assert!(head.lines().any(|line| line == id), "{head}");
    (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body["status"].take())
}
