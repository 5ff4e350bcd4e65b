//! The witness's folder: when the witness refuses to start, and what a failing disk does.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use durable::disk::{Disk, DiskFile, Mode, RealDisk};
use tempfile::TempDir;
use tlog::{Hash, PosixTime};
use witness::{LogList, OpenWitnessError, RecordError, Refusal, Witness, WitnessConfig};

use crate::house::{Log, open};

fn ask(witness: &Witness, log: &Log, old: u64, new: u64) -> Result<String, Refusal> {
    let at = PosixTime::new(1_700_000_000).unwrap();
    witness.add_checkpoint(&log.request(old, new).to_string(), at, Instant::now())
}

#[test]
fn a_new_witness_has_a_key_that_only_its_owner_can_read() {
    let folder = TempDir::new().unwrap();
    let list = LogList::default();
    let unnamed = WitnessConfig { data_dir: folder.path(), name: None, logs: &list };
    assert!(matches!(Witness::open(Arc::new(RealDisk), &unnamed), Err(OpenWitnessError::NoName)));
    let witness = open(folder.path(), "").unwrap();
    let key = folder.path().join("witness.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(open(folder.path(), ""), Err(OpenWitnessError::InUse { .. })));
    let vkey = witness.vkey().clone();
    drop(witness);
    // The witness keeps its name and key.
    let witness = Witness::open(Arc::new(RealDisk), &unnamed).unwrap();
    assert_eq!(*witness.vkey(), vkey);
    drop(witness);
    let renamed = WitnessConfig { name: Some("x.test"), ..unnamed };
    assert!(matches!(
        Witness::open(Arc::new(RealDisk), &renamed),
        Err(OpenWitnessError::OtherName { .. })
    ));
}

#[test]
fn what_a_witness_keeps_is_its_owners_alone() {
    let log = Log::new("log.test");
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("witness");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let witness = open(&data_dir, &log.listed(86_400)).unwrap();
    ask(&witness, &log, 0, 3).unwrap();
    drop(witness);
    let records: Vec<_> = fs::read_dir(data_dir.join("checkpoints")).unwrap().collect();
    let record = records.into_iter().next().unwrap().unwrap().path();
    let files = [record, data_dir.join("lock"), data_dir.join("witness.vkey")];
    let folders = [data_dir.clone(), data_dir.join("checkpoints")];
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        // In the form that an earlier version left.
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    for folder in &folders {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    open(&data_dir, &log.listed(86_400)).unwrap();
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert!(folders.iter().all(|folder| mode(folder) == 0o700));
    // Others may then know its key, so a person must decide.
    let key = data_dir.join("witness.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(&data_dir, ""), Err(OpenWitnessError::Key(_))));
}

#[test]
fn a_folder_that_lacks_a_part_is_refused() {
    let log = Log::new("log.test");
    for (spoil, says) in [
        (
            Box::new(|folder: &Path| fs::remove_file(folder.join("witness.key")))
                as Box<dyn Fn(&Path) -> io::Result<()>>,
            "witness.key is missing",
        ),
        (
            Box::new(|folder: &Path| fs::remove_dir_all(folder.join("checkpoints"))),
            "checkpoints is missing",
        ),
        (
            Box::new(|folder: &Path| {
                fs::write(folder.join("witness.key"), format!("{}\n", "5".repeat(64)))
            }),
            "is not the public half",
        ),
        (
            Box::new(|folder: &Path| fs::write(folder.join("witness.vkey"), "a\n")),
            "does not contain the witness's verifier key",
        ),
        (
            Box::new(|folder: &Path| {
                fs::set_permissions(folder.join("witness.key"), fs::Permissions::from_mode(0o644))
            }),
            "other accounts may read the key file",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        drop(open(folder.path(), &log.listed(9)).unwrap());
        spoil(folder.path()).unwrap();
        let refused = open(folder.path(), &log.listed(9)).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn a_record_that_the_witness_did_not_sign_is_not_believed() {
    let log = Log::new("log.test");
    let folder = TempDir::new().unwrap();
    let witness = open(folder.path(), &log.listed(9)).unwrap();
    ask(&witness, &log, 0, 3).unwrap();
    drop(witness);
    let record = folder.path().join("checkpoints").join(Hash::sha256(b"log.test").to_string());
    let good = fs::read_to_string(&record).unwrap();
    let unsigned = log.checkpoint(3).to_string();
    for bad in [&unsigned, &good.replacen("\n3\n", "\n2\n", 1), &good[..good.len() - 9], ""] {
        fs::write(&record, bad).unwrap();
        assert!(matches!(
            open(folder.path(), &log.listed(9)),
            Err(OpenWitnessError::Record(RecordError::NotOurs { .. }))
        ));
    }
    fs::write(&record, good).unwrap();
    // The remains of an interrupted replacement are ignored.
    fs::write(record.with_extension("next"), "torn").unwrap();
    let witness = open(folder.path(), &log.listed(9)).unwrap();
    ask(&witness, &log, 3, 4).unwrap();
}

/// A disk that fails on demand.
#[derive(Debug, Default)]
struct FailingDisk {
    write: AtomicBool,
    rename: AtomicBool,
    sync_folder: AtomicBool,
}

fn fail_if(fails: &AtomicBool) -> io::Result<()> {
    if fails.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

impl Disk for FailingDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.create_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fail_if(&self.sync_folder)?;
        RealDisk.sync_folder(folder)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        if mode != Mode::Read {
            fail_if(&self.write)?;
        }
        RealDisk.open(path, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fail_if(&self.rename)?;
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

#[test]
fn nothing_is_cosigned_that_is_not_recorded() {
    let log = Log::new("log.test");
    let list = LogList::parse(&format!("logs/v0\n{}", log.listed(86_400))).unwrap();
    //  (what fails, whether the witness can go on without looking at the disk again)
    type Switch = fn(&FailingDisk) -> &AtomicBool;
    for (switch, goes_on) in [
        ((|disk| &disk.write) as Switch, true),
        (|disk| &disk.rename, false),
        (|disk| &disk.sync_folder, false),
    ] {
        let (folder, disk) = (TempDir::new().unwrap(), Arc::new(FailingDisk::default()));
        let config = WitnessConfig { data_dir: folder.path(), name: Some("w.test"), logs: &list };
        let witness = Witness::open(Arc::<FailingDisk>::clone(&disk), &config).unwrap();
        ask(&witness, &log, 0, 3).unwrap();
        switch(&disk).store(true, Ordering::Relaxed);
        assert!(matches!(ask(&witness, &log, 3, 5), Err(Refusal::Storage)));
        switch(&disk).store(false, Ordering::Relaxed);
        let fork = log.fork(4);
        match ask(&witness, &fork, 3, 5) {
            Ok(_) => assert!(goes_on),
            Err(refusal) => assert!(!goes_on && matches!(refusal, Refusal::Storage), "{refusal}"),
        }
        drop(witness);
        // A start continues with the record that is there: the old or the new one.
        let witness = Witness::open(Arc::<FailingDisk>::clone(&disk), &config).unwrap();
        let Err(refusal) = ask(&witness, &log, 0, 9) else { panic!("it has forgotten") };
        let recorded = refusal.conflict().unwrap().get();
        assert!([3, 5].contains(&recorded), "{recorded}");
    }
}
