//! Forty simulated sensors, from heartbeat to proof.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;
use tlog::{Hash, TlogProof, VerifierKey, leaf_hash};

use crate::{
    house,
    site::{Follower, Site, until, verify},
};

#[test]
fn forty_sensors_are_read_sealed_and_proved() {
    let mut site = Site::start(&["--simulate", "40"]);
    let follower = Follower::start(&site);
    let sensors = until("forty sensors have a reading", || {
        let sensors = site.sensors();
        let all_read = sensors.iter().all(|sensor| !sensor["last"].is_null());
        (sensors.len() == 40 && all_read).then_some(sensors)
    });
    assert!(sensors.iter().all(|sensor| sensor["state"] == "online"));

    readings_come_through_the_gateway(&site, &sensors);
    searches_page_through_a_log_that_grows(&site);
    proofs_lead_to_the_sites_checkpoint(&site);
    refusals_are_problems(&site);
    the_log_port_answers_this_machine_alone(&site);
    every_lag_and_time_is_told(&site);
    match std::env::var_os("PROMTOOL") {
        Some(promtool) => prometheus_finds_no_fault(&site, &promtool),
        None => eprintln!("skipped: PROMTOOL names no promtool that could check the metrics"),
    }

    let (code, printed) = verify(&site.addresses.log);
    assert_eq!(code, Some(0), "{printed}");
    site.stop();
    let (code, printed) = verify(site.data_dir().to_str().unwrap());
    assert_eq!(code, Some(0), "{printed}");

    let kept = house::open(&site.data_dir());
    kept.assert_holds(&follower.seen());
    kept.assert_answers_are_there_once();
    kept.assert_derived_is_what_follows();
    one_changed_byte_is_named(&site);
}

fn readings_come_through_the_gateway(site: &Site, sensors: &[Value]) {
    let id = sensors.first().unwrap()["id"].as_str().unwrap();
    let (status, answer) = until("a sensor has three readings", || {
        let answer = site.get(&format!("/api/sensors/{id}/readings?limit=3"));
        (answer.1["readings"].as_array()?.len() == 3).then_some(answer)
    });
    assert_eq!((status, &answer["sensor"]), (200, &Value::from(id)));
    let leaves: Vec<u64> = answer["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reading| reading["leaf"].as_u64().unwrap())
        .collect();
    assert!(leaves.is_sorted(), "{leaves:?}");
    let first = &answer["readings"][0]["timestamp"];
    let later = format!("/api/sensors/{id}/readings?from={}&limit=1", first.as_str().unwrap());
    assert_eq!(site.get(&later).1["truncated"], true, "more than one from the first on");
}

fn searches_page_through_a_log_that_grows(site: &Site) {
    let (status, first) = site.post("/api/logs", r#"{"action":"SENSOR_DISCOVERED","limit":25}"#);
    assert_eq!((status, &first["count"]), (200, &Value::from(40)));
    let id = first["id"].as_str().unwrap();
    let (_, second) =
        site.post("/api/results", &format!(r#"{{"id":"{id}","offset":25,"limit":25}}"#));
    let leaves = |page: &Value| {
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["leaf"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let (first, second) = (leaves(&first), leaves(&second));
    assert_eq!((first.len(), second.len()), (25, 15));
    assert_eq!(first.iter().chain(&second).collect::<BTreeSet<_>>().len(), 40, "every one once");
}

fn proofs_lead_to_the_sites_checkpoint(site: &Site) {
    let vkey = VerifierKey::parse(&site.addresses.vkey).unwrap();
    let newest = site.events("SENSOR_READING").first().unwrap()["leaf"].as_u64().unwrap();
    for leaf in [0, 1, newest] {
        let (status, answer) = site.get(&format!("/api/proof/{leaf}"));
        assert_eq!(status, 200);
        let commitment = Hash::sha256(answer["envelope"].as_str().unwrap().as_bytes());
        let proof = TlogProof::parse(answer["proof"].as_str().unwrap()).unwrap();
        assert_eq!(proof.index.get(), leaf);
        proof.verify(&leaf_hash(commitment.as_bytes()), &vkey).unwrap();
    }
}

fn refusals_are_problems(site: &Site) {
    for (answer, status, words) in [
        (site.get("/api/proof/99999999"), 404, "there is no leaf 99999999"),
        (site.get("/api/sensors/7/readings"), 400, "UUID"),
        (
            site.get("/api/sensors/00000000-0000-0000-0000-000000000000/readings"),
            404,
            "there is no sensor",
        ),
        (site.post("/api/logs", "{"), 400, "EOF"),
        (site.post("/api/results", r#"{"id":"nonsense"}"#), 400, "`id`"),
        (site.get("/api/results"), 405, "use POST"),
    ] {
        assert_eq!(answer.0, status, "{words}");
        assert!(answer.1["detail"].as_str().unwrap().contains(words), "{answer:?}");
    }
}

fn the_log_port_answers_this_machine_alone(site: &Site) {
    let port = site.addresses.log.rsplit_once(':').unwrap().1;
    for (host, path, status, words) in [
        (format!("localhost:{port}"), "/vkey", 200, site.addresses.vkey.as_str()),
        (format!("localhost:{port}"), "/metrics", 200, "sealwire_answers_total"),
        (format!("localhost:{port}"), "/checkpoint", 200, "sealwire.local/site\n"),
        (format!("localhost:{port}"), "/tile/0/999", 404, "no such tile"),
        (format!("localhost:{port}"), "/tile/64/000", 404, "tile"),
        (format!("localhost:{port}"), "/live?from=first", 400, "`from` must be a leaf"),
        (format!("localhost:{port}"), "/nothing", 404, "/checkpoint"),
        (String::from("sealwire.example"), "/checkpoint", 421, "localhost"), // a page elsewhere under a name that leads here
    ] {
        let answer = site.get_log(path, &host);
        assert_eq!(answer.0, status, "{host}{path}: {}", answer.1);
        assert!(answer.1.contains(words), "{host}{path}: {}", answer.1);
    }
}

fn metrics(site: &Site) -> String {
    let name = format!("localhost:{}", site.addresses.log.rsplit_once(':').unwrap().1);
    site.get_log("/metrics", &name).1
}

fn every_lag_and_time_is_told(site: &Site) {
    for told in [
        r#"sealwire_cursor_lag_seconds{cursor="index"}"#,
        r#"sealwire_cursor_lag_leaves{cursor="pipeline"}"#,
        r#"sealwire_cursor_leaves{cursor="checkpoint"}"#,
        "sealwire_seal_seconds_count",
        "sealwire_found_seconds_count",
        "sealwire_verdict_seconds_count",
        "sealwire_commit_seconds_count",
    ] {
        until(&format!("{told} is told"), || {
            let text = metrics(site);
            let value = text.lines().find_map(|line| line.strip_prefix(told)?.trim().parse().ok());
            value.filter(|value: &f64| *value > 0.0 || told.contains("lag")).map(drop)
        });
    }
}

fn prometheus_finds_no_fault(site: &Site, promtool: &OsStr) {
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(metrics(site).as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let faults = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && faults.is_empty(), "{faults}");
}

fn one_changed_byte_is_named(site: &Site) {
    let segment = site.data_dir().join("ledger/segments/00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (code, printed) = verify(site.data_dir().to_str().unwrap());
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("FAILED  leaf ") && printed.contains(segment.to_str().unwrap()),
        "{printed}"
    );
}
