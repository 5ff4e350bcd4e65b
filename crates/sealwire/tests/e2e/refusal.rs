//! If a site cannot start, one error says why, and nothing is damaged.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use tempfile::TempDir;

use crate::site::{Site, verify};

const PORT_FLAGS: [(&str, &str); 4] = [
    ("--http-port", "the page"),
    ("--log-port", "the log"),
    ("--nats-port", "NATS"),
    ("--mqtt-port", "MQTT"),
];

/// Runs `sealwire up`, which must fail, and returns its only error. Ports are free ones, except
/// those that are named.
#[track_caller]
pub(crate) fn refused(
    data_dir: &Path,
    ports: &[(&str, u16)],
    environment: &[(&str, &Path)],
) -> String {
    let port_of =
        |flag| ports.iter().find(|(named, _)| *named == flag).map_or(0, |(_, port)| *port);
    let output = Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .arg("up")
        .arg("--data-dir")
        .arg(data_dir)
        .args(PORT_FLAGS.map(|(flag, _)| format!("{flag}={}", port_of(flag))))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors.as_slice() else { panic!("not one error: {said}") };
    (*error).to_owned()
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (flag, what) in PORT_FLAGS {
        let said = refused(&folder.path().join("data"), &[(flag, port)], &[]);
        let expected = format!(
            "port {port} for {what} is in use: stop the program that uses it, or choose another port with {flag} (0 picks a free one)"
        );
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn too_few_open_files_are_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 1024 && exec \"$0\" up --data-dir \"$1\""])
        .args([Path::new(env!("CARGO_BIN_EXE_sealwire")), folder.path()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let files = site::FILES_MAX;
    assert!(said.contains(&format!("may open only 1024 files, but needs {files} ")), "{said}");
    assert!(said.contains(&format!("LimitNOFILE={files}")), "{said}");
}

#[test]
fn a_folder_in_use_or_of_another_version_is_left_alone() {
    let mut site = Site::start(&[]);
    let said = refused(&site.data_dir(), &[], &[]);
    assert!(said.contains("another sealwire is using the data directory"), "{said}");
    site.stop();
    fs::write(site.data_dir().join("site.json"), r#"{"version":7,"name":"site"}"#).unwrap();
    let said = refused(&site.data_dir(), &[], &[]);
    assert!(said.contains("has version 7"), "{said}");
    assert_eq!(verify(site.data_dir().to_str().unwrap()).0, Some(0));
}

#[test]
fn an_engine_that_is_missing_or_too_old_is_named() {
    let folder = TempDir::new().unwrap();
    let said =
        refused(&folder.path().join("data"), &[], &[("SEALWIRE_WASH", Path::new("/nowhere/wash"))]);
    assert!(said.contains("SEALWIRE_WASH names /nowhere/wash, which does not run"), "{said}");
    let old = folder.path().join("nats-server");
    fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.0\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let said = refused(&folder.path().join("data"), &[], &[("SEALWIRE_NATS_SERVER", &old)]);
    assert!(said.contains("which has version 2.9.0: use 2.14.0 or newer"), "{said}");
    fs::write(&old, "#!/bin/sh\necho nats-server: v2.15.1\n").unwrap();
    let said = refused(&folder.path().join("data"), &[], &[("SEALWIRE_NATS_SERVER", &old)]);
    assert!(said.contains("which is a script, and the sandbox would keep it from"), "{said}");
}
