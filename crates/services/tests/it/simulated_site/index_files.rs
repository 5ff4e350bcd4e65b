//! The index's files, which are real: SQLite writes them. A crash leaves them, cuts them or takes
//! them away.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::PathBuf,
    sync::Arc,
};

use durable::simulated_disk::SimulatedDisk;
use index::{Comparison, IndexBatch, Trouble};
use ledger::{LogReader, examine::claimed_state};
use model::Envelope;
use tempfile::TempDir;

use super::{
    truth::Truth,
    world::{World, folder},
};

const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

pub(super) struct IndexFiles {
    folder: TempDir,
    /// What was in the files when the process was killed.
    kept: RefCell<Option<[Option<Vec<u8>>; 3]>>,
    /// Whether a crash has cut the database. What reads a missing page finds the damage, and a site
    /// may stop before anything does. The last page of a long row can be missed by SQLite itself:
    /// it then has zeros there, and the row fewer leaves.
    is_cut: Cell<bool>,
}

impl IndexFiles {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), kept: RefCell::new(None), is_cut: Cell::new(false) }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("index.sqlite")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("index.sqlite{suffix}"))
    }

    /// Keeps what a killed process leaves. Closing the files would write more into them.
    pub(super) fn keep(&self) {
        let read = |suffix: &str| fs::read(self.beside(suffix)).ok();
        self.kept.replace(Some(SUFFIXES.map(read)));
    }

    /// Leaves to the next process what the last one left, or less of it.
    pub(super) fn after(&self, world: &World) {
        let Some(kept) = self.kept.take() else { return };
        let fate = world.dice.below(6);
        world.note(|| format!("the index's fate: {fate}"));
        for (suffix, bytes) in SUFFIXES.iter().zip(kept) {
            let path = self.beside(suffix);
            // SQLite makes the shared memory again.
            let bytes = bytes.filter(|_| *suffix != "-shm");
            let Some(mut bytes) = bytes.filter(|_| fate != 0) else {
                let _not_there = fs::remove_file(&path);
                continue;
            };
            let cuts_database = fate == 1 && suffix.is_empty();
            self.is_cut.set(self.is_cut.get() || cuts_database);
            if cuts_database || (fate == 2 && *suffix == "-wal") {
                let len = world.dice.below(bytes.len() as u64 + 1);
                bytes.truncate(len as usize);
            }
            fs::write(&path, bytes).unwrap();
        }
    }

    /// Holds the index of a stopped site against its log.
    pub(super) fn compare(&self, disk: &SimulatedDisk, truth: &Truth) {
        // A crash, or a stop that came to its time limit, leaves what the next start does.
        let Some(mut comparison) = Comparison::begin(&self.path(), false).unwrap() else { return };
        if !claimed_state(disk, folder()).unwrap().unwrap().erasing.is_empty() {
            return;
        }
        let log = LogReader::open(Arc::new(disk.clone()), folder(), None).unwrap();
        let end = comparison.next_leaf();
        assert!(end <= log.size(), "the index has {end} leaves, the log {}", log.size());
        let mut next_leaf = 0;
        while next_leaf < end {
            let mut batch = IndexBatch::new(next_leaf);
            let count = batch.room().min((end - next_leaf) as usize);
            let stored = log.envelopes(next_leaf, count, usize::MAX).unwrap();
            batch.extend(stored.into_iter().map(|stored| Envelope::parse(&stored.bytes?).ok()));
            next_leaf = batch.next_leaf();
            comparison.take_in(&batch);
        }
        let differences = comparison.finish(|leaf| truth.ordered_from(end).contains(leaf));
        let is_damaged = match &differences {
            Ok(differences) => !differences.is_empty(),
            Err(error) => error.trouble() == Trouble::Damage,
        };
        if is_damaged && self.is_cut.take() {
            // What an operator does then, as `sealwire doctor` says.
            for suffix in SUFFIXES {
                let _not_there = fs::remove_file(self.beside(suffix));
            }
            return;
        }
        let differences = differences.unwrap();
        assert!(differences.is_empty(), "{differences:?}");
        if end == log.size() && !self.forgets() {
            let bytes: Vec<u8> =
                SUFFIXES.iter().filter_map(|it| fs::read(self.beside(it)).ok()).flatten().collect();
            for word in truth.erased_words() {
                let is_there = bytes.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!is_there, "the index still has {word}, which was erased");
            }
        }
    }

    /// Whether the index has yet to forget what was erased.
    fn forgets(&self) -> bool {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.query_row("SELECT forgets FROM log", [], |row| row.get(0)).unwrap()
    }
}
