//! Somebody who can open the page's port, or finds the host's behind it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::json;

use crate::{
    mqtt::{Device, heartbeat},
    pangea::Client,
    site::{Follower, Site, port},
};

/// Requests that are held at once: many times more than the host has instances, and fewer than the
/// port has connections.
const HELD: usize = 400;

#[test]
fn nobody_takes_sensor_readers_instances_and_no_answer_holds_a_secret() {
    let mut site = Site::start(&[]);
    // A device whose every second value is out of range, so that there is always something to
    // judge.
    let id = "0b5a6e0c-1111-4222-8333-944455566699";
    let mut beat = heartbeat(id, "Swinging", 200);
    beat["range"] = json!([0, 10]);
    let _device = Device::start(&site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    });
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 2);

    requests_that_never_end_reach_no_component(&site, &follower);
    whoever_hangs_up_leaves_nothing_behind(&site, &follower);
    the_host_answers_the_pages_port_alone(&site);
    no_answer_of_the_bus_holds_a_secret(&site, id);
    site.stop();
}

fn send(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port(address))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// One try, whatever the answer.
fn status_of(address: &str, request: &str) -> String {
    let mut answer = String::new();
    send(address, request).read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn requests_that_never_end_reach_no_component(site: &Site, follower: &Follower) {
    let requests = [
        "POST /api/logs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
        "POST /api/results HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        "GET /api/site HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nx",
    ];
    let requests = requests.iter().cycle().take(HELD);
    let held: Vec<_> = requests.map(|request| send(&site.addresses.http, request)).collect();
    let whole = "GET /api/site HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(status_of(&site.addresses.http, whole), "HTTP/1.1 200 OK");
    follower.wait_for_more("OUT_OF_RANGE", 3);
    drop(held);
}

fn whoever_hangs_up_leaves_nothing_behind(site: &Site, follower: &Follower) {
    for _ in 0..HELD {
        drop(send(&site.addresses.http, "GET /api/sensors HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    }
    follower.wait_for_more("OUT_OF_RANGE", 3);
    assert_eq!(site.get("/api/site").0, 200);
    let said = fs::read(site.data_dir().join("wash/wash-host.log")).unwrap();
    let said = String::from_utf8_lossy(&said);
    let starved = said.lines().find(|line| line.contains("maximum concurrent"));
    assert_eq!(starved, None, "the host had no instance left");
}

/// Anyone who runs programs on this machine can find its port, but gets nothing from it.
fn the_host_answers_the_pages_port_alone(site: &Site) {
    let host = site.engine_argument("wash", "--http-addr");
    assert_ne!(port(&host), port(&site.addresses.http));
    for name in ["localhost", "127.0.0.1", &host, "page.internal", "*", ""] {
        let request =
            format!("GET /api/site HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        let status = status_of(&host, &request);
        assert!(status.starts_with("HTTP/1.1 4"), "{name:?}: {status}");
    }
}

/// What the page port forwards came over the bus.
fn no_answer_of_the_bus_holds_a_secret(site: &Site, sensor: &str) {
    let data_dir = site.data_dir();
    let token = Client::new(site, "program", "read").token;
    let read = |name| fs::read_to_string(data_dir.join(name)).unwrap();
    let secrets = [site.access_token(), read("site.key").trim().to_owned(), token];
    assert!(secrets.iter().all(|secret| secret.len() >= 32), "these are no secrets: {secrets:?}");
    let found = site.post("/api/logs", r#"{"limit":500}"#).1;
    let next = format!(r#"{{"id":{},"limit":500}}"#, found["id"]);
    let answers = [
        site.get("/api/site").1,
        site.get("/api/sensors").1,
        site.get(&format!("/api/sensors/{sensor}/readings")).1,
        site.get(&format!("/api/sensors/{sensor}/readings?points=100")).1,
        site.get("/api/proof/0").1,
        site.post("/api/results", &next).1,
        found,
    ];
    for answer in answers {
        let answer = answer.to_string();
        assert!(answer.len() > 50, "{answer}");
        assert!(!secrets.iter().any(|secret| answer.contains(secret.as_str())), "{answer:.200}");
    }
}
