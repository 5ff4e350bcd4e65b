//! What runs a site elsewhere: the units for systemd.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
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

#[test]
fn a_credential_of_a_service_is_its_own_and_other_files_are_as_private_as_they_look() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("host.json");
    fs::write(&file, "{}").unwrap();
    let said = |mode: u32, credentials: &Path| {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command.args(["host", "run"]).arg(&file).env("CREDENTIALS_DIRECTORY", credentials);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    // systemd puts the service's account on the file's access list, and its mode shows that.
    assert!(said(0o440, folder.path()).contains("is no host's file"));
    for (mode, credentials) in [(0o440, Path::new("/elsewhere")), (0o444, folder.path())] {
        assert!(said(mode, credentials).contains("other accounts may read"), "{mode:o}");
    }
}
