//! Features of a log beyond appending: keys of appends, erasure, holds, retention, key rotation,
//! and reading logs of older versions.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use ledger::{
    AppendError, AppendKey, Batch, EraseError, Erasure, Hold, LeafRanges, Ledger, OpenError,
    Signers, Writer,
    disk::{Disk, DiskFile, Mode, RealDisk},
};
use model::{Envelope, Event, Timestamp, action};
use tempfile::TempDir;
use tlog::{
    Frontier, Hash, KeyName, NodeHash, Pangea, Signer, TreeSize, leaf_hash, verify_consistency,
};

use super::{batch, copy, event, files, messages, open, verify};

pub(crate) fn keyed(key: &str, first: usize, count: usize) -> Batch {
    Batch { key: Some(AppendKey::parse(key).unwrap()), ..batch(first, count) }
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

pub(crate) fn erasure(leaves: &str) -> Erasure {
    Erasure {
        leaves: leaves.parse().unwrap(),
        actor: String::from("tester"),
        reason: String::from("a test"),
    }
}

pub(crate) fn other_signer(seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse("sealwire.test/plant").unwrap(), &[seed; 32])
}

/// Closes a log and verifies it.
async fn close(folder: &Path, writer: Writer) {
    writer.close().await.unwrap();
    verify(&folder.join("ledger")).unwrap();
}

#[tokio::test]
async fn a_retry_under_a_key_gets_the_first_receipt() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    let first = ledger.append(keyed("a", 0, 3)).await.unwrap();
    assert_eq!(ledger.append(keyed("a", 0, 3)).await.unwrap(), first);
    let (one, two) = tokio::join!(ledger.append(keyed("b", 3, 1)), ledger.append(keyed("b", 3, 1)));
    assert_eq!(one.unwrap(), two.unwrap(), "retried before the first was answered");
    let refusal = ledger.append(keyed("a", 0, 2)).await.unwrap_err();
    assert!(matches!(refusal, AppendError::KeyReused { first_leaf: 1 }), "{refusal}");
    let again = |key, earlier: &[&str]| {
        let earlier_keys = earlier.iter().map(|key| AppendKey::parse(key).unwrap()).collect();
        ledger.append(Batch { earlier_keys, ..keyed(key, 0, 3) })
    };
    assert_eq!(again("0", &["z", "a"]).await.unwrap(), first, "known under an earlier key");
    let (one, two) = tokio::join!(again("c", &[]), again("0", &["c"]));
    assert_eq!(one.unwrap(), two.unwrap(), "in the same group, too");
    close(folder.path(), writer).await;

    let (ledger, writer) = open(folder.path());
    assert_eq!(ledger.append(keyed("a", 0, 3)).await.unwrap(), first, "after a start, too");
    assert_eq!(ledger.size(), 8);
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn what_is_large_is_sealed_whole() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    for character in ["x", "\u{1}", "\u{10348}"] {
        let text = || Some(character.repeat(32_766));
        let large = Event {
            action: text(),
            actor: text(),
            message: text().unwrap(),
            new: text(),
            old: text(),
            source: text(),
            status: text(),
            target: text(),
            tenant_id: text(),
            timestamp: text(),
            ..Event::default()
        };
        let receipt = ledger.append(Batch::of(vec![large.clone()])).await.unwrap();
        let stored = ledger.envelopes(receipt.first_leaf, 1, usize::MAX).unwrap().remove(0);
        assert_eq!(Envelope::parse(&stored.bytes.unwrap()).unwrap().event, large);
    }
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn nobody_else_speaks_for_the_log() {
    let folder = TempDir::new().unwrap();
    let (ledger, _writer) = open(folder.path());
    for action in action::OF_THE_LOG {
        let event = Event::site(action, "test", String::new(), at(0));
        let refusal = ledger.append(Batch::of(vec![event])).await.unwrap_err();
        assert!(matches!(refusal, AppendError::Reserved { .. }), "{action}: {refusal}");
    }
    assert_eq!(ledger.size(), 1);
}

#[tokio::test]
async fn an_erased_envelope_is_gone_and_its_proof_holds() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(Batch::of(vec![event("before".into()), event("SECRET".into())])).await.unwrap();
    ledger.append(batch(0, 300)).await.unwrap();
    let stored = ledger.envelopes(2, 1, usize::MAX).unwrap().remove(0).bytes.unwrap();
    let entry = Hash::sha256(&stored);
    let erased = ledger.erase(erasure("2,10-20"), at(1)).await.unwrap();
    assert_eq!(erased.envelopes, 12);
    ledger.publish_checkpoint().await.unwrap();

    let gone: Vec<u64> = ledger
        .envelopes(0, usize::MAX, usize::MAX)
        .unwrap()
        .into_iter()
        .filter(|stored| stored.bytes.is_none())
        .map(|stored| stored.leaf)
        .collect();
    assert_eq!(gone, "2,10-20".parse::<LeafRanges>().unwrap().leaves().collect::<Vec<_>>());
    assert_eq!(ledger.entries(2, 1).unwrap(), [entry]);
    let proof = ledger.prove(2).unwrap().unwrap();
    proof.verify(&leaf_hash(entry.as_bytes()), &ledger.vkey()).unwrap();

    let refusals = [("2", "nothing to erase"), ("0", "log itself"), ("999", "not in the log")];
    for (leaves, words) in refusals {
        let refusal = ledger.erase(erasure(leaves), at(2)).await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{leaves}: {refusal}");
    }
    close(folder.path(), writer).await;
    // `verify` decompressed everything that is still in the segments. Uncompressed data would be
    // visible in the bytes.
    for file in files(folder.path()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"SECRET"), "{}", file.display());
    }
    // The tree can be rebuilt from what is left.
    fs::remove_dir_all(folder.path().join("ledger/tree")).unwrap();
    let (ledger, writer) = open(folder.path());
    assert_eq!(ledger.entries(2, 1).unwrap(), [entry]);
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_is_finished_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 10)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let segment = Path::new("ledger/segments/00000000000000000000.seg");
    let before = fs::read(folder.path().join(segment)).unwrap();
    ledger.erase(erasure("3-5"), at(1)).await.unwrap();
    writer.close().await.unwrap();
    // A crash happened after the order was sealed and before the segment was rewritten.
    let crashed = copy(folder.path());
    fs::write(crashed.path().join(segment), before).unwrap();
    fs::remove_file(crashed.path().join("ledger/state")).unwrap();
    let (ledger, writer) = open(crashed.path());
    let gone = ledger.envelopes(2, 5, usize::MAX).unwrap();
    let gone: Vec<bool> = gone.iter().map(|stored| stored.bytes.is_none()).collect();
    assert_eq!(gone, [false, true, true, true, false]);
    // A listener that registers late hears of earlier erasures, and of each later one.
    let told = Arc::new(AtomicU32::new(0));
    let tell = Arc::clone(&told);
    ledger.after_erasing(move || {
        tell.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(told.load(Ordering::Relaxed), 1);
    ledger.erase(erasure("7"), at(2)).await.unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 2);
    close(crashed.path(), writer).await;
}

/// A disk on which, on demand, no segment can replace another.
#[derive(Debug, Default)]
struct StubbornDisk(AtomicBool);

impl Disk for StubbornDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let is_segment = to.extension().is_some_and(|extension| extension == "seg");
        if is_segment && self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("stubborn"));
        }
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

#[tokio::test]
async fn an_erasure_that_failed_is_finished_by_the_next_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let disk = Arc::new(StubbornDisk::default());
    let (ledger, writer) = Ledger::open_on(disk.clone(), &path, other_signer(1)).unwrap();
    ledger.append(batch(0, 5)).await.unwrap();
    disk.0.store(true, Ordering::Relaxed);
    let failure = ledger.erase(erasure("2"), at(1)).await.unwrap_err();
    assert!(matches!(failure, EraseError::Io { .. }), "{failure}");
    disk.0.store(false, Ordering::Relaxed);
    ledger.erase(erasure("4"), at(2)).await.unwrap();
    let gone = ledger.envelopes(2, 3, usize::MAX).unwrap();
    let gone: Vec<bool> = gone.iter().map(|stored| stored.bytes.is_none()).collect();
    assert_eq!(gone, [true, false, true]);
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn a_log_does_not_go_over_to_a_key_of_another_name() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    let other = Signer::from_seed(KeyName::parse("sealwire.test/other").unwrap(), &[9; 32]);
    let refusal = ledger.rotate_key(other, "tester").await.unwrap_err();
    assert!(matches!(refusal, AppendError::LogEvent(_)), "{refusal}");
    assert_eq!(ledger.size(), 1, "nothing was sealed, and the old key goes on");
    ledger.append(batch(0, 1)).await.unwrap();
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn what_is_on_hold_is_not_erased_until_it_is_released() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 5)).await.unwrap();
    let hold = Hold { from: Some(at(0)), ..Hold::default() };
    let placed = ledger.place_hold(&hold, "judge", "case 7", at(1)).await.unwrap().first_leaf;
    let refusal = ledger.erase(erasure("2"), at(2)).await.unwrap_err();
    assert!(matches!(refusal, EraseError::Held { leaf: 2, hold } if hold == placed), "{refusal}");
    assert!(ledger.retain("TEST", at(1 << 33), "retention", at(2)).await.unwrap().is_none());
    close(folder.path(), writer).await;

    let (ledger, writer) = open(folder.path());
    assert_eq!(ledger.holds().get(&placed), Some(&hold), "it stands after a start");
    let refusal = ledger.release_hold(2, "judge", "none", at(3)).await.unwrap_err();
    assert!(matches!(refusal, EraseError::NoSuchHold { leaf: 2 }), "{refusal}");
    ledger.release_hold(placed, "judge", "case closed", at(3)).await.unwrap();
    ledger.erase(erasure("2"), at(4)).await.unwrap();
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn retention_erases_a_class_up_to_a_moment_and_goes_on_from_there() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    let other = Event::site("OTHER", "test", String::from("stays"), at(0));
    ledger.append(batch(0, 5)).await.unwrap();
    ledger.append(Batch::of(vec![other])).await.unwrap();
    ledger.append(batch(5, 5)).await.unwrap();
    let long_ago = ledger.retain("TEST", at(1), "retention", at(2)).await.unwrap();
    assert!(long_ago.is_none(), "nothing was received so early");
    let everything = at(1 << 33);
    let erased = ledger.retain("TEST", everything, "retention", at(2)).await.unwrap().unwrap();
    assert_eq!(erased.envelopes, 10);
    assert!(ledger.retain("TEST", everything, "retention", at(3)).await.unwrap().is_none());
    let left = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
    let left: Vec<u64> =
        left.iter().filter(|stored| stored.bytes.is_some()).map(|stored| stored.leaf).collect();
    assert_eq!(left, [0, 6, 12], "genesis, the other class, and the event that says so");
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn a_log_goes_over_to_another_key_that_both_sign_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let (ledger, writer) = Ledger::open(&path, other_signer(1)).unwrap();
    ledger.append(batch(0, 5)).await.unwrap();
    let old = ledger.publish_checkpoint().await.unwrap();
    ledger.rotate_key(other_signer(2), "tester").await.unwrap();
    assert_eq!(ledger.vkey(), *other_signer(2).vkey());
    let new = ledger.published();
    assert_eq!(tlog::Checkpoint::open(&new.note, &ledger.vkey()).unwrap(), new.checkpoint);
    let growth = new.checkpoint.size.extends(old.checkpoint.size).unwrap();
    let proof = ledger.prove_growth(growth).unwrap();
    verify_consistency(growth, &old.checkpoint.root, &new.checkpoint.root, &proof).unwrap();
    writer.close().await.unwrap();
    let verified = verify(&path).unwrap();
    assert_eq!(verified.keys.iter().count(), 2);

    let refusal = Ledger::open(&path, other_signer(1)).unwrap_err();
    assert!(matches!(refusal, OpenError::OtherKey { .. }), "the old key is out: {refusal}");
    // A rotation that a crash interrupted before the key's file was replaced.
    let signers = Signers { current: other_signer(1), next: Some(other_signer(2)) };
    let (ledger, writer) = Ledger::open(&path, signers).unwrap();
    assert_eq!(ledger.vkey(), *other_signer(2).vkey());
    ledger.append(batch(5, 1)).await.unwrap();
    writer.close().await.unwrap();
    verify(&path).unwrap();
}

#[tokio::test]
async fn both_trees_are_those_of_the_entries() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 1_000)).await.unwrap();
    ledger.append(batch(1_000, 1_000)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let entries = ledger.entries(0, 2_001).unwrap();
    for size in [0, 1, 2, 15, 16, 17, 255, 256, 257, 1_000, 2_001] {
        let mut pangea = Frontier::<Pangea>::empty();
        let mut rfc6962 = Frontier::new();
        for entry in entries.iter().take(size) {
            pangea.append(*entry);
            rfc6962.append(leaf_hash(entry.as_bytes()));
        }
        assert_eq!(ledger.pangea_root(size as u64).unwrap(), pangea.root(), "{size}");
        let newest = &ledger.published().checkpoint;
        let growth = newest.size.extends(TreeSize::new(size as u64)).unwrap();
        let proof = ledger.prove_growth(growth).unwrap();
        verify_consistency(growth, &rfc6962.root(), &newest.root, &proof).unwrap();
    }
    let [first, second, ..] = entries.as_slice() else { panic!("there are 2,001 entries") };
    let root = Hash::sha256(&[first.as_bytes().as_slice(), second.as_bytes()].concat());
    assert_eq!(Pangea::node(first, second), root, "no prefix");
    close(folder.path(), writer).await;
}

#[tokio::test]
async fn what_was_derived_is_found_from_what_it_was_derived_from() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    ledger.append(batch(0, 3)).await.unwrap();
    let mut derived = event("derived".into());
    derived.sealwire =
        Some(model::event::Detail { from_leaf: Some(2), ..model::event::Detail::default() });
    ledger.append(Batch::of(vec![derived])).await.unwrap();
    let of = |leaves: &str| ledger.derived_from(&leaves.parse().unwrap()).unwrap().to_string();
    assert_eq!((of("2"), of("1-3"), of("1")), ("4".into(), "4".into(), String::new()));
    close(folder.path(), writer).await;
}

/// A copy of a log that an older version wrote.
pub(crate) fn kept_log(version: &str, path: &Path) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(version);
    for file in files(&kept) {
        let to = path.join(file.strip_prefix(&kept).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
}

/// It has two keys, a batch under the key `first`, a hold that was placed and released, and two
/// erased readings.
#[tokio::test]
async fn a_log_of_version_2_is_read_and_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v2", &path);
    let verified = verify(&path).unwrap();
    assert_eq!((verified.leaves, verified.erased), (30, 2), "as version 2 left it");
    let (ledger, writer) = Ledger::open(&path, other_signer(2)).unwrap();
    assert_eq!((ledger.cursor("reader"), ledger.keys().len()), (7, 2));
    let stored = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
    let polls = stored.iter().filter_map(|stored| {
        let envelope = Envelope::parse(stored.bytes.as_deref()?).unwrap();
        envelope.event.sealwire?.poll
    });
    assert!(polls.eq((1..=2).chain(5..=25)), "our own fields are found within the event");
    ledger.append(batch(0, 2)).await.unwrap();
    ledger.erase(erasure("5"), at(1 << 33)).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(verify(&path).unwrap().erased, 3);
}

/// It has two keys, batches under keys of which one was erased whole and one in part, a hold that
/// was placed and released, and a cursor that moved alone after the checkpoint.
#[tokio::test]
async fn a_log_of_version_3_is_read_and_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v3", &path);
    let verified = verify(&path).unwrap();
    assert_eq!((verified.leaves, verified.erased, verified.beyond()), (34, 2, 0));
    let (ledger, writer) = Ledger::open(&path, other_signer(2)).unwrap();
    assert_eq!((ledger.cursor("reader"), ledger.keys().len()), (9, 2));
    ledger.append(batch(0, 2)).await.unwrap();
    ledger.erase(erasure("5"), at(1 << 33)).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(verify(&path).unwrap().erased, 3);
}

#[tokio::test]
async fn a_log_of_version_1_is_read_and_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v1", &path);
    assert_eq!(verify(&path).unwrap().leaves, 24, "as version 1 left it");
    let (ledger, writer) = Ledger::open(&path, other_signer(1)).unwrap();
    let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(messages(&ledger), numbers(23));
    assert_eq!(ledger.cursor("test"), 4);
    ledger.append(batch(23, 2)).await.unwrap();
    assert_eq!(messages(&ledger), numbers(25));
    ledger.erase(erasure("3"), at(1)).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(verify(&path).unwrap().erased, 1);
    assert!(!path.join("cursors.json").exists() && !path.join("tree/places").exists());
}
