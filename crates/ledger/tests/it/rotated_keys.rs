//! A replaced key proves nothing to anyone who verifies a log with a later key.
//!
//! The attacker has the old key and the log's public files. They sign a different history with
//! fewer leaves than the log had when it changed to the new key, and show the genuine rotation
//! beside it.

use std::{fs, path::Path, sync::Arc};

use durable::simulated_disk::SimulatedDisk;
use ledger::{
    Batch, Cursor, Ledger, LogReader, OpenError, OpenReaderError,
    disk::RealDisk,
    evidence::{BundleError, Selection, export, verify_bundle},
    verify::{
        GrowthError, InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory, KnownLog, LogKeys,
        LogSource, OpenLogError, VerifyError, verify_folder, verify_growth, verify_tree,
    },
};
use model::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tlog::{TilePath, VerifierKey};

use super::{batch, copy, faults::folder, features::other_signer};

/// Leaves of the forged history, and the leaf of the rotation.
const FORGED: u64 = 91;
const ROTATION: u64 = 101;

/// What the attacker shows: the public files of the forged log, and the genuine events.
struct Shown {
    log: LogReader,
    events: Vec<KeyEvent>,
}

impl LogSource for Shown {
    fn checkpoint(&self) -> Result<String, String> {
        self.log.checkpoint()
    }

    fn key_events(&self) -> Result<Option<Vec<KeyEvent>>, String> {
        Ok(Some(self.events.clone()))
    }

    fn file(&self, path: TilePath) -> Result<Option<impl AsRef<[u8]>>, String> {
        self.log.file(path)
    }
}

fn look(folder: &Path) -> LogReader {
    LogReader::open(Arc::new(RealDisk), &folder.join("ledger"), None).unwrap()
}

fn named(keys: &LogKeys) -> &KeyHistory {
    let LogKeys::Named(keys) = keys else { panic!("a log of ours names its keys: {keys:?}") };
    keys
}

/// The genuine log, and the folder of a log with the same first leaf that the old key signs up to
/// [`FORGED`]. Beyond that it holds what the attacker chose, including the rotation at its leaf.
async fn genuine_and_forged() -> (TempDir, TempDir) {
    let genuine = TempDir::new().unwrap();
    let (ledger, writer) = Ledger::open(&genuine.path().join("ledger"), other_signer(1)).unwrap();
    writer.close().await.unwrap();
    let forged = copy(genuine.path());
    drop(ledger);

    let grow = async |folder: &Path, first: usize| {
        let (ledger, writer) = Ledger::open(&folder.join("ledger"), other_signer(1)).unwrap();
        ledger.append(batch(first, 90)).await.unwrap();
        let early = ledger.publish_checkpoint().await.unwrap();
        ledger.append(batch(first + 90, 10)).await.unwrap();
        let receipt = ledger.rotate_key(other_signer(2), "tester").await.unwrap();
        assert_eq!((early.checkpoint.size.get(), receipt.first_leaf), (FORGED, ROTATION));
        writer.close().await.unwrap();
        early
    };
    grow(genuine.path(), 0).await;
    let signed = grow(forged.path(), 1_000).await;
    fs::write(forged.path().join("ledger/checkpoint"), &signed.note).unwrap();
    (genuine, forged)
}

#[tokio::test]
async fn a_key_counts_only_under_a_checkpoint_that_covers_its_event() {
    let (genuine, forged) = genuine_and_forged().await;
    let (old, new) = (other_signer(1).vkey().clone(), other_signer(2).vkey().clone());
    let known = |key: &VerifierKey| KnownLog::from(key.clone());
    let is_too_early = |error: &InvalidKeyEvents, key: &VerifierKey| {
        let key = key.to_string();
        matches!(error, InvalidKeyEvents::NotYet { vkey, leaf: ROTATION, size: FORGED } if *vkey == key)
    };

    // Over HTTP: the whole log, and its growth.
    let events = look(genuine.path()).key_events().to_vec();
    let shown = Shown { log: look(forged.path()), events };
    let error = verify_tree(&shown, Some(&known(&new)), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, VerifyError::Keys(error) if is_too_early(error, &new)), "{error}");
    let since = shown.checkpoint().unwrap();
    let error = verify_growth(&shown, Some(&known(&new)), &since).unwrap_err();
    assert!(
        matches!(&error, GrowthError::Checkpoint(OpenLogError::Named(InvalidKeys::Events(error))) if is_too_early(error, &new)),
        "{error}"
    );
    // Someone who knows only the old key sees only that key.
    let verified = verify_tree(&shown, Some(&known(&old)), &mut |_| {}).unwrap();
    assert_eq!(named(&verified.keys).iter().collect::<Vec<_>>(), [(0, &old)]);

    // In a folder: all of it, or only what its checkpoint covers.
    let ledger = forged.path().join("ledger");
    let error = verify_folder(&RealDisk, &ledger, Some(&new), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, VerifyError::Keys(error) if is_too_early(error, &new)), "{error}");
    let verified = verify_folder(&RealDisk, &ledger, Some(&old), &mut |_| {}).unwrap();
    assert_eq!(verified.keys.iter().collect::<Vec<_>>(), [(0, &old)]);
    assert_eq!(verified.vkey, old);
    let error = LogReader::open(Arc::new(RealDisk), &ledger, Some(&new)).unwrap_err();
    assert!(matches!(&error, OpenReaderError::Keys(error) if is_too_early(error, &new)), "{error}");

    // In a bundle.
    let mut bundle = Vec::new();
    let at = Timestamp::from_unix_micros(0);
    export(&shown.log, &Selection::default(), at, "a test", &mut bundle, &mut |_| {}).unwrap();
    let bundle = String::from_utf8(bundle).unwrap();
    let (header, rows) = bundle.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    let rotation = &shown.events[1];
    let envelope: Value = serde_json::from_slice(&rotation.envelope).unwrap();
    let row = serde_json::json!({ "leaf": rotation.leaf, "envelope": envelope });
    header["sealwire_evidence"]["keys"].as_array_mut().unwrap().push(row);
    let forged = format!("{header}\n{rows}");
    let error = verify_bundle(forged.as_bytes(), Some(&new), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, BundleError::Keys(error) if is_too_early(error, &new)), "{error}");

    // The genuine log verifies with either key, because the old key signed the change to the new
    // one.
    for key in [&old, &new] {
        verify_tree(&look(genuine.path()), Some(&known(key)), &mut |_| {}).unwrap();
        let ledger = genuine.path().join("ledger");
        verify_folder(&RealDisk, &ledger, Some(key), &mut |_| {}).unwrap();
        let since = look(genuine.path()).checkpoint().unwrap();
        let grown = verify_growth(&look(genuine.path()), Some(&known(key)), &since).unwrap();
        assert_eq!(named(&grown.keys).iter().count(), 2);
    }
}

/// The disk may have had no room for the new key's first checkpoint and state.
#[tokio::test]
async fn a_start_under_the_new_key_alone_has_every_cursor() {
    let disk = SimulatedDisk::new(folder().parent().unwrap());
    let (ledger, writer) =
        Ledger::open_on(Arc::new(disk.clone()), folder(), other_signer(1)).unwrap();
    ledger.append(batch(0, 9)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let cursor = Cursor { name: "judging".to_owned(), next_leaf: 7 };
    ledger.append(Batch { cursor: Some(cursor), ..Batch::default() }).await.unwrap();
    disk.keep_history();
    ledger.rotate_key(other_signer(2), "tester").await.unwrap();
    let history = disk.history();
    writer.close().await.unwrap();

    let mut starts = 0;
    for contents in history {
        let disk = SimulatedDisk::with(contents);
        match Ledger::open_on(Arc::new(disk.clone()), folder(), other_signer(2)) {
            Ok((ledger, writer)) => {
                assert_eq!(ledger.cursor("judging"), 7);
                writer.close().await.unwrap();
                starts += 1;
            }
            // The log does not name the new key yet.
            Err(OpenError::Checkpoint { .. } | OpenError::OtherKey { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(starts > 5, "{starts}");
}
