//! The Polling interface: as a NATS service to an independent client, over HTTP, and as commands.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::site::{Follower, Site, sealwire, succeeds, until, verify};

const ADDED: &str = "0b5a6e0c-1111-4222-8333-944455566677";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// What the file `env` of the operator's folder sets.
fn variables(site: &Site) -> HashMap<String, String> {
    let text = fs::read_to_string(site.data_dir().join("operator/env")).unwrap();
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    text.lines().filter_map(variable).collect()
}

fn client(variables: &HashMap<String, String>, words: &[&str]) -> Output {
    let python = std::env::var("SEALWIRE_TEST_PYTHON")
        .expect("SEALWIRE_TEST_PYTHON names a Python with nats-py; `cargo xtask test` sets it");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/service_client.py");
    Command::new(python).arg(script).args(words).envs(variables).output().unwrap()
}

/// Asks the service: the code of the error, which is 0 without one, and the error or the answer.
#[track_caller]
fn ask(site: &Site, subject: &str, payload: &Value, token: Option<&str>) -> (u16, Value) {
    let payload = payload.to_string();
    let words = [subject, &payload].into_iter().chain(token).collect::<Vec<_>>();
    let output = client(&variables(site), &words);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    match answer["headers"]["Nats-Service-Error-Code"].as_str() {
        Some(code) => (code.parse().unwrap(), answer["headers"]["Nats-Service-Error"].clone()),
        None => (0, serde_json::from_str(answer["payload"].as_str().unwrap()).unwrap()),
    }
}

#[track_caller]
fn token(site: &Site, name: &str, scope: &str) -> String {
    let data_dir = site.data_dir();
    let words = ["token", "--data-dir", data_dir.to_str().unwrap(), "--json", "create"];
    let made = succeeds(&[&words, ["--name", name, "--scope", scope].as_slice()].concat());
    let made: Value = serde_json::from_str(&made).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn command(data_dir: &Path, words: &[&str]) -> Value {
    let site = ["sensor", "--data-dir", data_dir.to_str().unwrap(), "--json"];
    serde_json::from_str(&succeeds(&[&site, words].concat())).unwrap()
}

fn sensor(site: &Site, id: &str) -> Value {
    let found = site.sensors().into_iter().find(|sensor| sensor["id"] == id);
    found.unwrap_or_else(|| panic!("no sensor {id}"))
}

#[test]
fn a_service_that_nats_tools_find_polls_by_order_and_the_log_says_who() {
    let mut site = Site::start(&["--simulate", "2"]);
    Follower::start(&site).wait_for_more("SENSOR_READING", 4);
    let id = site.sensors()[0]["id"].as_str().unwrap().to_owned();
    let (ops, reader) = (token(&site, "ops", "operate"), token(&site, "reader", "read"));
    let ops = Some(ops.as_str());

    for (verb, kind) in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")] {
        for subject in [format!("$SRV.{verb}"), format!("$SRV.{verb}.polling")] {
            let (code, answer) = ask(&site, &subject, &json!(null), None);
            let kind = format!("io.nats.micro.v1.{kind}_response");
            assert_eq!(
                (code, &answer["type"], &answer["name"]),
                (0, &json!(kind), &json!("polling"))
            );
        }
    }
    let (_, info) = ask(&site, "$SRV.INFO.polling", &json!(null), None);
    let endpoints = info["endpoints"].as_array().unwrap().iter();
    let mut subjects: Vec<&str> =
        endpoints.map(|endpoint| endpoint["subject"].as_str().unwrap()).collect();
    subjects.sort_unstable();
    let names = ["add", "interval", "list", "pause", "poll", "resume", "timeout"];
    assert_eq!(subjects, names.map(|name| format!("sealwire.polling.{name}")));

    // Reading needs no token, and comes in pages.
    let list = |query| ask(&site, "sealwire.polling.list", &query, None).1;
    let first = list(json!({ "limit": 1 }));
    assert_eq!((&first["found"], first["sensors"].as_array().unwrap().len()), (&json!(2), 1));
    let second = list(json!({ "limit": 1, "cursor": first["next"] }));
    assert_ne!(first["sensors"][0]["id"], second["sensors"][0]["id"]);

    // Polled now.
    let order =
        |name: &str, request: Value| ask(&site, &format!("sealwire.polling.{name}"), &request, ops);
    let (code, reading) = order("poll", json!({ "sensor": id }));
    assert_eq!((code, &reading["status"]), (0, &json!("SUCCESS")), "{reading}");
    let sealed = site.wait_for_event("SENSOR_READING", |it| {
        it["sealwire"]["poll"] == reading["poll"] && it["sealwire"]["sensor"] == id.as_str()
    });
    assert_eq!(sealed["leaf"], reading["leaf"]);
    assert_eq!(sealed["envelope"]["event"]["new"], reading["value"]);
    let ordered =
        site.wait_for_event("POLL_ORDERED", |it| it["sealwire"]["poll"] == reading["poll"]);
    assert_eq!(ordered["envelope"]["event"]["actor"], "token ops");

    // What is wrong is said.
    let pause = json!({ "sensor": id, "reason": "the pump is cleaned" });
    for (name, request, sent, code, words) in [
        ("poll", json!({ "sensor": NOBODY }), ops, 404, "no sensor 00000000"),
        ("poll", json!({ "sensor": "7" }), ops, 400, "not understood"),
        ("poll", json!(7), ops, 400, "not understood"),
        ("pause", json!({ "sensor": id }), ops, 400, "missing field `reason`"),
        (
            "interval",
            json!({ "sensor": id, "poll_interval": 99, "reason": "a test" }),
            ops,
            400,
            "99 ms is not allowed: use 100 to",
        ),
        (
            "timeout",
            json!({ "sensor": id, "answer_timeout": 9, "reason": "a test" }),
            ops,
            400,
            "9 ms for an answer is not allowed: use 10 to 60000 ms",
        ),
        ("resume", pause.clone(), ops, 409, "are not paused"),
        ("pause", pause.clone(), None, 401, "--scope operate"),
        ("pause", pause.clone(), Some("pts_wrong"), 401, "--scope operate"),
        ("pause", pause.clone(), Some(reader.as_str()), 403, "may not operate"),
        ("list", json!({ "limit": "all" }), None, 400, "not understood"),
    ] {
        let (found, said) = ask(&site, &format!("sealwire.polling.{name}"), &request, sent);
        let said = said.as_str().unwrap().to_owned();
        assert!(found == code && said.contains(words), "{name} {request}: {found} {said}");
    }
    let (_, stats) = ask(&site, "$SRV.STATS.polling", &json!(null), None);
    let endpoints = stats["endpoints"].as_array().unwrap();
    let polls = endpoints.iter().find(|endpoint| endpoint["name"] == "poll").unwrap();
    assert_eq!((&polls["num_requests"], &polls["num_errors"]), (&json!(4), &json!(3)), "{stats}");

    // The interval, and a pause that is shown openly.
    let request = json!({ "sensor": id, "poll_interval": 60_000, "reason": "less is enough" });
    let (code, done) = order("interval", request);
    assert_eq!(code, 0, "{done}");
    let set = site.wait_for_event("POLL_INTERVAL_SET", |_| true);
    assert_eq!(
        (&set["leaf"], &set["envelope"]["event"]["actor"]),
        (&done["leaf"], &json!("token ops"))
    );
    assert_eq!(sensor(&site, &id)["poll_interval_ms"], 60_000);
    let request = json!({ "sensor": id, "answer_timeout": 5_000, "reason": "a mesh" });
    assert_eq!(order("timeout", request).0, 0);
    let set = site.wait_for_event("ANSWER_TIMEOUT_SET", |_| true);
    let (event, own) = (&set["envelope"]["event"], &set["envelope"]["sealwire"]);
    assert_eq!((&event["actor"], &own["why"]), (&json!("token ops"), &json!("a mesh")));
    assert_eq!(own["order"], r#"{"order":"answer-timeout","answer_timeout":5000}"#);
    let has_time = |site: &Site| {
        let shown = sensor(site, &id);
        let mut orders = shown["orders"].as_array().unwrap().iter();
        orders.any(|it| it["order"] == "answer-timeout" && it["answer_timeout"] == 5_000)
    };
    assert!(has_time(&site));
    assert_eq!(order("pause", pause.clone()).0, 0);
    assert_eq!(order("pause", pause.clone()).0, 409);
    let shown = sensor(&site, &id);
    assert_eq!(shown["paused"], true);
    let paused = shown["orders"].as_array().unwrap().iter().find(|it| it["order"] == "pause");
    assert_eq!(paused.unwrap()["by"], "token ops");
    let metrics = site.get_log("/metrics", "localhost").1;
    assert!(metrics.contains("sealwire_sensors_paused 1\n"), "{metrics}");
    let (code, reading) = order("poll", json!({ "sensor": id, "reason": "is it clean?" }));
    assert_eq!(
        (code, &reading["status"]),
        (0, &json!("SUCCESS")),
        "a pause does not stop an order"
    );

    // Nobody reaches the service without a certificate, and the certificate ends with the run.
    let mut without = variables(&site);
    without.remove("NATS_CERT");
    assert!(!client(&without, &["$SRV.PING", ""]).status.success());
    site.stop();
    assert!(!site.data_dir().join("operator").exists());

    // Orders hold over a restart. Over HTTP they need the same token, on loopback too.
    site.start_again();
    assert_eq!(sensor(&site, &id)["paused"], true);
    assert!(has_time(&site));
    let http = |name: &str, request: &Value, sent: Option<&str>| {
        let url = format!("{}/api/polling/{name}", site.addresses.http);
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder().http_status_as_error(false).build(),
        );
        let mut post = agent.post(&url);
        if let Some(token) = sent {
            post = post.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = post.send(request.to_string()).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str::<Value>(&body).unwrap())
    };
    assert_eq!(http("resume", &pause, None).0, 401);
    assert_eq!(http("resume", &pause, Some(&reader)).0, 403);
    assert_eq!(http("stop", &pause, ops).0, 404);
    let (status, done) = http("resume", &pause, ops);
    assert_eq!(status, 200, "{done}");
    assert_eq!(sensor(&site, &id)["paused"], false);

    // As commands, which the kernel names the account of.
    let data_dir = site.data_dir();
    let reading = command(&data_dir, &["poll", &id]);
    assert_eq!(reading["status"], "SUCCESS", "{reading}");
    let own = access::Account::own();
    site.wait_for_event("POLL_ORDERED", |it| it["event"]["actor"] == own.name());
    let signed = ["--reason", "a test", "--actor", "ada"];
    command(&data_dir, &[&["interval", id.as_str()], signed.as_slice()].concat());
    command(&data_dir, &[&["timeout", id.as_str()], signed.as_slice()].concat());
    until("the time is the sensor's own again", || (!has_time(&site)).then_some(()));
    command(&data_dir, &[&["pause", id.as_str()], signed.as_slice()].concat());
    let added =
        ["expect", "Pump 7", "--id", ADDED, "--every", "200ms", "--poll-topic", "pump/7/poll"];
    let added = [&added, ["--read-topic", "pump/7/read"].as_slice(), &signed].concat();
    command(&data_dir, &added);
    let (code, _, said) = sealwire(
        &[&["sensor", "--data-dir", data_dir.to_str().unwrap()], added.as_slice()].concat(),
    );
    assert!(code == Some(1) && said.contains("already has the sensor"), "{said}");
    let asked = site.wait_for_event("SENSOR_READING", |it| it["sealwire"]["sensor"] == ADDED);
    assert_eq!(asked["envelope"]["event"]["status"], "COMM_ERROR", "nobody answers there");
    assert_eq!(sensor(&site, ADDED)["state"], "expected");
    let listed = until("the index has the orders", || {
        let listed = command(&data_dir, &["polls"]);
        let of =
            |id: &str| listed.as_array().unwrap().iter().find(|it| it["sensor"] == id).cloned();
        of(&id).zip(of(ADDED)).filter(|(paused, _)| paused["paused"]["by"].is_string())
    });
    assert_eq!(listed.0["interval_ordered"], false);
    assert_eq!((&listed.1["state"], &listed.1["poll_interval"]), (&json!("expected"), &json!(200)));

    // What was not asked is not missed.
    site.stop();
    let (code, said) = verify(&format!("{}", data_dir.display()));
    assert_eq!(code, Some(0), "{said}");
    let (code, printed, said) = sealwire(&["verify", "--completeness", data_dir.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{printed}{said}");
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains("NOT ASKED")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains(&id)), "{printed}");
    assert!(lines[0].contains("to leaf") && lines[1].contains("since leaf"), "{printed}");
    let (code, _, said) =
        sealwire(&["sensor", "--data-dir", data_dir.to_str().unwrap(), "poll", &id]);
    assert!(code == Some(1) && said.contains("only a running site"), "{said}");
}

/// A command of NATS' own tools, with what the operator's file `env` sets.
#[track_caller]
fn nats(cli: &OsStr, site: &Site, words: &[&str]) -> String {
    let mut command = Command::new(cli);
    // Whatever this account has chosen for itself does not count.
    let home = site.data_dir().with_file_name("home");
    command.args(words).arg("--timeout=60s").envs(variables(site));
    let output = command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nats_own_tools_list_the_service_and_give_each_order() {
    let Some(cli) = std::env::var_os("NATS_CLI") else {
        eprintln!("skipped: NATS_CLI names no `nats`; `cargo xtask test` builds it where Go is");
        return;
    };
    let mut site = Site::start(&["--simulate", "1"]);
    Follower::start(&site).wait_for_more("SENSOR_READING", 1);
    let id = site.sensors()[0]["id"].as_str().unwrap().to_owned();
    let authorization = format!("Authorization:Bearer {}", token(&site, "ops", "operate"));

    let listed = nats(&cli, &site, &["micro", "ls", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["name"], "polling", "{listed}");
    let info = nats(&cli, &site, &["micro", "info", "polling"]);
    for order in ["add", "interval", "list", "pause", "poll", "resume"] {
        assert!(info.contains(&format!("sealwire.polling.{order}")), "{info}");
    }
    // Each answer is one line of JSON, without an error.
    let ask = |order: &str, request: Value| -> Value {
        let (subject, request) = (format!("sealwire.polling.{order}"), request.to_string());
        let words =
            ["request", "--raw", "--no-templates", "-H", &authorization, &subject, &request];
        serde_json::from_str(&nats(&cli, &site, &words)).unwrap()
    };
    assert_eq!(ask("list", json!({}))["sensors"][0]["id"], id.as_str());
    let why = |more: Value| {
        let mut request = json!({ "sensor": id, "reason": "a test" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    ask("pause", why(json!({})));
    assert_eq!(sensor(&site, &id)["paused"], true);
    assert_eq!(ask("poll", why(json!({})))["status"], "SUCCESS");
    ask("interval", why(json!({ "poll_interval": 60_000 })));
    assert_eq!(sensor(&site, &id)["poll_interval_ms"], 60_000);
    ask("resume", why(json!({})));
    assert_eq!(sensor(&site, &id)["paused"], false);
    let pump = json!({
        "alias": "Pump 7", "id": ADDED, "poll_interval": 200, "poll_topic": "pump/7/poll",
        "read_topic": "pump/7/read",
    });
    ask("add", json!({ "sensor": pump, "reason": "a test" }));
    assert_eq!(sensor(&site, ADDED)["state"], "expected");
    let stats = nats(&cli, &site, &["micro", "stats", "polling"]);
    assert!(stats.contains("polling"), "{stats}");
    site.stop();
}
