//! Somebody who wants to keep the operator from giving orders, or to give some themselves.

use std::{fs, net::TcpStream, os::unix::net::UnixStream};

use serde_json::Value;

use crate::{
    flood::allow_at_least,
    site::{Site, port, sealwire},
};

/// More connections than any port accepts at once.
const IDLE: usize = 1_100;

#[test]
fn nobody_on_a_port_keeps_the_operator_out() {
    /// Connections that nobody uses, and files that this process has besides.
    const FILES: usize = 2 * IDLE + 1_024;
    allow_at_least(FILES as u64);
    let site = Site::start(&["--simulate", "2"]);
    // No file holds a secret that would allow giving orders.
    let run: Value =
        serde_json::from_slice(&fs::read(site.data_dir().join("run.json")).unwrap()).unwrap();
    assert!(run.get("operator_token").is_none(), "{run}");

    let ports = [&site.addresses.log, &site.addresses.http].map(|url| port(url));
    let idle: Vec<TcpStream> = (0..IDLE)
        .flat_map(|_| ports.map(|port| TcpStream::connect(("127.0.0.1", port)).unwrap()))
        .collect();
    let socket = site.data_dir().join("orders.sock");
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let data_dir = site.data_dir();
    // With somebody else's name.
    let (code, printed, errors) = sealwire(&[
        "log",
        "--json",
        "--data-dir",
        data_dir.to_str().unwrap(),
        "hold",
        "--to",
        "9000-01-01T00:00:00Z",
        "--reason",
        "a lawsuit",
        "--actor",
        "the auditor",
    ]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains(r#""done":"hold""#), "{printed}");
    drop((idle, silent));
}
