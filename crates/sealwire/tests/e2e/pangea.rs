//! Pangea's API, tested with its own SDKs and its own contract.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::site::{Follower, Site, port, sealwire, succeeds, until};

/// Fields that a log's configuration adds.
const CUSTOM_FIELDS: &str = r#"{"fields":[
    {"id":"field_int","type":"integer"}, {"id":"field_bool","type":"boolean"}, {"id":"field_float","type":"float"},
    {"id":"field_long","type":"string-unindexed"}, {"id":"field_time","type":"datetime"}]}"#;

pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/pangea")
}

pub(crate) fn python() -> String {
    std::env::var("SEALWIRE_TEST_PYTHON")
        .expect("SEALWIRE_TEST_PYTHON names a Python with Pangea's SDK; `cargo xtask test` sets it")
}

/// A program with an API token.
pub(crate) struct Client<'a> {
    site: &'a Site,
    pub(crate) token: String,
    config_id: String,
}

impl<'a> Client<'a> {
    pub(crate) fn new(site: &'a Site, name: &str, scope: &str) -> Self {
        let made = token(site, &["create", "--name", name, "--scope", scope, "--actor", "ada"]);
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self { site, token: text("token"), config_id: text("config_id") }
    }

    /// HTTP status and the answer, which always has Pangea's frame.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let (status, id, answer) = self.send(path, body, &[]);
        assert_eq!(answer["request_id"], id.as_str());
        (status, answer)
    }

    #[track_caller]
    fn send(
        &self,
        path: &str,
        body: impl AsRef<[u8]>,
        headers: &[(&str, &str)],
    ) -> (u16, String, Value) {
        let url = format!("{}{path}", self.site.addresses.log);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.post(url).header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.read(request.send(body.as_ref()).unwrap())
    }

    /// Makes many simultaneous requests until it is told to stop.
    fn ask_without_end(&self, is_enough: impl Fn() -> bool) {
        const AT_ONCE: usize = 100;
        let request = format!(
            "GET /request/none HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        );
        let requests = request.repeat(AT_ONCE);
        let address = ("127.0.0.1", port(&self.site.addresses.log));
        let connect = |_| BufReader::new(TcpStream::connect(address).unwrap());
        let mut streams: [_; 4] = std::array::from_fn(connect);
        while !is_enough() {
            for stream in &mut streams {
                stream.get_mut().write_all(requests.as_bytes()).unwrap();
            }
            for stream in &mut streams {
                (0..AT_ONCE).for_each(|_| pass_over_answer(stream));
            }
        }
    }

    /// Asks for the result of a request that was answered with 202.
    #[track_caller]
    fn poll(&self, id: &str) -> (u16, Value) {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.get(format!("{}/request/{id}", self.site.addresses.log));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let (status, _, answer) = self.read(request.call().unwrap());
        (status, answer)
    }

    #[track_caller]
    fn read(&self, mut response: ureq::http::Response<ureq::Body>) -> (u16, String, Value) {
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer: Value = response.body_mut().read_json().unwrap();
        let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
        let frame = ["request_id", "request_time", "response_time", "result", "status", "summary"];
        assert_eq!(members, frame, "{answer}");
        (response.status().as_u16(), id, answer)
    }

    /// The result of a request that succeeds.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.post(path, body.to_string());
        assert_eq!(status, 200, "{answer}");
        answer["result"].take()
    }

    /// Runs a script with this client's access. The script must succeed.
    #[track_caller]
    pub(crate) fn run(&self, program: &str, script: &Path, arguments: &[&str]) {
        let output = Command::new(program)
            .arg(script)
            .args([&self.site.addresses.log, &self.token, &self.config_id])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    }
}

fn pass_over_answer(stream: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the site ended the connection");
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).unwrap();
}

pub(crate) fn token(site: &Site, arguments: &[&str]) -> Value {
    let data_dir = site.data_dir();
    let common = ["token", "--json", "--data-dir", data_dir.to_str().unwrap()];
    let (code, printed, errors) = sealwire(&[&common, arguments].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    serde_json::from_str(&printed).unwrap()
}

/// A site whose log has custom fields.
fn site_with_custom_fields() -> Site {
    let mut site = Site::start(&[]);
    site.stop();
    fs::write(site.data_dir().join("pangea.json"), CUSTOM_FIELDS).unwrap();
    site.start_again();
    site
}

#[test]
fn the_python_sdk_verifies_what_it_gets() {
    let mut site = site_with_custom_fields();
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&site, "python", "write,read");
    client.run(&python(), &scripts().join("python_sdk.py"), &[folder.path().to_str().unwrap()]);
    what_its_tools_dumped_verifies_offline(folder.path());
    what_its_tools_dumped_moves_here(folder.path(), &site);
    site.stop();
}

/// The dump of the SDK's tool is imported into the log of a site, each of its events once.
fn what_its_tools_dumped_moves_here(folder: &Path, site: &Site) {
    let [dump, changed, roots] =
        ["dump.jsonl", "changed.jsonl", "roots.json"].map(|name| folder.join(name));
    let text = fs::read_to_string(&dump).unwrap();
    let data_dir = site.data_dir();
    let import = |file: &Path| {
        let words = ["import", "pangea", file.to_str().unwrap(), "--from", "a plant", "--json"];
        let more = ["--roots", roots.to_str().unwrap(), "--reason", "we move"];
        let place = ["--data-dir", data_dir.to_str().unwrap()];
        sealwire(&[&words[..], &more, &place].concat())
    };
    fs::write(&changed, text.replace("\"bulk 7\"", "\"bulk 8\"")).unwrap();
    let (code, said, _) = import(&changed);
    assert!(code == Some(1) && said.contains("its envelope has another hash"), "{said}");
    assert!(site.events("EVENT_IMPORTED").is_empty(), "of such a file nothing is imported");

    let (code, said, error) = import(&dump);
    assert_eq!(code, Some(0), "{said}{error}");
    let done: Value = serde_json::from_str(&said).unwrap();
    let events = text.lines().count();
    assert_eq!(done["events"], events, "{done}");
    let (_, again, _) = import(&dump);
    assert_eq!(said, again, "nothing is sealed twice");
    let history = site.wait_for_event("HISTORY_IMPORTED", |_| true);
    let message = history["envelope"]["event"]["message"].as_str().unwrap();
    let shown = format!("we move: {events} events: {events} in the tree of a published root");
    assert!(message.starts_with(&shown), "{message}");
    let imported = site.events("EVENT_IMPORTED");
    assert_eq!(imported.len(), events.min(500), "the newest of them");
    let first = &imported[0]["envelope"];
    assert_eq!(first["event"]["source"], "a plant", "{first}");
    let envelope = first["event"]["new"].as_str().unwrap();
    assert!(text.contains(envelope), "{envelope}");
}

/// The dump that the SDK's tool wrote in this folder, and the roots for it.
fn what_its_tools_dumped_verifies_offline(folder: &Path) {
    let [dump, roots] = ["dump.jsonl", "roots.json"].map(|name| folder.join(name));
    let verify = |dump: &Path, more: &[&str]| {
        let (code, printed, said) =
            sealwire(&[&["verify", "pangea", dump.to_str().unwrap()], more].concat());
        (code, format!("{printed}{said}"))
    };
    let with_roots = ["--roots", roots.to_str().unwrap()];
    let (code, said) = verify(&dump, &with_roots);
    assert!(code == Some(0) && said.contains("the export verifies"), "{said}");
    let (code, said) = verify(&dump, &[]);
    assert!(code == Some(3) && said.contains("NOT SHOWN") && said.contains("--roots"), "{said}");
    let changed = folder.join("changed.jsonl");
    let text = fs::read_to_string(&dump).unwrap().replace("\"bulk 7\"", "\"bulk 8\"");
    fs::write(&changed, text).unwrap();
    let (code, said) = verify(&changed, &with_roots);
    assert!(code == Some(1) && said.contains("its envelope has another hash"), "{said}");
    fs::write(&changed, "no JSON").unwrap();
    let (code, said) = verify(&changed, &with_roots);
    assert!(code == Some(1) && said.contains("no export of Pangea"), "{said}");
}

#[test]
fn the_node_sdk_verifies_what_it_gets() {
    let mut site = Site::start(&["--simulate", "4"]);
    let client = Client::new(&site, "node", "write,read");
    let between = scripts().join("between.py");
    let script = scripts().join("node/node_sdk.mjs");
    client.run("node", &script, &[&python(), between.to_str().unwrap()]);
    site.stop();
}

#[test]
fn a_stored_byte_that_was_changed_is_seen_by_the_sdk() {
    let mut site = Site::start(&[]);
    let client = Client::new(&site, "python", "write,read");
    let ledger = site.data_dir().join("ledger");
    client.run(&python(), &scripts().join("stored_byte.py"), &[ledger.to_str().unwrap()]);
    site.stop();
}

#[test]
fn a_token_that_asks_too_often_is_told_so_in_the_sdks_words() {
    let mut site = Site::start(&[]);
    let client = Client::new(&site, "eager", "read");
    std::thread::scope(|scope| {
        let sdk = scope.spawn(|| client.run(&python(), &scripts().join("too_many.py"), &[]));
        client.ask_without_end(|| sdk.is_finished());
    });
    // Refused requests do not count: a moment later the token works again.
    until("the token is let in", || (client.post("/v1/root", "{}").0 == 200).then_some(()));
    site.stop();
}

#[test]
fn no_answer_is_outside_the_contract() {
    let mut site = Site::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&site, "contract", "write,read");
    client.run(&python(), &scripts().join("contract.py"), &[folder.path().to_str().unwrap()]);
    site.stop();
}

#[test]
fn tokens_let_in_whom_they_should_and_the_log_says_so() {
    let mut site = Site::start(&[]);
    let writer = Client::new(&site, "writer", "write");
    let reader = Client::new(&site, "reader", "read");
    let event = r#"{"event":{"message":"hello"}}"#;
    assert_eq!(writer.post("/v1/log", event).0, 200);
    assert_eq!(writer.post("/v1/log", event).0, 200);
    assert_eq!(reader.post("/v1/root", "{}").0, 200);
    for (client, path, body) in [(&writer, "/v1/search", "{}"), (&reader, "/v1/log", event)] {
        let (status, answer) = client.post(path, body);
        assert_eq!((status, &answer["status"]), (403, &json!("Forbidden")), "{answer}");
    }
    let nobody = Client { token: String::from("pts_wrong"), ..Client::new(&site, "x", "read") };
    let (status, answer) = nobody.post("/v1/root", "{}");
    assert_eq!((status, &answer["status"]), (401, &json!("Unauthorized")), "{answer}");

    let used = |name: &str| {
        let events = site.events("TOKEN_USED");
        events.iter().filter(|event| event["envelope"]["event"]["target"] == name).count()
    };
    until("uses are indexed", || (used("writer") == 1 && used("reader") == 1).then_some(()));
    let as_ada = format!("{} as ada", access::Account::own().name());
    site.wait_for_event("TOKEN_CREATED", |envelope| {
        envelope["event"]["actor"] == as_ada && envelope["event"]["target"] == "writer"
    });
    token(&site, &["revoke", "writer", "--actor", "ada"]);
    assert_eq!(writer.post("/v1/log", event).0, 401);
    site.wait_for_event("TOKEN_REVOKED", |envelope| envelope["event"]["target"] == "writer");
    let listed = token(&site, &["list"]);
    let names: Vec<&Value> =
        listed["tokens"].as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["reader", "x"]);
    site.stop();
}

#[test]
fn a_retry_seals_nothing_and_pages_outlive_a_restart() {
    let mut site = Site::start(&[]);
    let client = Client::new(&site, "scada", "write,read");
    let (token, config_id) = (client.token.clone(), client.config_id.clone());
    let body = r#"{"event":{"message":"once"},"verbose":true}"#;
    let (_, first, _) = client.send("/v1/log", body, &[]);
    let others = format!("prq_vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv,{first}");
    for _ in 0..2 {
        let retried = [("x-pangea-retried-request-ids", others.as_str())];
        let (status, _, answer) = client.send("/v1/log", body, &retried);
        assert_eq!(status, 200, "{answer}");
        let (status, _, answer) = client.send("/v1/log", body.replace("once", "other"), &retried);
        assert_eq!((status, &answer["status"]), (400, &json!("ValidationError")), "{answer}");
    }
    let found = client.ask("/v1/search", &json!({ "query": "message:once" }));
    assert_eq!(found["count"], 1);
    let found = client.ask("/v1/search", &json!({ "limit": 1, "order": "asc" }));
    assert_eq!(found["events"][0]["leaf_index"], 0);
    let count = found["count"].clone();
    site.stop();
    site.start_again();
    let client = Client { site: &site, token, config_id };
    let page = client.ask("/v1/results", &json!({ "id": found["id"], "offset": 1 }));
    assert_eq!(page["count"], count, "what was sealed since is not on its pages");
    assert_eq!(page["events"][0]["leaf_index"], 1);
    site.stop();
}

#[test]
fn what_was_promised_outlives_a_restart() {
    let mut site = Site::start(&[]);
    let before = Client::new(&site, "scada", "write,read");
    let (token, config_id) = (before.token.clone(), before.config_id.clone());
    let other = Client::new(&site, "other", "write,read").token;
    let body = json!({ "events": [{ "event": { "message": "a" } }, { "event": { "message": "b" } }], "verbose": true });
    let (status, taken) = before.post("/v2/log_async", body.to_string());
    assert_eq!((status, &taken["status"]), (202, &json!("Accepted")), "{taken}");
    let logged = taken["request_id"].as_str().unwrap().to_owned();
    let retried = [("x-pangea-retried-request-ids", logged.as_str())];
    let (status, again, _) = before.send("/v2/log_async", body.to_string(), &retried);
    assert_eq!(status, 202);
    let (_, asked) = before.post("/v1/export", r#"{"format":"json","order":"asc"}"#);
    let export = asked["request_id"].as_str().unwrap().to_owned();
    site.kill();
    site.start_again();

    let after = Client { site: &site, token, config_id };
    let leaves = [&logged, &again].map(|id| {
        let (status, answer) = after.poll(id);
        assert_eq!((status, &answer["request_id"]), (200, &json!(id)), "{answer}");
        let results = answer["result"]["results"].as_array().unwrap();
        let messages: Vec<_> =
            results.iter().map(|one| &one["envelope"]["event"]["message"]).collect();
        assert_eq!(messages, ["a", "b"], "verbose is as it was asked for");
        results.iter().map(|one| one["hash"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(leaves[0], leaves[1], "a retry is found under its own id, and sealed nothing");
    assert_eq!(after.poll(&export).0, 200);
    let file = after.ask("/v1/download_results", &json!({ "request_id": export }));
    let file = ureq::get(file["dest_url"].as_str().unwrap())
        .call()
        .unwrap()
        .body_mut()
        .read_to_vec()
        .unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*file).read_to_string(&mut text).unwrap();
    let exported: Value = serde_json::from_str(&text).unwrap();
    let end = exported.as_array().unwrap().last().unwrap();
    assert_eq!(
        end["envelope"]["event"]["action"], "EVENTS_EXPORTED",
        "it ends where it was asked for"
    );
    self::token(&site, &["revoke", "scada", "--actor", "ada"]);
    let anew = Client::new(&site, "scada", "write,read");
    for stranger in [Client { token: other, ..after }, anew] {
        assert_eq!(stranger.poll(&logged).0, 404);
        let export = json!({ "request_id": export }).to_string();
        assert_eq!(stranger.post("/v1/download_results", &export).0, 400);
    }
    site.stop();
}

#[test]
fn a_program_passes_nothing_off_as_the_sites_own() {
    const FORGED: &str = "4242.4242";
    let mut site = Site::start(&["--simulate", "4"]);
    let client = Client::new(&site, "forger", "write,read");
    let follower = Follower::start(&site);
    follower.wait_for_more("SENSOR_READING", 4);
    let sensor = site.sensors().remove(0);
    let id = sensor["id"].as_str().unwrap().to_owned();
    let source =
        format!("{}.{}", sensor["location"].as_str().unwrap(), sensor["alias"].as_str().unwrap());

    // Everything that a program can log, in the exact words of the site.
    let actions = [
        "SENSOR_READING",
        "READINGS_MISSING",
        "SENSOR_DISCOVERED",
        "SENSOR_CHANGED",
        "HEARTBEAT_MISSED",
        "SENSOR_DISCONNECTED",
        "OUT_OF_RANGE",
        "SENSOR_LOST",
        "SITE_STOPPED",
        "TOKEN_REVOKED",
    ];
    let event = |action: &str| {
        json!({ "action": action, "actor": "poller", "message": format!("{source}: {FORGED}"), "new": FORGED, "source": source,
            "status": "SUCCESS", "target": id, "timestamp": "2026-01-01T00:00:00.000000Z" })
    };
    let events: Vec<Value> = actions.map(|action| json!({ "event": event(action) })).into();
    client.ask("/v2/log", &json!({ "events": events }));
    let with = |name: &str, value: Value| {
        let mut event = event("SENSOR_READING");
        event[name] = value;
        event
    };
    for body in [
        json!({ "event": with("sealwire", json!({ "sensor": id, "poll": 1 })) }),
        json!({ "event": event("SENSOR_READING"), "sealwire": { "sensor": id, "poll": 1 } }),
    ] {
        let (status, answer) = client.post("/v1/log", body.to_string());
        assert_eq!((status, &answer["status"]), (400, &json!("ValidationError")), "{answer}");
    }

    // A search by action also finds them. Only the site's own events have `sealwire`.
    let forged = client.ask("/v1/search", &json!({ "query": FORGED, "limit": 100 }));
    assert_eq!(forged["count"], actions.len());
    for one in forged["events"].as_array().unwrap() {
        assert!(one["envelope"].get("sealwire").is_none(), "{one}");
    }
    for action in ["SENSOR_READING", "SITE_STARTED", "TOKEN_CREATED", "TOKEN_USED"] {
        let own = site.wait_for_event(action, |envelope| envelope["event"]["new"] != FORGED);
        assert!(own["envelope"]["sealwire"].is_object(), "{own}");
    }

    // They do not affect sensors, derived events or counters.
    follower.wait_for_more("SENSOR_READING", 4);
    let of_site = site.sensors();
    assert_eq!(of_site.len(), 4);
    assert!(of_site.iter().all(|sensor| sensor["state"] == "online"), "{of_site:?}");
    let path = format!("/api/sensors/{id}/readings");
    for question in [path.clone(), format!("{path}?points=500")] {
        let (status, answer) = site.get(&question);
        assert!(status == 200 && !answer.to_string().contains(FORGED), "{answer}");
    }
    let derived =
        site.post("/api/logs", &format!(r#"{{"query":"actor:sensor-reader {FORGED}"}}"#)).1;
    assert_eq!(derived["count"], 0, "{derived}");

    let data_dir = site.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (csv, bundle) = (file("readings.csv"), file("sensor.evidence"));
    let of_sensor = ["--data-dir", data_dir, "--sensor", &id];
    let why = ["--actor", "ada", "--reason", "a test"];
    succeeds(&[&["readings", "--format", "csv", "--output", &csv], &of_sensor[..], &why].concat());
    succeeds(&[&["export", "--output", &bundle], &of_sensor[..]].concat());
    let said = succeeds(&["verify", "bundle", &bundle]);
    assert!(said.contains("1 sensors: all"), "{said}");
    for file in [csv, bundle] {
        assert!(!fs::read_to_string(&file).unwrap().contains(FORGED), "{file}");
    }
    site.stop();
    let said = succeeds(&["verify", "--completeness", data_dir]);
    assert!(said.contains("4 sensors: all") && !said.contains("have no poll number"), "{said}");
}
