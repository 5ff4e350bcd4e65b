//! Tests the ledger from outside: what was acknowledged survives any crash, and every change is
//! named.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]
#![expect(clippy::cast_possible_truncation, reason = "what tests count is small")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a long test says what it tried, and a killed process what was acknowledged"
)]

mod any_moment;
mod copies;
mod dropped;
mod evidence;
mod faults;
mod features;
mod flipped_bits;
mod foreign;
mod kills;
mod leftovers;
mod reader;
mod rotated_keys;
mod unsigned;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use ledger::{
    Batch, Cursor, KeyError, Ledger, OpenError, Writer,
    disk::RealDisk,
    load_or_create_key,
    verify::{VerifiedFolder, VerifyError, verify_folder},
};
use model::{Envelope, Event, Timestamp};
use tempfile::TempDir;
use tlog::{Hash, KeyName, Signer, TilePath, leaf_hash};

fn signer(folder: &Path) -> Signer {
    let name = KeyName::parse("sealwire.test/plant").unwrap();
    load_or_create_key(&folder.join("key"), name, &folder.join("ledger")).unwrap()
}

fn open(folder: &Path) -> (Ledger, Writer) {
    Ledger::open(&folder.join("ledger"), signer(folder)).unwrap()
}

fn verify(ledger: &Path) -> Result<VerifiedFolder, VerifyError> {
    verify_folder(&RealDisk, ledger, None, &mut |_| {})
}

fn event(message: String) -> Event {
    Event::site("TEST", "test", message, Timestamp::from_unix_micros(0))
}

fn batch(first: usize, count: usize) -> Batch {
    Batch::of((first..first + count).map(|number| event(number.to_string())).collect())
}

/// Message of each leaf after the genesis entry.
fn messages(ledger: &Ledger) -> Vec<String> {
    let envelopes = ledger.envelopes(1, usize::MAX, usize::MAX).unwrap();
    envelopes.iter().map(|envelope| message_of(envelope.bytes.as_deref().unwrap())).collect()
}

fn message_of(envelope: &[u8]) -> String {
    Envelope::parse(envelope).unwrap().event.message
}

#[track_caller]
fn assert_holds(ledger: &Ledger, count: usize) {
    assert_eq!(messages(ledger), (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// A folder with a closed log of `batches` batches of `each` events, and a cursor that moved with
/// each batch.
async fn log(batches: usize, each: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    for number in 0..batches {
        let mut batch = batch(number * each, each);
        batch.cursor = Some(Cursor { name: "test".into(), next_leaf: number as u64 + 1 });
        ledger.append(batch).await.unwrap();
    }
    writer.close().await.unwrap();
    folder
}

fn copy(from: &Path) -> TempDir {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let to = tempfile::Builder::new()
        .prefix(&format!("copy-{}-", COUNT.fetch_add(1, Ordering::Relaxed)))
        .tempdir()
        .unwrap();
    for file in files(from) {
        let target = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    to
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("ledger/segments/00000000000000000000.seg")
}

#[tokio::test]
async fn a_log_is_gone_on_with_where_it_was_left() {
    let folder = log(3, 200).await; // 601 leaves: two full tiles and a part, and a hash on level 1
    let (ledger, writer) = open(folder.path());
    assert_holds(&ledger, 600);
    assert_eq!(ledger.cursor("test"), 3);
    let receipt = ledger.append(batch(600, 1)).await.unwrap();
    assert_eq!((receipt.first_leaf, receipt.leaves), (601, 1));
    writer.close().await.unwrap();
    let verified = verify(&folder.path().join("ledger")).unwrap();
    assert_eq!(
        (verified.leaves, verified.checkpoint.size.get(), verified.torn_bytes),
        (602, 602, 0)
    );
}

#[tokio::test]
async fn every_leaf_is_proved_and_every_tile_served() {
    let folder = log(3, 200).await;
    let (ledger, _writer) = open(folder.path());
    for leaf in [0, 1, 255, 256, 600] {
        let proof = ledger.prove(leaf).unwrap().expect("covered");
        let envelope = ledger.envelopes(leaf, 1, usize::MAX).unwrap().remove(0);
        let commitment = Hash::sha256(envelope.bytes.as_deref().unwrap());
        proof.verify(&leaf_hash(commitment.as_bytes()), &ledger.vkey()).unwrap();
    }
    assert!(ledger.prove(601).unwrap().is_none());
    for (path, bytes) in [
        ("tile/0/000", Some(8192)),
        ("tile/0/002.p/89", Some(89 * 32)),
        ("tile/0/002.p/7", Some(7 * 32)), // of an earlier checkpoint
        ("tile/1/000.p/2", Some(64)),
        ("tile/entries/001", Some(256 * 34)),
        ("tile/0/002.p/90", None),
        ("tile/0/003.p/1", None),
        ("tile/2/000.p/1", None),
    ] {
        let path = TilePath::parse(path).unwrap();
        assert_eq!(ledger.tile(&path).unwrap().map(|tile| tile.len()), bytes, "{path}");
    }
}

#[tokio::test]
async fn many_writers_share_one_log_without_gaps() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    let mut writers = tokio::task::JoinSet::new();
    for _writer in 0..20 {
        let ledger = ledger.clone();
        writers.spawn(async move {
            let mut leaves = Vec::new();
            for _append in 0..20 {
                let receipt = ledger.append(batch(0, 3)).await.unwrap();
                leaves.extend(receipt.first_leaf..receipt.first_leaf + receipt.leaves);
            }
            leaves
        });
    }
    let mut leaves: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    leaves.sort_unstable();
    assert_eq!(leaves, (1..=1_200).collect::<Vec<_>>());
    writer.close().await.unwrap();
    verify(&folder.path().join("ledger")).unwrap();
}

#[tokio::test]
async fn refusals_seal_nothing() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    let many = ledger.append(batch(0, 1_001)).await.unwrap_err().to_string();
    assert_eq!(many, "the batch has 1001 events, but at most 1000 can be sealed at once");
    let large = Batch::of(vec![event("small".into()), event("x".repeat(3 << 20))]);
    assert!(ledger.append(large).await.unwrap_err().to_string().contains("at most 2097152"));
    assert_eq!(ledger.size(), 1, "the genesis entry alone");
}

#[tokio::test]
async fn what_was_not_covered_by_a_checkpoint_is_there_after_a_crash() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    ledger.append(batch(0, 10)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    ledger.append(batch(10, 300)).await.unwrap();
    // The disk is now as a crash leaves it: the checkpoint covers 11 of 311 leaves.
    let crashed = copy(folder.path());
    let (ledger, writer) = open(crashed.path());
    assert_holds(&ledger, 310);
    writer.close().await.unwrap();
    verify(&crashed.path().join("ledger")).unwrap();
}

#[tokio::test]
async fn a_torn_write_is_cut_off_wherever_it_was_torn() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    ledger.append(batch(0, 5)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let before = fs::metadata(segment(folder.path())).unwrap().len();
    ledger.append(batch(5, 2)).await.unwrap();
    let after = fs::metadata(segment(folder.path())).unwrap().len();
    for len in before..=after {
        let torn = copy(folder.path());
        fs::OpenOptions::new()
            .write(true)
            .open(segment(torn.path()))
            .unwrap()
            .set_len(len)
            .unwrap();
        let (ledger, writer) = open(torn.path());
        assert_holds(&ledger, if len == after { 7 } else { 5 });
        let next = if len == after { 7 } else { 5 };
        ledger.append(batch(next, 1)).await.unwrap();
        writer.close().await.unwrap();
        verify(&torn.path().join("ledger")).unwrap();
    }
}

#[tokio::test]
async fn damage_that_no_crash_does_is_refused_with_its_place() {
    let folder = log(3, 5).await;
    let damaged = copy(folder.path());
    let mut bytes = fs::read(segment(damaged.path())).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment(damaged.path()), bytes).unwrap();
    let error = Ledger::open(&damaged.path().join("ledger"), signer(damaged.path())).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    let short = copy(folder.path());
    let len = fs::metadata(segment(short.path())).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(segment(short.path()))
        .unwrap()
        .set_len(len - 1)
        .unwrap();
    let error = Ledger::open(&short.path().join("ledger"), signer(short.path())).unwrap_err();
    assert!(
        matches!(error, OpenError::Damaged { leaf: 11, .. }),
        "a checkpoint covers what was cut: {error}"
    );

    let foreign = copy(folder.path());
    fs::write(foreign.path().join("key"), "00".repeat(32)).unwrap();
    let error = Ledger::open(&foreign.path().join("ledger"), signer(foreign.path())).unwrap_err();
    assert!(matches!(error, OpenError::OtherKey { .. }), "{error}");
}

#[tokio::test]
async fn the_trees_files_are_made_again_when_they_are_gone_or_wrong() {
    let folder = log(3, 200).await;
    for spoil in [
        |tree: &Path| fs::remove_dir_all(tree).unwrap(),
        |tree: &Path| fs::write(tree.join("nodes-4"), b"short").unwrap(),
        |tree: &Path| fs::write(tree.join("nodes-4"), vec![0; 37 * 64]).unwrap(),
    ] {
        let spoilt = copy(folder.path());
        spoil(&spoilt.path().join("ledger/tree"));
        let (ledger, writer) = open(spoilt.path());
        assert_holds(&ledger, 600);
        writer.close().await.unwrap();
        verify(&spoilt.path().join("ledger")).unwrap();
    }
}

#[tokio::test]
async fn a_history_that_was_written_anew_is_not_signed() {
    let folder = log(2, 10).await;
    // Another log of the same key, as long as this one or longer, replaces the segments, and the
    // derived files are deleted.
    for batches in [2, 3] {
        let forged = copy(folder.path());
        let other = TempDir::new().unwrap();
        fs::copy(folder.path().join("key"), other.path().join("key")).unwrap();
        let (ledger, writer) = open(other.path());
        for number in 0..batches {
            ledger.append(batch(number * 10 + 1, 10)).await.unwrap();
        }
        writer.close().await.unwrap();
        fs::copy(segment(other.path()), segment(forged.path())).unwrap();
        fs::remove_dir_all(forged.path().join("ledger/tree")).unwrap();
        let error = Ledger::open(&forged.path().join("ledger"), signer(forged.path())).unwrap_err();
        assert!(matches!(error, OpenError::RootDiffers { .. }), "{batches} batches: {error}");
    }
}

#[tokio::test]
async fn a_cursor_that_moved_alone_is_kept_and_verifies() {
    let folder = log(1, 5).await;
    let (ledger, writer) = open(folder.path());
    for next_leaf in [4, 6] {
        let cursor = Some(Cursor { name: "test".into(), next_leaf });
        ledger.append(Batch { cursor, ..Batch::default() }).await.unwrap();
    }
    // No leaf was added, so no checkpoint follows.
    writer.close().await.unwrap();
    verify(&folder.path().join("ledger")).unwrap();
    assert_eq!(open(folder.path()).0.cursor("test"), 6);
}

#[tokio::test]
async fn a_log_without_a_checkpoint_is_not_signed_by_another_key() {
    let folder = log(1, 1).await;
    fs::remove_file(folder.path().join("ledger/checkpoint")).unwrap();
    fs::write(folder.path().join("key"), "00".repeat(32)).unwrap();
    let error = Ledger::open(&folder.path().join("ledger"), signer(folder.path())).unwrap_err();
    assert!(matches!(error, OpenError::OtherKey { .. }), "{error}");
}

#[test]
fn a_log_whose_key_is_gone_gets_no_other() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = runtime.block_on(log(1, 1));
    let key = folder.path().join("key");
    fs::remove_file(&key).unwrap();
    let name = KeyName::parse("sealwire.test/plant").unwrap();
    let error = load_or_create_key(&key, name, &folder.path().join("ledger")).unwrap_err();
    assert!(matches!(error, KeyError::Missing { .. }), "{error}");
    assert!(!key.exists());
}
