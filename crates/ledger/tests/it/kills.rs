//! Runs kill -9 in a loop: a process appends under load and is killed. The log that it leaves is
//! compared with everything that it acknowledged, and the next process continues it.
//!
//! The process is this test binary; [`FOLDER`] makes it run [`appends_until_it_is_killed`]. It
//! prints what it acknowledges, and the parent keeps that. The number of rounds is 10, unless
//! [`ROUNDS`] sets another; `cargo xtask kills` runs 100. The module `faults` tests losses of
//! power, because a kill leaves the page cache.

use std::{
    collections::HashSet,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use ledger::{
    AppendError, EraseError, Erasure, LeafRanges, Ledger, Storage, Writer, disk::RealDisk,
    verify::verify_folder,
};
use model::Timestamp;
use tempfile::TempDir;
use tlog::Hash;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{Batch, event, message_of, signer};

/// Environment variable with the log's folder, for the process to kill.
const FOLDER: &str = "SEALWIRE_KILLS_FOLDER";
/// Environment variable with the number of rounds.
const ROUNDS: &str = "SEALWIRE_KILLS_ROUNDS";
/// Default number of rounds.
const ROUNDS_DEFAULT: u64 = 10;
/// Number of simultaneous appenders.
const TASKS: u64 = 16;
/// Acknowledgements after which a process is killed at the latest.
const ACKNOWLEDGED_MAX: u64 = 150;
/// Small enough that segments are begun and rewritten throughout.
const SEGMENT_BYTES_MAX: u64 = 16 << 10;
/// Room that a round on a small file system adds: some hundred batches.
const ROOM_PER_ROUND: u64 = 64 << 10;
/// Room that the parent needs to open a log again.
const ROOM_TO_OPEN: u64 = 4 << 20;

fn open(folder: &Path) -> (Ledger, Writer) {
    let storage =
        Storage { segment_bytes_max: SEGMENT_BYTES_MAX, ..Storage::from(Arc::new(RealDisk)) };
    Ledger::open_on(storage, &folder.join("ledger"), signer(folder)).unwrap()
}

/// Not a test of its own: the process that the others kill.
#[test]
#[ignore = "the process that the tests of this module start and kill"]
fn appends_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    println!("opening .");
    Runtime::new().unwrap().block_on(async {
        let (ledger, _writer) = open(Path::new(&folder));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn(append_for_ever(ledger.clone(), task));
        }
        tasks.spawn(publish_and_erase_for_ever(ledger));
        tasks.join_all().await;
    });
}

/// Seals batches of 1 to 4 messages, each unique in the whole log, and prints when each batch is
/// acknowledged.
async fn append_for_ever(ledger: Ledger, task: u64) {
    let process = std::process::id();
    for number in 0_u64.. {
        let name = format!("{process}-{}-{task}-{number}", ledger.published().checkpoint.size);
        let count = 1 + number % 4;
        let events = (0..count).map(|part| event(format!("{name}/{part}"))).collect();
        match ledger.append(Batch::of(events)).await {
            Ok(receipt) => {
                let entries = ledger.entries(receipt.first_leaf, count as usize).unwrap();
                let digest = digest_of(&entries);
                // The line end shows that the line is complete.
                println!("sealed {} {count} {name} {digest} .", receipt.first_leaf);
            }
            Err(AppendError::Write(_)) => println!("refused ."),
            Err(error) => panic!("{error}"),
        }
        // On a full disk refusals come at once; this lets the others run too.
        tokio::task::yield_now().await;
    }
}

async fn publish_and_erase_for_ever(ledger: Ledger) {
    // Among the leaves of earlier processes.
    let mut next = ledger.size() / 2;
    loop {
        ledger.publish_checkpoint().await.unwrap();
        if ledger.size() > next {
            let leaves = LeafRanges::from_leaves(vec![next]);
            let (actor, reason) = ("tester".into(), "a test".into());
            let erasure = Erasure { leaves, actor, reason };
            match ledger.erase(erasure, Timestamp::from_unix_micros(0)).await {
                Ok(_) => println!("erased {next} ."),
                // The leaf is the log's own or already erased, or there is no room to rewrite a
                // segment.
                Err(EraseError::OfTheLog { .. } | EraseError::Nothing) => {}
                Err(EraseError::Io { .. } | EraseError::Append(AppendError::Write(_))) => {}
                Err(error) => panic!("{error}"),
            }
            next += 40;
        }
    }
}

fn digest_of(entries: &[Hash]) -> Hash {
    Hash::sha256(&entries.iter().flat_map(|entry| *entry.as_bytes()).collect::<Vec<_>>())
}

/// What the killed processes printed.
#[derive(Debug, Default)]
struct Said {
    sealed: Vec<Sealed>,
    erased: HashSet<u64>,
    refused: u64,
    /// Leaves that were sealed but not acknowledged.
    unacknowledged: usize,
}

#[derive(Debug)]
struct Sealed {
    first_leaf: u64,
    count: u64,
    name: String,
    digest: String,
}

impl Said {
    /// Takes a line. A line that the kill cut off counts for nothing.
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["sealed", first_leaf, count, name, digest, "."] => self.sealed.push(Sealed {
                first_leaf: first_leaf.parse().unwrap(),
                count: count.parse().unwrap(),
                name: (*name).to_owned(),
                digest: (*digest).to_owned(),
            }),
            ["erased", leaf, "."] => drop(self.erased.insert(leaf.parse().unwrap())),
            ["refused", "."] => self.refused += 1,
            _ => {}
        }
    }

    fn leaves(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.count).sum()
    }

    /// Compares the log with everything that was printed.
    fn check(&mut self, ledger: &Ledger) {
        let stored = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
        let entries = ledger.entries(0, stored.len()).unwrap();
        let mut messages = HashSet::new();
        for (stored, entry) in stored.iter().zip(&entries) {
            if let Some(bytes) = &stored.bytes {
                assert_eq!(Hash::sha256(bytes), *entry, "leaf {}", stored.leaf);
                let message = message_of(bytes);
                let is_ours = message.contains('/');
                assert!(
                    !is_ours || messages.insert(message),
                    "leaf {} is there twice",
                    stored.leaf
                );
            }
        }
        for Sealed { first_leaf, count, name, digest } in &self.sealed {
            let range = *first_leaf as usize..(first_leaf + count) as usize;
            let entries = entries.get(range.clone()).expect("an acknowledged batch is lost");
            assert_eq!(digest_of(entries).to_string(), *digest, "{name}");
            for (part, stored) in stored[range].iter().enumerate() {
                let message = stored.bytes.as_deref().map(message_of);
                let is_there = message.is_none_or(|message| message == format!("{name}/{part}"));
                assert!(is_there, "{name} at leaf {}", stored.leaf);
            }
        }
        for leaf in &self.erased {
            assert!(stored[*leaf as usize].bytes.is_none(), "leaf {leaf} was erased");
        }
        let acknowledged: HashSet<u64> = self
            .sealed
            .iter()
            .flat_map(|sealed| sealed.first_leaf..sealed.first_leaf + sealed.count)
            .collect();
        let is_appended = |bytes: &Vec<u8>| message_of(bytes).contains('/');
        self.unacknowledged = stored
            .iter()
            .filter(|stored| stored.bytes.as_ref().is_some_and(is_appended))
            .filter(|stored| !acknowledged.contains(&stored.leaf))
            .count();
    }
}

/// Starts a process that appends, and kills it after this many acknowledgements or refusals. With
/// 0, kills it while it opens the log.
fn run_and_kill(folder: &Path, after: u64, until_refused: bool, said: &mut Said) {
    let mut process: Child = Command::new(env::current_exe().unwrap())
        .args(["kills::appends_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (refused, sealed) = (said.refused, said.sealed.len() as u64);
    for line in lines.by_ref() {
        let line = line.unwrap();
        said.take(&line);
        let counted =
            if until_refused { said.refused - refused } else { said.sealed.len() as u64 - sealed };
        if line.ends_with("opening .") && after == 0 || counted >= after.max(1) {
            break;
        }
    }
    let ended = process.try_wait().unwrap();
    assert!(ended.is_none(), "the process ended by itself: {ended:?}");
    process.kill().unwrap();
    process.wait().unwrap();
    // Everything that it had printed by then counts, whether or not it was read.
    lines.map_while(Result::ok).for_each(|line| said.take(&line));
}

/// Opens what a killed process left as the next process would, compares it with what was printed,
/// and verifies it.
fn check(folder: &Path, said: &mut Said) {
    Runtime::new().unwrap().block_on(async {
        let (ledger, writer) = open(folder);
        said.check(&ledger);
        writer.close().await.unwrap();
    });
    verify_folder(&RealDisk, &folder.join("ledger"), None, &mut |_| {}).unwrap();
}

fn rounds() -> u64 {
    env::var(ROUNDS).map_or(ROUNDS_DEFAULT, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Numbers up to `max`, spread by a step that is coprime to it.
fn spread(round: u64, max: u64) -> u64 {
    round * 61 % (max + 1)
}

fn report(what: &str, rounds: u64, said: &Said) {
    eprintln!(
        "{what}: {rounds} kills, {} batches of {} leaves acknowledged and found, {} leaves beside them, {} refusals, {} erasures",
        said.sealed.len(),
        said.leaves(),
        said.unacknowledged,
        said.refused,
        said.erased.len()
    );
}

#[test]
fn a_log_outlives_every_kill() {
    let folder = TempDir::new().unwrap();
    let mut said = Said::default();
    for round in 0..rounds() {
        run_and_kill(folder.path(), spread(round, ACKNOWLEDGED_MAX), false, &mut said);
        check(folder.path(), &mut said);
    }
    assert!(!said.sealed.is_empty());
    report("kill -9", rounds(), &said);
}

/// A file system in memory whose size can be changed. Mounting it needs root.
struct SmallFileSystem(TempDir);

impl SmallFileSystem {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={ROOM_TO_OPEN}"), "tmpfs"])
            .arg(folder.path())
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(folder))
    }

    fn resize(&self, bytes: u64) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,size={bytes}")]).arg(self.0.path());
        assert!(command.status().unwrap().success(), "a file system of {bytes} bytes");
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_log_outlives_every_kill_on_a_full_file_system() {
    let Some(system) = SmallFileSystem::mount() else {
        eprintln!("skipped: a small file system can only be mounted by root, on Linux");
        return;
    };
    let folder = system.0.path();
    let mut said = Said::default();
    let mut room = 2 * ROOM_PER_ROUND;
    for round in 0..rounds() {
        room += ROOM_PER_ROUND;
        system.resize(room);
        run_and_kill(folder, 1 + spread(round, 40), true, &mut said);
        system.resize(room + ROOM_TO_OPEN);
        check(folder, &mut said);
    }
    assert!(said.refused >= rounds() && !said.sealed.is_empty());
    report("kill -9 on a full file system", rounds(), &said);
}
