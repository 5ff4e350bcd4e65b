//! Somebody removes incriminating rows from evidence, and leaves a file without faults.

use std::{fs, path::Path};

use ledger::{Batch, Ledger};
use model::{Event, Heartbeat, Outcome, Timestamp, action};
use tempfile::TempDir;
use tlog::{Checkpoint, KeyName, Origin, Signer, TreeSize, empty_root};

use crate::site::{sealwire, succeeds};

const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";
const NAME: &str = "sealwire.local/plant";

pub(super) fn signer() -> Signer {
    Signer::from_seed(KeyName::parse(NAME).unwrap(), &[7; 32])
}

/// A folder with a log: the sensor is discovered at leaf 1, and read from leaf 2 on.
pub(super) fn folder(readings: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!(
        r#"{{"alias":"A","id":"{SENSOR}","poll_interval":1000,"poll_topic":"p","read_topic":"r","location":"Hall"}}"#
    );
    let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
    let at = Timestamp::from_unix_micros(0);
    let discovered = Event::sighting(action::SENSOR_DISCOVERED, &heartbeat, at);
    let reading = |poll| Event::reading(&heartbeat, poll, Outcome::of(b"1"), at);
    let events = [discovered].into_iter().chain((1..=readings).map(reading)).collect();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (ledger, writer) = Ledger::open(&folder.path().join("ledger"), signer()).unwrap();
        ledger.append(Batch::of(events)).await.unwrap();
        ledger.publish_checkpoint().await.unwrap();
        drop(ledger);
        writer.close().await.unwrap();
    });
    folder
}

/// Nothing is wrong, nothing is proved, and nobody can take that for "verifies".
#[track_caller]
fn shows_nothing(arguments: &[&str], words: &str) {
    let (code, printed, said) = sealwire(arguments);
    assert_eq!(code, Some(3), "{arguments:?}: {printed}{said}");
    let not_shown = printed.lines().find(|line| line.starts_with("  NOT SHOWN  "));
    assert!(not_shown.is_some_and(|line| line.contains(words)), "{printed}");
    assert!(!printed.contains(" verifies"), "{printed}");
    assert!(
        said.contains(" does not prove everything that was asked: ") && said.contains(words),
        "{said}"
    );
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_shows_nothing_does_not_hold() {
    let folder = folder(3);
    let (data_dir, bundle) = (text(folder.path()), folder.path().join("bundle"));
    let vkey = signer().vkey().to_string();
    let export = |more: &[&str]| {
        let of = ["export", "--data-dir", data_dir, "--output", text(&bundle)];
        succeeds(&[&of[..], more].concat());
    };
    let verify = ["verify", "bundle", text(&bundle), "--vkey", &vkey];

    export(&["--sensor", SENSOR]);
    let printed = succeeds(&verify);
    assert!(printed.contains("accounts for its polls 1-3"), "{printed}");
    // All rows are gone, and the end says that there are none.
    let whole = fs::read_to_string(&bundle).unwrap();
    let header = whole.lines().next().unwrap();
    let end = r#"{"end":{"groups":0,"rows":0,"erased":0}}"#;
    fs::write(&bundle, format!("{header}\n{end}\n")).unwrap();
    shows_nothing(&verify, "the bundle has no rows");
    // Only events without poll numbers are left.
    export(&["--sensor", SENSOR, "--from", "leaf:1", "--to", "leaf:2"]);
    shows_nothing(&verify, "no row has a poll number of the sensor");
    // A span without a leaf.
    export(&["--from", "leaf:2", "--to", "leaf:2"]);
    shows_nothing(&verify, "the bundle has no rows");
    // A policy that requires no witness.
    let policy = folder.path().join("policy");
    fs::write(&policy, "quorum none\n").unwrap();
    export(&[]);
    succeeds(&verify);
    shows_nothing(&[&verify[..], &["--policy", text(&policy)]].concat(), "does not require one");

    // Every log extends an empty one.
    let empty = Checkpoint::new(Origin::parse(NAME).unwrap(), TreeSize::EMPTY, empty_root());
    let old = folder.path().join("old");
    fs::write(&old, empty.sign(&signer())).unwrap();
    shows_nothing(&["verify", data_dir, "--since", text(&old)], "covers no entries");
    succeeds(&["verify", data_dir, "--completeness", "--vkey", &vkey]);
    let unread = self::folder(0);
    succeeds(&["verify", text(unread.path())]);
    shows_nothing(&["verify", text(unread.path()), "--completeness"], "no event has a poll number");
}
