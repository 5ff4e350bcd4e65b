//! Evidence of a running site: it is exported, proved and compared with an older checkpoint, and
//! every change of it is named.

use std::{fs, path::Path};

use model::action;
use tempfile::TempDir;

use crate::site::{Follower, Site, sealwire, succeeds, until};

/// Runs a command that fails, and returns everything that it printed.
#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let (code, printed, said) = sealwire(arguments);
    assert_eq!(code, Some(1), "{arguments:?}: {printed}{said}");
    printed + &said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_a_running_site_exports_is_proved_elsewhere() {
    let mut site = Site::start(&["--simulate", "40"]);
    let follower = Follower::start(&site);
    follower.wait_for_more(action::SENSOR_READING, 100);
    let folder = TempDir::new().unwrap();
    let [old, bundle, tampered, proof] =
        ["old.checkpoint", "all.evidence", "tampered.evidence", "leaf.tlog-proof"]
            .map(|name| folder.path().join(name));
    let data_dir = site.data_dir();
    let (data_dir, vkey, log) =
        (text(&data_dir), site.addresses.vkey.clone(), site.addresses.log.clone());

    fs::write(&old, site.get_log("/checkpoint", "localhost").1).unwrap();
    follower.wait_for_more(action::SENSOR_READING, 100);

    // The log of the running site has only grown, seen from outside and in its folder.
    for place in [log.as_str(), data_dir] {
        let printed = succeeds(&["verify", place, "--since", text(&old), "--vkey", &vkey]);
        assert!(printed.contains("extends the older one"), "{printed}");
    }

    // A bundle of all events, the same with one row changed, and a bundle of one sensor.
    succeeds(&["export", "--data-dir", data_dir, "--output", text(&bundle)]);
    let printed = succeeds(&["verify", "bundle", text(&bundle), "--vkey", &vkey]);
    assert!(printed.contains("the bundle verifies"), "{printed}");
    let rows = fs::read_to_string(&bundle).unwrap();
    let row = rows.lines().find(|line| line.contains("SENSOR_READING")).unwrap();
    let leaf = row.strip_prefix(r#"{"row":{"leaf":"#).unwrap().split_once(',').unwrap().0;
    let changed = row.replace("SENSOR_READING", "SENSOR_READINGS");
    fs::write(&tampered, rows.replace(row, &changed)).unwrap();
    let said = fails(&["verify", "bundle", text(&tampered)]);
    assert!(said.contains(&format!("FAILED  leaf {leaf} is changed")), "{said}");
    assert!(said.contains("it has 1 faults") && said.contains("compare it with"), "{said}");
    fs::write(&tampered, rows.replace(&format!("{row}\n"), "")).unwrap();
    let said = fails(&["verify", "bundle", text(&tampered)]);
    assert!(said.contains(&format!("FAILED  leaf {leaf} is missing")), "{said}");

    let sensor = site.sensors().remove(0)["id"].as_str().unwrap().to_owned();
    let of_one = ["export", "--data-dir", data_dir, "--sensor", &sensor, "--output", text(&bundle)];
    succeeds(&[of_one.as_slice(), &["--from", "leaf:1", "--to", "2100-01-01T00:00:00Z"]].concat());
    let printed = succeeds(&["verify", "bundle", text(&bundle)]);
    assert!(printed.contains(&format!("only events of the sensor {sensor}")), "{printed}");
    assert!(printed.contains("1 sensors: all"), "{printed}");

    // Which log: `verify` prints its id, and a command that is for another log does nothing.
    let printed = succeeds(&["verify", &log]);
    let id = printed.split("the log's id is ").nth(1).unwrap().split_whitespace().next().unwrap();
    let unwritten = folder.path().join("unwritten");
    let prove = ["prove", "0", "--data-dir", data_dir, "--output", text(&unwritten), "--log"];
    let hold = ["log", "--data-dir", data_dir, "hold", "--reason", "a test", "--log"];
    let other = "0".repeat(id.len());
    for command in [&prove[..], &hold[..]] {
        let said = fails(&[command, &[&other]].concat());
        assert!(said.contains(&format!("log here is {id}")), "{said}");
    }
    assert!(!unwritten.exists());
    succeeds(&[&prove[..], &[id]].concat());
    fs::remove_file(&unwritten).unwrap();
    // By both addresses of the log.
    for address in [format!("{log}/logs/{id}"), format!("{}/logs/{id}", site.addresses.http)] {
        succeeds(&["verify", &address, "--vkey", &vkey]);
    }

    // One leaf.
    succeeds(&["prove", leaf, "--data-dir", data_dir, "--output", text(&proof)]);
    let printed = succeeds(&["verify", "proof", text(&proof), "--vkey", &vkey]);
    assert!(
        printed.contains("SENSOR_READING") && printed.contains("the proof verifies"),
        "{printed}"
    );
    fs::write(&tampered, changed).unwrap();
    let said =
        fails(&["verify", "proof", text(&proof), "--envelope", text(&tampered), "--vkey", &vkey]);
    assert!(said.contains("does not lead to its checkpoint"), "{said}");

    // An erased envelope is not missing: the log records the erasure, and so does the bundle.
    let [by, reason] = [["--actor", "ada"], ["--reason", "asked for by letter"]];
    succeeds(&[&["log", "erase", leaf, "--data-dir", data_dir], &by[..], &reason[..]].concat());
    let all = until("a checkpoint covers the order", || {
        let (code, ..) = sealwire(&["export", "--data-dir", data_dir, "--output", text(&bundle)]);
        (code == Some(0)).then(|| fs::read_to_string(&bundle).unwrap())
    });
    assert!(all.contains(&format!(r#"{{"erased":{leaf}}}"#)), "leaf {leaf}");
    let printed = succeeds(&["verify", "bundle", text(&bundle), "--vkey", &vkey]);
    assert!(printed.contains("1 rows are in the log; their envelopes were erased"), "{printed}");

    // A failed export leaves the existing file.
    let before = fs::read(&bundle).unwrap();
    let said = fails(&[of_one.as_slice(), &["--from", "leaf:999999999"]].concat());
    assert!(said.contains("no checkpoint covers leaf 999999999 yet"), "{said}");
    assert_eq!(fs::read(&bundle).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing else was left");

    // Another site has a different history.
    site.stop();
    let other = Site::start(&[]);
    let said = fails(&["verify", &other.addresses.log, "--since", text(&old)]);
    assert!(said.contains("the older checkpoint does not verify"), "{said}");
    succeeds(&["verify", data_dir, "--since", text(&old)]);
}
