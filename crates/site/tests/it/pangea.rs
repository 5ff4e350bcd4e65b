//! Pangea's API over a log without a site: what depends on the configuration and on the caller.

use std::{fs, io::Read as _, path::Path};

use access::Account;
use flate2::read::GzDecoder;
use orders::{Done, Order};
use serde_json::{Value, json};
use site::log_alone::LogAlone;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

struct Client {
    log: LogAlone,
    user_agent: &'static str,
}

impl Client {
    /// A log in a folder, with this configuration.
    async fn start(folder: &Path, config: &str) -> Self {
        // The folder belongs to a site only after its first start.
        LogAlone::start(folder).await.unwrap().stop().await.unwrap();
        fs::write(folder.join("pangea.json"), config).unwrap();
        let log = LogAlone::start(folder).await.unwrap();
        Self { log, user_agent: "curl/8" }
    }

    async fn send(&self, head: &str, body: &str) -> Value {
        self.send_with("", head, body).await
    }

    /// Asks with further header lines, each with its line end.
    async fn send_with(&self, headers: &str, head: &str, body: &str) -> Value {
        let address = self.address();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (token, agent, length) = (&self.log.token, self.user_agent, body.len());
        let request = format!(
            "{head} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nuser-agent: {agent}\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn address(&self) -> &str {
        self.log.url.strip_prefix("http://").unwrap()
    }

    /// Content of a file that can be downloaded.
    async fn download(&self, url: &str) -> String {
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        assert_eq!(address, self.address());
        let mut stream = TcpStream::connect(address).await.unwrap();
        // An HTTP 1.0 client gets the file itself, not chunks.
        let request = format!("GET /{path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let mut text = String::new();
        GzDecoder::new(&answer[head + 4..]).read_to_string(&mut text).unwrap();
        text
    }

    /// Creates a token with all scopes, and uses it from now on.
    async fn go_on_as(&mut self, name: &str) {
        let scope = vec!["write".parse().unwrap(), "read".parse().unwrap()];
        let order =
            Order::CreateToken { name: name.parse().unwrap(), scope, nats: false, actor: None };
        let done = self.log.operator.carry_out(order, &Account::own()).await.unwrap();
        let Done::CreateToken { token, .. } = done else { panic!("{done:?}") };
        self.log.token = token;
    }

    async fn revoke(&self, name: &str) {
        let order = Order::RevokeToken { name: name.parse().unwrap(), actor: None };
        self.log.operator.carry_out(order, &Account::own()).await.unwrap();
    }

    /// The result of a request that succeeds.
    async fn ask(&self, path: &str, body: &Value) -> Value {
        let mut answer = self.send(&format!("POST {path}"), &body.to_string()).await;
        assert_eq!(answer["status"], "Success", "{answer}");
        answer["result"].take()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unpublished_roots_ask_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), r#"{"roots":"unpublished"}"#).await;
    client.ask("/v1/log", &json!({ "event": { "message": "m" } })).await;
    let found = client.ask("/v1/search", &json!({ "query": "message:m" })).await;
    let event = &found["events"][0];
    assert_eq!(
        (&event["published"], &event["leaf_index"]),
        (&json!(false), &Value::Null),
        "{found}"
    );
    assert!(found.get("root").is_none() && event["membership_proof"].is_string(), "{found}");
    assert!(found["unpublished_root"]["size"].as_u64().unwrap() > 2, "{found}");
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn go_is_given_no_hash_that_it_could_not_match() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::start(folder.path(), "{}").await;
    client.user_agent = "pangea-go/5.7.0";
    for (message, is_verifiable) in [("plain", true), ("a < b", false)] {
        let event = json!({ "event": { "message": message }, "verbose": true });
        let logged = client.ask("/v1/log", &event).await;
        assert_eq!(logged["envelope"]["event"]["message"], message);
        assert_eq!(logged["hash"].is_string(), is_verifiable, "{logged}");
        let found = client.ask("/v1/search", &json!({ "query": format!("\"{message}\"") })).await;
        let event = &found["events"][0];
        assert_eq!(
            (event["hash"].is_string(), event["membership_proof"].is_string()),
            (is_verifiable, is_verifiable),
            "{found}"
        );
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_promised_is_of_the_request_that_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), r#"{"redact":{"message":["[0-9]{4}"]}}"#).await;
    let events = json!({ "events": [{ "event": { "message": "pin 1234" } }], "verbose": true });
    let taken = client.send("POST /v2/log_async", &events.to_string()).await;
    let id = taken["request_id"].as_str().unwrap();
    assert_eq!(taken["result"]["location"], format!("{}/request/{id}", client.log.url));
    let answer = client.send(&format!("GET /request/{id}"), "").await;
    assert_eq!(answer["request_id"], id);
    let envelope = &answer["result"]["results"][0]["envelope"];
    assert_eq!(envelope["event"]["message"], "pin [redacted]", "{answer}");
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_fields_are_restricted_to_whole_values() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "fields": [
        { "id": "batch", "type": "string" },
        { "id": "shift", "type": "string" },
        { "id": "count", "type": "integer" },
    ] });
    let client = Client::start(folder.path(), &config.to_string()).await;
    let long = "east wing ".repeat(30); // its words are indexed, not the whole
    let batches = ["east wing", "East wing", "east", "", &long, &format!("{long} "), &long];
    let numbered = batches.iter().zip(0..);
    let events = numbered.map(|(batch, count)| {
        json!({ "event": { "message": "m", "batch": batch, "shift": "B 1", "count": count } })
    });
    client.ask("/v2/log", &json!({ "events": events.collect::<Vec<_>>() })).await;
    for (restriction, counts) in [
        (json!({ "batch": ["east wing"] }), vec![0]),
        (json!({ "batch": ["east"] }), vec![2]),
        (json!({ "batch": ["wing"] }), vec![]),
        (json!({ "batch": ["", "East wing"] }), vec![3, 1]),
        (json!({ "batch": [long] }), vec![6, 4]),
        (json!({ "batch": [long, "east"], "count": ["4", "2"] }), vec![4, 2]),
        (json!({ "shift": ["B 1"], "count": ["5"] }), vec![5]),
        (json!({ "shift": ["B"] }), vec![]),
    ] {
        let search = json!({ "query": "", "search_restriction": restriction });
        let found = client.ask("/v1/search", &search).await;
        let events = found["events"].as_array().unwrap().iter();
        let found_counts: Vec<_> =
            events.map(|found| &found["envelope"]["event"]["count"]).collect();
        assert_eq!(found_counts, counts, "{search}");
        assert_eq!(found["count"], counts.len(), "{search}");
        let again = json!({ "id": found["id"], "assert_search_restriction": restriction });
        assert_eq!(client.ask("/v1/results", &again).await["count"], counts.len(), "{search}");
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sorted_by_another_field_is_the_newest_and_the_answer_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), "{}").await;
    let events = ["b", "a", "d", "c"].map(|actor| {
        let message = format!("by {actor}");
        json!({ "event": { "message": message, "actor": actor, "action": "test" } })
    });
    client.ask("/v2/log", &json!({ "events": events })).await;
    for (order, results_max, actors, says_so) in [
        ("asc", 10, vec!["a", "b", "c", "d"], false),
        ("asc", 4, vec!["a", "b", "c", "d"], false),
        ("asc", 2, vec!["c", "d"], true),
        ("desc", 3, vec!["d", "c", "a"], true),
    ] {
        let search = json!({ "query": "action:test", "order_by": "actor", "order": order, "max_results": results_max });
        let mut answer = client.send("POST /v1/search", &search.to_string()).await;
        let found = answer["result"].take();
        let events = found["events"].as_array().unwrap().iter();
        let found_actors: Vec<_> =
            events.map(|found| &found["envelope"]["event"]["actor"]).collect();
        assert_eq!(found_actors, actors, "{search}");
        let summary = answer["summary"].as_str().unwrap();
        assert_eq!(
            summary.contains(&format!("the newest {results_max}, sorted by actor")),
            says_so,
            "{summary}"
        );
    }
    client.log.stop().await.unwrap();
}

/// The newest leaf, by a search for everything.
async fn newest_leaf(client: &Client) -> u64 {
    let found = client.ask("/v1/search", &json!({ "limit": 1 })).await;
    found["events"][0]["leaf_index"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_retry_is_sealed_again_whatever_the_clock_did() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), "{}").await;
    let event = json!({ "event": { "message": "once" } }).to_string();
    let (log, retried) = ("POST /v1/log", "x-pangea-retried-request-ids");
    let first = client.send(log, &event).await;
    let sealed = newest_leaf(&client).await;
    // The clock was set back before the second attempt, so the second id is smaller. This is the
    // third attempt.
    let ids = format!("prq_{},{}", "0".repeat(32), first["request_id"].as_str().unwrap());
    let third = client.send_with(&format!("{retried}: {ids}\r\n"), log, &event).await;
    assert_eq!((&third["status"], &third["result"]), (&json!("Success"), &first["result"]));
    assert_eq!(newest_leaf(&client).await, sealed);
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_export_is_sealed_once() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), "{}").await;
    let found = client.ask("/v1/search", &json!({})).await;
    let download = json!({ "result_id": found["id"], "format": "csv" });
    for (path, body, status) in [
        ("/v1/export", json!({ "start": "7d", "end": "1h" }), "Accepted"),
        ("/v1/download_results", download, "Success"),
    ] {
        let (head, body) = (format!("POST {path}"), body.to_string());
        let first = client.send(&head, &body).await;
        assert_eq!(first["status"], status, "{first}");
        let sealed = newest_leaf(&client).await;
        let id = first["request_id"].as_str().unwrap();
        let retried = format!("x-pangea-retried-request-ids: {id}\r\n");
        let again = client.send_with(&retried, &head, &body).await;
        assert_eq!(again["status"], status, "{again}");
        assert_eq!(newest_leaf(&client).await, sealed, "{path}");
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_of_all_that_a_search_finds() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), "{}").await;
    let events = vec![json!({ "event": { "message": "pump two stopped" } }); 1_000];
    for _batch in 0..3 {
        client.ask("/v2/log", &json!({ "events": events })).await;
    }
    // The index cannot decide about words that end with a space, so events are read to count them.
    let found = client.ask("/v1/search", &json!({ "query": "message:\"pump two\"" })).await;
    assert_eq!(found["count"], 3_000);
    let rest = json!({ "id": found["id"], "offset": 2_990, "limit": 100 });
    let page = client.ask("/v1/results", &rest).await;
    assert_eq!((&page["count"], page["events"].as_array().unwrap().len()), (&json!(3_000), 10));
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_what_a_search_found_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), "{}").await;
    let event = |number: u64| json!({ "event": { "message": format!("reading-{number}"), "actor": (number * 7 % 10).to_string() } });
    let events: Vec<Value> = (0..700).map(event).collect();
    client.ask("/v2/log", &json!({ "events": events })).await;
    for order_by in ["received_at", "actor"] {
        for order in ["asc", "desc"] {
            let search = json!({ "query": "message:reading-", "order": order, "order_by": order_by, "limit": 1_000 });
            let found = client.ask("/v1/search", &search).await;
            let wanted = json!({ "result_id": found["id"], "format": "json" });
            let file = client.ask("/v1/download_results", &wanted).await;
            let file = client.download(file["dest_url"].as_str().unwrap()).await;
            let leaves = |events: &Value| {
                let events = events.as_array().unwrap();
                events.iter().map(|event| event["leaf_index"].clone()).collect::<Vec<_>>()
            };
            let shown = leaves(&found["events"]);
            assert!(shown.len() == 700 && shown == leaves(&serde_json::from_str(&file).unwrap()));
        }
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_of_the_proxy_that_the_configuration_names() {
    const URL: &str = "https://plant.example/log";
    let folder = tempfile::tempdir().unwrap();
    let client = Client::start(folder.path(), &json!({ "public_url": URL }).to_string()).await;
    let root = client.ask("/v1/root", &json!({})).await;
    let events = json!({ "events": [{ "event": { "message": "m" } }] }).to_string();
    let taken = client.send("POST /v2/log_async", &events).await;
    let found = client.ask("/v1/search", &json!({})).await;
    let file = client.ask("/v1/download_results", &json!({ "result_id": found["id"] })).await;
    // A checkpoint that witnesses have cosigned may cover less.
    assert_eq!(root["data"]["url"], format!("{URL}/checkpoint/unwitnessed"));
    for url in [&taken["result"]["location"], &file["dest_url"]] {
        assert!(url.as_str().unwrap().starts_with(&format!("{URL}/")), "{url}");
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_seals_nothing_that_was_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::start(folder.path(), "{}").await;
    let paths = ["/v1/log", "/v2/log", "/v1/search", "/v1/export"];
    for (number, path) in paths.into_iter().enumerate() {
        let name = format!("program-{number}");
        client.go_on_as(&name).await;
        let event = json!({ "message": "under way" });
        let body = match path {
            "/v1/log" => json!({ "event": event }),
            "/v2/log" => json!({ "events": [{ "event": event }] }),
            "/v1/export" => json!({ "format": "csv" }),
            _ => json!({ "query": "" }),
        };
        let (body, address) = (body.to_string(), client.address());
        let (size, token, length) = (client.log.ledger.size(), &client.log.token, body.len());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Admitted: the log has the use of the token.
        client.log.ledger.watch_size().wait_for(|now| *now > size).await.unwrap();
        client.revoke(&name).await;
        let revoked = client.log.ledger.size();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        assert_eq!(client.log.ledger.size(), revoked, "{path}: nothing follows the revocation");
    }
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_download_ends_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::start(folder.path(), "{}").await;
    client.go_on_as("auditor").await;
    client.ask("/v1/log", &json!({ "event": { "message": "secret" } })).await;
    let found = client.ask("/v1/search", &json!({ "query": "message:secret" })).await;
    let file = client.ask("/v1/download_results", &json!({ "result_id": found["id"] })).await;
    let url = file["dest_url"].as_str().unwrap();
    assert!(client.download(url).await.contains("secret"));
    client.revoke("auditor").await;
    let path = url.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let request = format!("GET /{path} HTTP/1.0\r\nhost: {}\r\n\r\n", client.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 404") && answer.contains("its token was revoked"),
        "{answer}"
    );
    client.log.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_logs_names_its_token_whatever_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut client =
        Client::start(folder.path(), r#"{"fields":[{"id":"token","type":"string"}]}"#).await;
    // A custom field of that name belongs to the program, within the event.
    client.go_on_as("scada-1").await;
    let event = json!({ "event": { "message": "m", "actor": "another", "token": "another" } });
    let first = client.log.ledger.size() + 1;
    client.ask("/v1/log", &event).await;
    client.ask("/v2/log", &json!({ "events": [event] })).await;
    client.ask("/v1/log_stream", &json!({ "logs": [{ "data": { "type": "x" } }] })).await;
    let outside = json!({ "event": { "message": "m" }, "token": "another" }).to_string();
    let refused = client.send("POST /v1/log", &outside).await;
    assert_eq!(refused["status"], "ValidationError", "{refused}");
    let stored = client.log.ledger.envelopes(first, 100, usize::MAX).unwrap();
    assert_eq!(stored.len(), 3);
    for stored in stored {
        let envelope: Value = serde_json::from_slice(&stored.bytes.unwrap()).unwrap();
        assert_eq!(envelope["token"], "scada-1", "{envelope}");
        assert!(envelope.get("sealwire").is_none(), "{envelope}");
    }
    client.log.stop().await.unwrap();
}
