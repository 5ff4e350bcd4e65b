//! Reading a log's folder: readers see what the writer says, whatever the writer is doing, and
//! change nothing.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ledger::{
    Ledger, LogReader, OpenReaderError,
    disk::RealDisk,
    verify::{Grown, GrowthError, verify_growth},
};
use tempfile::TempDir;
use tlog::{Hash, TreeSize, leaf_hash, verify_consistency};
use tokio::runtime::Handle;

use super::{
    batch,
    copies::Interrupted,
    copy,
    features::{at, erasure, other_signer},
    files, log, open, segment,
};

pub(crate) fn look(folder: &Path) -> Result<LogReader, OpenReaderError> {
    LogReader::open(Arc::new(RealDisk), &folder.join("ledger"), None)
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    files(folder).iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A reader of the folder sees what the writer says, up to the checkpoint.
#[track_caller]
fn assert_sees_the_same(reader: &LogReader, ledger: &Ledger) {
    let size = reader.size();
    let count = usize::try_from(size).unwrap();
    assert_eq!(
        reader.envelopes(0, usize::MAX, usize::MAX).unwrap(),
        ledger.envelopes(0, count, usize::MAX).unwrap()
    );
    assert_eq!(reader.entries(0, count).unwrap(), ledger.entries(0, count).unwrap());
    assert!(reader.prove(size).unwrap().is_none());
    for leaf in [0, size / 2, size - 1] {
        let entry = reader.entries(leaf, 1).unwrap().remove(0);
        let proof = reader.prove(leaf).unwrap().unwrap();
        proof.verify(&leaf_hash(entry.as_bytes()), reader.keys().at(size)).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_written_is_seen_up_to_its_checkpoint() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    ledger.append(batch(0, 300)).await.unwrap();
    let first = ledger.publish_checkpoint().await.unwrap();
    ledger.append(batch(300, 5)).await.unwrap();
    let before = contents(folder.path());
    let reader = look(folder.path()).unwrap();
    assert_eq!((reader.size(), &reader.published().note), (301, &first.note));
    assert_sees_the_same(&reader, &ledger);

    ledger.publish_checkpoint().await.unwrap();
    let later = look(folder.path()).unwrap();
    assert_eq!((reader.size(), later.size()), (301, 306));
    let growth = TreeSize::new(306).extends(TreeSize::new(301)).unwrap();
    let proof = later.prove_growth(growth).unwrap();
    let roots = [&reader, &later].map(|reader| reader.published().checkpoint.root);
    verify_consistency(growth, &roots[0], &roots[1], &proof).unwrap();
    drop(ledger);
    assert_eq!(before.len(), contents(folder.path()).len(), "no file was made");
}

#[tokio::test]
async fn a_torn_end_is_neither_read_nor_cut_off() {
    let folder = log(3, 50).await;
    let torn = copy(folder.path());
    let mut bytes = fs::read(segment(torn.path())).unwrap();
    bytes.extend(b"SWgr and then the power went");
    fs::write(segment(torn.path()), &bytes).unwrap();
    let before = contents(torn.path());
    let reader = look(torn.path()).unwrap();
    assert_eq!(reader.envelopes(0, usize::MAX, usize::MAX).unwrap().len(), 151);
    assert_eq!(contents(torn.path()), before);
}

#[tokio::test]
async fn an_erasure_meanwhile_makes_nothing_wrong() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    ledger.append(batch(0, 300)).await.unwrap();
    ledger.erase(erasure("7"), at(1)).await.unwrap();
    ledger.append(batch(300, 300)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let before = look(folder.path()).unwrap();
    before.envelopes(0, 1, usize::MAX).unwrap();
    let untouched = look(folder.path()).unwrap();
    // Both segments are rewritten: one that a reader has opened, and one that no reader has opened.
    ledger.erase(erasure("3,310-320"), at(2)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    for reader in [before, untouched, look(folder.path()).unwrap()] {
        let stored = reader.envelopes(0, usize::MAX, usize::MAX).unwrap();
        let entries = reader.entries(0, stored.len()).unwrap();
        for (stored, entry) in stored.iter().zip(entries) {
            let commitment = stored.bytes.as_ref().map(|bytes| Hash::sha256(bytes));
            assert_eq!(commitment.unwrap_or(entry), entry, "leaf {}", stored.leaf);
        }
        assert!(stored[7].bytes.is_none());
    }
    assert_sees_the_same(&look(folder.path()).unwrap(), &ledger);
}

fn grown(folder: &Path, since: &LogReader) -> Result<Grown, GrowthError> {
    let now = look(folder).unwrap();
    verify_growth(&now, None, &since.published().note)
}

#[tokio::test]
async fn a_log_that_only_grew_extends_each_of_its_checkpoints() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    let mut earlier = Vec::new();
    for (first, count) in [(0, 1), (1, 6), (7, 248), (255, 1), (256, 300)] {
        ledger.append(batch(first, count)).await.unwrap();
        ledger.publish_checkpoint().await.unwrap();
        earlier.push(look(folder.path()).unwrap());
    }
    ledger.rotate_key(other_signer(9), "tester").await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    for since in &earlier {
        let Grown { since: old, checkpoint, .. } = grown(folder.path(), since).unwrap();
        assert_eq!((old.size.get(), checkpoint.size.get()), (since.size(), 558));
    }
}

#[tokio::test]
async fn a_log_with_another_history_is_a_fork() {
    let folder = log(1, 3).await;
    let forked = copy(folder.path());
    let mut branches = Vec::new();
    for (branch, first) in [(folder.path(), 3), (forked.path(), 4)] {
        let (ledger, writer) = open(branch);
        // A size that is a power of two, and one that is not.
        for (first, count) in [(first, 4), (first + 4, 5)] {
            ledger.append(batch(first, count)).await.unwrap();
            ledger.publish_checkpoint().await.unwrap();
            branches.push(look(branch).unwrap());
        }
        writer.close().await.unwrap();
    }
    let [eight, thirteen, other_eight, other_thirteen] = branches.try_into().unwrap();
    grown(folder.path(), &eight).unwrap();
    for (since, has) in [(&eight, &other_eight), (&thirteen, &other_thirteen)] {
        let error = grown(forked.path(), since).unwrap_err();
        let roots = (since.published().checkpoint.root, has.published().checkpoint.root);
        let is_named =
            matches!(error, GrowthError::Fork { signed, now, .. } if (signed, now) == roots);
        assert!(is_named, "{error}");
    }

    let grown_since = grown(log(1, 3).await.path(), &thirteen).unwrap_err();
    assert!(matches!(grown_since, GrowthError::Since(_)), "another key's: {grown_since}");
}

#[tokio::test]
async fn a_log_that_was_cut_is_shorter_than_it_was() {
    let folder = log(1, 3).await;
    let before = copy(folder.path());
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(3, 1)).await.unwrap();
    writer.close().await.unwrap();
    let error = grown(before.path(), &look(folder.path()).unwrap()).unwrap_err();
    assert!(matches!(error, GrowthError::Shrunk(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_looked_at_at_any_moment_of_its_life() {
    const ROUNDS: usize = 30;
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 1)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let (done, path) = (Arc::new(AtomicBool::new(false)), folder.path().to_owned());
    let is_done = Arc::clone(&done);
    let looking = std::thread::spawn(move || {
        let mut sizes = Vec::new();
        while !is_done.load(Ordering::Relaxed) {
            let reader = look(&path).unwrap();
            let stored = reader.envelopes(0, usize::MAX, usize::MAX).unwrap();
            assert_eq!(stored.len() as u64, reader.size());
            sizes.push(reader.size());
        }
        sizes
    });
    for round in 0..ROUNDS {
        let receipt = ledger.append(batch(round * 20, 20)).await.unwrap();
        ledger.erase(erasure(&receipt.first_leaf.to_string()), at(1)).await.unwrap();
        ledger.publish_checkpoint().await.unwrap();
        if round % 10 == 5 {
            let seed = u8::try_from(round).unwrap();
            ledger.rotate_key(other_signer(seed), "tester").await.unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    let sizes = looking.join().unwrap();
    assert!(sizes.is_sorted() && sizes.len() > 1, "{sizes:?}");
    writer.close().await.unwrap();
}

#[tokio::test]
async fn keys_are_followed_and_a_checkpoint_of_another_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 3)).await.unwrap();
    ledger.rotate_key(other_signer(9), "tester").await.unwrap();
    writer.close().await.unwrap();
    let reader = look(folder.path()).unwrap();
    assert_eq!(reader.key_events().iter().map(|event| event.leaf).collect::<Vec<_>>(), [0, 4]);

    let other = log(2, 2).await;
    let checkpoint = Path::new("ledger/checkpoint");
    fs::copy(other.path().join(checkpoint), folder.path().join(checkpoint)).unwrap();
    let refusal = look(folder.path()).unwrap_err();
    assert!(matches!(refusal, OpenReaderError::Checkpoint(_)), "{refusal}");
}

#[tokio::test]
async fn what_does_not_follow_from_the_checkpoint_is_refused() {
    let folder = log(3, 200).await;
    let refusal = |spoil: &dyn Fn(&Path)| {
        let spoilt = copy(folder.path());
        spoil(&spoilt.path().join("ledger"));
        look(spoilt.path()).err()
    };
    let missing = refusal(&|ledger| fs::remove_file(ledger.join("checkpoint")).unwrap());
    assert!(matches!(missing, Some(OpenReaderError::NoCheckpoint { .. })), "{missing:?}");
    let short = refusal(&|ledger| fs::write(ledger.join("tree/entries"), [0; 32]).unwrap());
    assert!(matches!(short, Some(OpenReaderError::Behind { .. })), "{short:?}");
    // The log says the same as the state.
    assert!(refusal(&|ledger| fs::remove_file(ledger.join("state")).unwrap()).is_none());
    let other_root =
        refusal(&|ledger| fs::write(ledger.join("tree/nodes-8"), [0; 2 * 64]).unwrap());
    assert!(matches!(other_root, Some(OpenReaderError::Root { .. })), "{other_root:?}");
    assert!(refusal(&|_| {}).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_meets_an_erasure_reads_on_wherever_it_met_it() {
    let whole = TempDir::new().unwrap();
    let (ledger, writer) = open(whole.path());
    // Long envelopes, so that erasing one changes the segment.
    ledger.append(batch(0, 400)).await.unwrap();
    ledger.erase(erasure("7"), at(1)).await.unwrap();
    ledger.append(batch(400, 10)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    drop(ledger);
    writer.close().await.unwrap();
    let mut met = 0;
    loop {
        let folder = copy(whole.path());
        let (ledger, writer) = open(folder.path());
        let (runtime, erasing) = (Handle::current(), ledger.clone());
        let erase = move || {
            let erased = move || runtime.block_on(erasing.erase(erasure("11-90"), at(2)));
            std::thread::spawn(erased).join().unwrap().unwrap();
        };
        let disk = Arc::new(Interrupted::at(met, erase));
        let (path, looked_at) = (folder.path().join("ledger"), Arc::clone(&disk));
        let read = work::blocking((), move || {
            let reader = LogReader::open(looked_at, &path, None).unwrap();
            reader.envelopes(0, usize::MAX, usize::MAX).unwrap()
        });
        let read = read.await.unwrap();
        let erased = read.iter().filter(|stored| stored.bytes.is_none()).count();
        assert!(read.len() >= 412 && [1, 81].contains(&erased), "{met}: {erased}");
        let was_met = disk.was_interrupted();
        drop((ledger, disk));
        writer.close().await.unwrap();
        if !was_met {
            break;
        }
        met += 1;
    }
    assert!(met > 8, "{met} files were opened");
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_is_damaged() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    // The second of three segments. No reader has opened it yet; the first has the log's key.
    for leaf in ["7", "50"] {
        ledger.append(batch(0, 40)).await.unwrap();
        ledger.erase(erasure(leaf), at(1)).await.unwrap();
    }
    ledger.append(batch(0, 40)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    drop(ledger);
    writer.close().await.unwrap();
    // A reader keeps the segments that it has opened.
    let may_pass = || {
        let reader = look(folder.path()).unwrap();
        reader.envelopes(50, 9, 9).unwrap_err().may_pass()
    };
    let segments = files(&folder.path().join("ledger/segments"));
    let [_, closed, _] = &*segments else { panic!("{segments:?}") };
    let gone = folder.path().join("gone");
    // The segment is replaced by a link to itself, so opening it fails with the system's error.
    fs::rename(closed, &gone).unwrap();
    std::os::unix::fs::symlink(closed, closed).unwrap();
    assert!(may_pass());
    fs::remove_file(closed).unwrap();
    fs::create_dir(closed).unwrap();
    assert!(!may_pass(), "a folder stays a folder");
    fs::remove_dir(closed).unwrap();
    assert!(!may_pass(), "it is missing");
    let mut bytes = fs::read(&gone).unwrap();
    bytes.iter_mut().skip(60).for_each(|byte| *byte ^= 0x55);
    fs::write(closed, bytes).unwrap();
    assert!(!may_pass(), "it is damaged");
}
