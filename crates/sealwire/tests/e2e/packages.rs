//! What runs a site elsewhere: the units for systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A folder of the project.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

#[test]
fn units_are_as_systemd_reads_them() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no systemd-analyze");
    }
    let copies = TempDir::new().unwrap();
    let mut units = 0;
    for unit in fs::read_dir(folder("deploy/systemd")).unwrap() {
        let path = unit.unwrap().path();
        // The program of a unit must exist.
        let text = fs::read_to_string(&path).unwrap();
        let program = env!("CARGO_BIN_EXE_sealwire");
        assert!(text.contains("/usr/local/bin/sealwire "), "{}", path.display());
        let copy = copies.path().join(path.file_name().unwrap());
        fs::write(&copy, text.replace("/usr/local/bin/sealwire ", &format!("{program} "))).unwrap();
        let said = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
        let said = said.unwrap();
        let words = String::from_utf8_lossy(&said.stderr).into_owned();
        // It also names faults of other units of this machine.
        let name = copy.file_name().unwrap().to_str().unwrap();
        let own: Vec<&str> = words.lines().filter(|line| line.contains(name)).collect();
        assert!(own.is_empty() && said.status.success(), "{words}");
        units += 1;
    }
    assert!(units > 0);
}
