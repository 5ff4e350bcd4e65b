//! More comes than the index can take: the site polls less, and says so.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    pangea::python,
    site::{Follower, Site, port, until},
};

/// Holds the index's file for writing until its standard input ends.
const HOLD: &str = "
import sqlite3, sys
index = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
index.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
";

#[test]
fn a_site_whose_index_stands_still_polls_less_and_says_so() {
    let mut site = Site::start(&["--simulate", "40"]);
    let follower = Follower::start(&site);
    let shortest = || site.get("/api/site").1["shortest_interval_ms"].clone();
    assert_eq!(shortest(), Value::Null);
    let holding = hold(&site);
    let interval = until("polls are slowed", || shortest().as_u64());
    assert!(interval > 2_000, "{interval} ms is what the fastest ask for");
    until("the log says so", || {
        let is_said = |envelope: &Value| envelope["event"]["action"] == "POLLS_STRETCHED";
        follower.seen().iter().any(|(_, envelope)| is_said(envelope)).then_some(())
    });
    let host = format!("localhost:{}", port(&site.addresses.log));
    let metrics = site.get_log("/metrics", &host).1;
    let line = "sealwire_shortest_poll_interval_seconds ";
    let shown = metrics.lines().find_map(|shown| shown.strip_prefix(line)).unwrap();
    assert!(shown.parse::<f64>().unwrap() > 2.0, "{shown}");
    // Sealing goes on meanwhile.
    follower.wait_for_more_values(1);
    release(holding);
    until("every sensor is polled as it asks", || shortest().is_null().then_some(()));
    site.stop();
}

fn hold(site: &Site) -> Child {
    let mut holding = Command::new(python())
        .args(["-c", HOLD])
        .arg(site.data_dir().join("index.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holding.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    holding
}

fn release(mut holding: Child) {
    drop(holding.stdin.take());
    assert!(holding.wait().unwrap().success());
}
