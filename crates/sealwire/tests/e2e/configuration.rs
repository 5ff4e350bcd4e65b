//! The configuration file, as a person meets it.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

/// Runs a command in a folder, with a variable: its exit code, and all that it printed.
fn run(folder: &Path, variable: (&str, &str), arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    let command = command.current_dir(folder).env(variable.0, variable.1).args(arguments);
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
    let folder = TempDir::new().unwrap();
    let (folder, variable) = (folder.path(), ("SEALWIRE_LOG_PORT", "2002"));
    let show = |arguments: &[&str]| -> Value {
        let words = [&["config", "show", "--json"], arguments].concat();
        let (code, printed) = run(folder, variable, &words);
        assert_eq!(code, Some(0), "{printed}");
        serde_json::from_str(&printed).unwrap()
    };
    let shown = show(&[]);
    assert_eq!(shown["http-port"]["value"], "8080");
    assert_eq!(shown["http-port"]["source"], "default");

    let ports = "http-port = 1001\nlog-port = 1002\nnats-port = 1003\n";
    fs::write(folder.join("sealwire.toml"), ports).unwrap();
    let shown = show(&["--nats-port", "3003"]);
    for (key, value, source) in [
        ("http-port", "1001", "sealwire.toml:1"),
        ("log-port", "2002", "SEALWIRE_LOG_PORT"),
        ("nats-port", "3003", "flag"),
        ("mqtt-port", "1883", "default"),
    ] {
        assert_eq!((&shown[key]["value"], &shown[key]["source"]), (&value.into(), &source.into()));
    }

    fs::rename(folder.join("sealwire.toml"), folder.join("other.toml")).unwrap();
    assert_eq!(show(&[])["http-port"]["value"], "8080");
    let shown = show(&["--config", "other.toml"]);
    assert_eq!(shown["http-port"]["source"], "other.toml:1");
}

#[test]
fn a_wrong_file_is_explained_and_nothing_starts_with_it() {
    let folder = TempDir::new().unwrap();
    let (folder, variable) = (folder.path(), ("LANG", "C"));
    let check = || run(folder, variable, &["config", "check"]);
    assert_eq!(check().0, Some(0), "no file is no fault");
    let file = folder.join("sealwire.toml");
    fs::write(&file, "lost-after = 300\n").unwrap();
    assert_eq!(check(), (Some(0), String::from("sealwire.toml is valid\n")));

    fs::write(&file, "lost-after = 300\nlog_port = 1\nhttp-port = 70000\n").unwrap();
    let faults = [
        "sealwire.toml:2: there is no setting `log_port`; did you mean `log-port`?",
        "sealwire.toml:3: `http-port`: 70000 is not in 0..=65535",
    ];
    for (command, code) in [
        (&["config", "check"][..], 1),
        (&["config", "show"], 1),
        (&["up"], 1),
        (&["doctor"], 1),
        // This one has no setting of a site.
        (&["witness", "--help"], 0),
    ] {
        let (exit, printed) = run(folder, variable, command);
        assert_eq!(exit, Some(code), "{command:?}: {printed}");
        let is_said = |fault: &&str| printed.contains(*fault);
        assert_eq!(faults.iter().all(is_said), code == 1, "{command:?}: {printed}");
    }
    let missing = run(folder, variable, &["up", "--config", "nowhere.toml"]);
    assert!(missing.0 == Some(1) && missing.1.contains("nowhere.toml"), "{missing:?}");
    assert!(!folder.join("sealwire-data").exists(), "something started");
}
