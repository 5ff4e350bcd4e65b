//! Copies a log while it grows, is erased and changes its key. The copy always verifies and can be
//! continued.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use ledger::{
    Erasure, Ledger, Signers, Writer,
    copy::{Copied, CopyError, copy_log},
    disk::{Disk, DiskFile, Mode, RealDisk},
    examine::{claimed_state, examine_segments, newest_received_at},
    load_key,
};
use model::Timestamp;
use tempfile::TempDir;
use tlog::{KeyName, Signer, TreeSize};
use tokio::{runtime::Handle, task::JoinSet};

use super::{assert_holds, batch, copy, log, open, segment, verify};

fn erasure(leaves: &str) -> Erasure {
    let (actor, reason) = (String::from("tester"), String::from("a test"));
    Erasure { leaves: leaves.parse().unwrap(), actor, reason }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

fn copy_of(folder: &Path) -> (TempDir, Copied) {
    let to = TempDir::new().unwrap();
    let copied = copy_log(&RealDisk, &folder.join("ledger"), &to.path().join("ledger")).unwrap();
    (to, copied)
}

/// Opens the copy with the key of the log, appends, and verifies.
async fn assert_is_gone_on_with(copy: &Path, original: &Path, next: Option<Signer>) {
    let name = KeyName::parse("sealwire.test/plant").unwrap();
    let current = load_key(&original.join("key"), name).unwrap();
    let (ledger, writer) = Ledger::open(&copy.join("ledger"), Signers { current, next }).unwrap();
    let size = ledger.size();
    let receipt = ledger.append(batch(0, 3)).await.unwrap();
    assert_eq!(receipt.first_leaf, size);
    writer.close().await.unwrap();
    verify(&copy.join("ledger")).unwrap();
}

/// A log of several segments: each erasure begins one.
async fn log_of_segments(count: usize) -> (TempDir, Ledger, Writer) {
    let folder = log(1, 40).await;
    let (ledger, writer) = open(folder.path());
    for _segment in 1..count {
        // Erasing a leaf of the newest segment closes that segment.
        let newest = ledger.size() - 1;
        ledger.erase(erasure(&newest.to_string()), at(0)).await.unwrap();
        ledger.append(batch(0, 40)).await.unwrap();
    }
    ledger.publish_checkpoint().await.unwrap();
    (folder, ledger, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_growing_log_is_a_log() {
    let (folder, ledger, writer) = log_of_segments(3).await;
    let growing = ledger.clone();
    let mut growth = JoinSet::new();
    growth.spawn(async move {
        for number in 0..100 {
            growing.append(batch(number, 7)).await.unwrap();
            if number % 5 == 0 {
                growing.publish_checkpoint().await.unwrap();
            }
        }
    });
    let mut before = 0;
    while growth.try_join_next().is_none() {
        let (copy, copied) = copy_of(folder.path());
        let verified = verify(&copy.path().join("ledger")).unwrap();
        assert_eq!((verified.leaves, verified.torn_bytes), (copied.leaves, 0));
        assert!(verified.checkpoint.size.get() >= before, "a later copy has no earlier checkpoint");
        before = verified.checkpoint.size.get();
        assert_is_gone_on_with(copy.path(), folder.path(), None).await;
    }
    writer.close().await.unwrap();
    let (copy, copied) = copy_of(folder.path());
    assert_eq!(copied.leaves, ledger.size(), "nothing of a closed log is left out");
    verify(&copy.path().join("ledger")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_erased_while_it_is_copied_is_erased_in_the_copy_or_not_yet_ordered() {
    let (original, _, writer) = log_of_segments(4).await;
    writer.close().await.unwrap();
    for moment in 0.. {
        let folder = copy(original.path());
        let (ledger, _writer) = open(folder.path());
        let leaf = [6, 47, 88][moment as usize % 3];
        let erasing = ledger.clone();
        let disk = Interrupted::at(moment, move || {
            let order = erasing.erase(erasure(&format!("{leaf}-{}", leaf + 20)), at(0));
            Handle::current().block_on(order).unwrap();
        });
        let to = TempDir::new().unwrap();
        let (from, target) = (folder.path().join("ledger"), to.path().join("ledger"));
        let was_erased = work::blocking((), move || {
            copy_log(&disk, &from, &target).unwrap();
            disk.was_interrupted()
        });
        if !was_erased.await.unwrap() {
            assert!(moment > 20, "a copy takes more than {moment} files");
            break;
        }
        let verified = verify(&to.path().join("ledger")).unwrap();
        let is_ordered = verified.leaves == ledger.size();
        assert_eq!(verified.erased, if is_ordered { 3 + 21 } else { 3 }, "at {moment}");
        assert_is_gone_on_with(to.path(), folder.path(), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_rotation_in_the_midst_is_in_the_copy_or_comes_after_it() {
    for moment in [0, 1, 2, 3, 8, 14, 15, 16] {
        let (folder, ledger, _writer) = log_of_segments(2).await;
        let next = || Signer::from_seed(KeyName::parse("sealwire.test/plant").unwrap(), &[9; 32]);
        let disk = Interrupted::at(moment, move || {
            Handle::current().block_on(ledger.rotate_key(next(), "tester")).unwrap();
        });
        let to = TempDir::new().unwrap();
        let (from, target) = (folder.path().join("ledger"), to.path().join("ledger"));
        work::blocking((), move || copy_log(&disk, &from, &target)).await.unwrap().unwrap();
        verify(&to.path().join("ledger")).unwrap();
        assert_is_gone_on_with(to.path(), folder.path(), Some(next())).await;
    }
}

#[tokio::test]
async fn closed_segments_that_are_there_are_kept_and_never_written_into() {
    let (folder, ledger, writer) = log_of_segments(3).await;
    let (first, copied) = copy_of(folder.path());
    assert_eq!((copied.segments, copied.segments_kept), (3, 0));
    // A second copy shares files with the first.
    let second = TempDir::new().unwrap();
    let segments = second.path().join("ledger/segments");
    fs::create_dir_all(&segments).unwrap();
    for entry in fs::read_dir(first.path().join("ledger/segments")).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), segments.join(entry.file_name())).unwrap();
    }
    ledger.append(batch(0, 5)).await.unwrap();
    writer.close().await.unwrap();
    let copied =
        copy_log(&RealDisk, &folder.path().join("ledger"), &second.path().join("ledger")).unwrap();
    assert_eq!((copied.segments, copied.segments_kept), (1, 2));
    let leaves = verify(&second.path().join("ledger")).unwrap().leaves;
    assert_eq!(verify(&first.path().join("ledger")).unwrap().leaves, leaves - 5);
}

#[tokio::test]
async fn what_cannot_be_copied_is_named() {
    let sound = log(2, 10).await;
    let copied = |change: &dyn Fn(&Path)| {
        let folder = copy(sound.path());
        change(&folder.path().join("ledger"));
        let to = TempDir::new().unwrap();
        copy_log(&RealDisk, &folder.path().join("ledger"), &to.path().join("ledger")).unwrap_err()
    };
    let failure = copied(&|ledger| fs::remove_file(ledger.join("checkpoint")).unwrap());
    assert!(matches!(failure, CopyError::Incomplete { .. }), "{failure}");
    let failure = copied(&|ledger| fs::write(ledger.join("tree/entries"), "").unwrap());
    assert!(matches!(failure, CopyError::TreeShort { size: 21, .. }), "{failure}");
    let failure = copied(&|ledger| {
        let path = segment(ledger.parent().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(matches!(failure, CopyError::Damaged { leaf: 11, .. }), "{failure}");
}

#[tokio::test]
async fn a_write_under_way_is_left_out() {
    let folder = log(2, 10).await;
    let mut bytes = fs::read(segment(folder.path())).unwrap();
    bytes.extend(b"SWgr, and then the power failed");
    fs::write(segment(folder.path()), bytes).unwrap();
    let (to, _) = copy_of(folder.path());
    assert_eq!(verify(&to.path().join("ledger")).unwrap().torn_bytes, 0);
    let name = KeyName::parse("sealwire.test/plant").unwrap();
    let signer = load_key(&folder.path().join("key"), name).unwrap();
    let (ledger, _writer) = Ledger::open(&to.path().join("ledger"), signer).unwrap();
    assert_holds(&ledger, 20);
}

#[tokio::test]
async fn every_damaged_segment_is_named_and_the_sound_ones_are_read() {
    let (folder, ledger, writer) = log_of_segments(4).await;
    writer.close().await.unwrap();
    let ledger_folder = folder.path().join("ledger");
    let checkpoint = ledger.published().checkpoint.clone();
    let sound = examine_segments(&RealDisk, &ledger_folder, checkpoint.size).unwrap();
    assert_eq!(sound.root, Some(checkpoint.root));
    assert!(sound.segments.iter().all(|found| found.damage.is_none() && found.differs.is_none()));
    assert!(sound.missing().is_empty());
    assert!(newest_received_at(&RealDisk, &ledger_folder).unwrap().is_some());
    assert_eq!(claimed_state(&RealDisk, &ledger_folder).unwrap().unwrap().size, ledger.size());

    for damaged in [0, 2] {
        let path = &sound.segments[damaged].path;
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    fs::remove_file(&sound.segments[1].path).unwrap();
    let found = examine_segments(&RealDisk, &ledger_folder, TreeSize::new(1)).unwrap();
    let damaged: Vec<bool> = found.segments.iter().map(|found| found.damage.is_some()).collect();
    assert_eq!(damaged, [true, true, false]);
    assert!(found.missing().is_empty(), "the first one may hold them");
    fs::remove_file(&sound.segments[0].path).unwrap();
    let found = examine_segments(&RealDisk, &ledger_folder, TreeSize::new(1)).unwrap();
    let first_leaf = found.segments[0].leaves.start;
    assert_eq!(found.missing().first(), Some(&(0..first_leaf)));
}

/// The real disk, with an action before a certain file is opened for reading.
pub(crate) struct Interrupted {
    countdown: Mutex<u32>,
    interruption: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Interrupted {
    pub(crate) fn at(moment: u32, interruption: impl FnOnce() + Send + 'static) -> Self {
        let interruption = Mutex::new(Some(Box::new(interruption) as _));
        Self { countdown: Mutex::new(moment), interruption }
    }

    pub(crate) fn was_interrupted(&self) -> bool {
        self.interruption.lock().unwrap().is_none()
    }
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Interrupted")
    }
}

impl Disk for Interrupted {
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
        if mode == Mode::Read {
            let mut countdown = self.countdown.lock().unwrap();
            match countdown.checked_sub(1) {
                Some(left) => *countdown = left,
                None => {
                    let interruption = self.interruption.lock().unwrap().take();
                    interruption.into_iter().for_each(|interruption| interruption());
                }
            }
        }
        RealDisk.open(path, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}
