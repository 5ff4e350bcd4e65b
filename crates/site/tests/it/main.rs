//! A site's folder without a running site: it is copied, restored and examined.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod backups;
mod doctor;
mod exports;
mod orders;
mod pangea;
mod unsigned;

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_dir::{
    DataDir,
    backup::{BackedUp, BackupError, Request, backup},
};
use durable::Stop;
use ledger::{Batch, Erasure, Ledger, Writer, load_or_create_key};
use model::{Event, Timestamp};
use tempfile::TempDir;
use tlog::{KeyName, Signer};

/// A folder in the form that a site creates, and its open log.
struct Plant {
    folder: TempDir,
    ledger: Ledger,
    writer: Writer,
}

impl Plant {
    /// A log of several segments.
    async fn new() -> Self {
        let plant = Self::open(TempDir::new().unwrap());
        plant.seal(40).await;
        for _segment in 1..3 {
            // Erasing a leaf of the newest segment closes that segment.
            plant.erase(plant.ledger.size() - 1).await;
            plant.seal(40).await;
        }
        plant
    }

    fn open(folder: TempDir) -> Self {
        let data_dir = folder.path().join("data");
        drop(DataDir::open(&data_dir, Some("plant")).unwrap());
        let (ledger, writer) = Ledger::open(&data_dir.join("ledger"), signer(&data_dir)).unwrap();
        Self { folder, ledger, writer }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn backup_dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    async fn seal(&self, count: usize) {
        let event = |number: usize| {
            Event::site("TEST", "test", number.to_string(), Timestamp::from_unix_micros(0))
        };
        self.ledger.append(Batch::of((0..count).map(event).collect())).await.unwrap();
        self.ledger.publish_checkpoint().await.unwrap();
    }

    async fn erase(&self, leaf: u64) {
        let (actor, reason) = (String::from("tester"), String::from("a test"));
        let erasure = Erasure { leaves: leaf.to_string().parse().unwrap(), actor, reason };
        self.ledger.erase(erasure, Timestamp::from_unix_micros(0)).await.unwrap();
        self.ledger.publish_checkpoint().await.unwrap();
    }

    /// Closes the log.
    async fn close(self) -> TempDir {
        self.writer.close().await.unwrap();
        self.folder
    }
}

fn back_up(data_dir: &Path, target: &Path) -> Result<BackedUp, BackupError> {
    backup(
        Request { data_dir, target, with_keys: false, key_file: None, stop: &Stop::default() },
        &mut |_| {},
    )
}

fn signer(data_dir: &Path) -> Signer {
    let name = KeyName::parse("sealwire.local/plant").unwrap();
    load_or_create_key(&data_dir.join("site.key"), name, &data_dir.join("ledger")).unwrap()
}

/// Every file under a folder with its content, to see that nothing was changed.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (file, content) in content(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, content).unwrap();
        fs::set_permissions(target, fs::metadata(file).unwrap().permissions()).unwrap();
    }
}

/// Changes the last byte of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The segments in a ledger's folder, in order.
fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir.join("ledger/segments")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
