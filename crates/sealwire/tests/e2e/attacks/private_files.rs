//! Another account on the machine looks for what it can read, change or lock.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::site::{Follower, Site, succeeds};

/// Starts the following command with a umask.
fn under(mask: &str) -> [String; 4] {
    ["sh", "-c", &format!("umask {mask}; exec \"$@\""), "sh"].map(str::to_owned)
}

/// Everything in a folder, and the folder itself.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next) {
        next += 1;
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            let inside = fs::read_dir(path).unwrap();
            let inside: Vec<_> = inside.map(|entry| entry.unwrap().path()).collect();
            found.extend(inside);
        }
    }
    found
}

#[track_caller]
fn assert_private(folder: &Path) {
    let mut files = 0;
    for path in all_in(folder) {
        // A temporary file may already be gone.
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        assert_eq!(found.mode() & 0o077, 0, "{} has mode {:o}", path.display(), found.mode());
        files += 1;
    }
    assert!(files > 5, "{} holds what it should", folder.display());
}

/// Another account can do nothing there. Only root can try this.
fn assert_closed_to_another_account(data_dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    const NOBODY: u32 = 65_534;
    let tries = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let status = command.args(arguments).uid(NOBODY).gid(NOBODY).status().unwrap();
        status.success()
    };
    let above = data_dir.parent().unwrap().to_str().unwrap();
    assert!(tries("ls", &[above]), "it can look at what is not closed to it");
    let (data, lock) = (data_dir.to_str().unwrap(), data_dir.join("lock"));
    let lock = lock.to_str().unwrap();
    assert!(!tries("ls", &[data]));
    assert!(!tries("flock", &["--nonblock", lock, "true"]), "it took the lock");
    assert!(!tries("flock", &["--nonblock", "--shared", lock, "true"]), "it took the lock");
}

#[test]
fn what_a_site_keeps_is_its_owners_alone_whatever_the_mask() {
    let folder = TempDir::new().unwrap();
    // The parent folder does not protect the data directory.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
    let open = under("000");
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    let mut site = Site::start_by(&open, folder, &["--simulate", "4"]);
    let data_dir = site.data_dir();
    Follower::start(&site).wait_for_more("SENSOR_READING", 4);
    let data = data_dir.to_str().unwrap();
    succeeds(&["token", "create", "--data-dir", data, "--name", "scada", "--actor", "a"]);
    assert_private(&data_dir);
    assert_closed_to_another_account(&data_dir);

    // Copies are as private as their originals.
    let (backup, restored) = (backup.to_str().unwrap(), restored.to_str().unwrap());
    for arguments in [
        ["backup", "--data-dir", data, "--with-keys", backup],
        ["backup", "--data-dir", data, "--with-keys", backup],
        ["restore", backup, "--data-dir", restored, "--vkey"],
    ] {
        let vkey = site.addresses.vkey.as_str();
        let last = arguments.last().filter(|last| **last == "--vkey").map(|_| vkey);
        let mut command = Command::new(open[0]);
        command.args(&open[1..]).arg(env!("CARGO_BIN_EXE_sealwire")).args(arguments).args(last);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    }
    assert_private(Path::new(backup));
    assert_private(Path::new(restored));
    site.stop();
    assert_private(&data_dir);

    // The next start corrects the modes that an earlier version left open, and says so.
    let secrets = ["site.key", "access-token"].map(|secret| data_dir.join(secret));
    for path in all_in(&data_dir) {
        if !secrets.contains(&path) {
            let found = fs::metadata(&path).unwrap();
            let mode = if found.is_dir() { 0o777 } else { 0o666 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    // A umask that would also restrict the owner.
    site.launcher = under("0777").to_vec();
    site.start_again();
    assert!(site.output().contains("were open to other accounts"), "{}", site.output());
    assert_private(&data_dir);
    assert_closed_to_another_account(&data_dir);
    site.stop();
}
