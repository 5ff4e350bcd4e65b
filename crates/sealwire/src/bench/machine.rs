//! Figures of the bare machine, to compare ours with.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tempfile::TempDir;
use tlog::Hash;

use super::figures::percentile;

/// Measuring time for each figure.
const MEASURED: Duration = Duration::from_millis(500);
/// Size of one large write in bytes.
const LARGE_WRITE_BYTES: usize = 1 << 20;
/// Large writes before an fdatasync. Together they have the size of a full commit group, about.
const LARGE_WRITES: usize = 64;

/// A folder on the disk to measure, which is removed in the end.
pub(crate) fn temporary(folder: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("sealwire-bench-")
        .tempdir_in(folder)
        .with_context(|| format!("cannot make a folder in {}", folder.display()))
}

/// What the machine does without our code, beside the figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Bare {
    pub(crate) bare_write_fdatasync_p50_us: f64,
    pub(crate) bare_sha256_per_s: f64,
}

impl Bare {
    /// Times so many writes in a folder, and hashes messages of the same size.
    pub(crate) fn measure(folder: &Path, record_bytes: usize, writes: usize) -> Result<Self> {
        let bare_sha256_per_s = sha256_per_s(record_bytes);
        let mut log = BareLog::create(folder, record_bytes)?;
        let mut times = (0..writes).map(|_| log.append()).collect::<io::Result<Vec<_>>>()?;
        times.sort_unstable();
        Ok(Self { bare_write_fdatasync_p50_us: percentile(&times, 50) * 1e3, bare_sha256_per_s })
    }

    /// Both, as rows of a table.
    pub(crate) const fn rows(&self) -> [(&'static str, Option<f64>, &'static str); 2] {
        let Self { bare_write_fdatasync_p50_us: write, bare_sha256_per_s: hashes } = *self;
        [
            ("this machine: write and fdatasync, p50, us", Some(write), ""),
            ("  SHA-256 of an envelope, on one core, per s", Some(hashes), ""),
        ]
    }
}

/// SHA-256 hashes per second on one core, of messages with this many bytes.
pub(crate) fn sha256_per_s(message_bytes: usize) -> f64 {
    let message = vec![b'x'; message_bytes];
    let mut hashed = 0_u32;
    let begin = Instant::now();
    while begin.elapsed() < MEASURED {
        for _ in 0..1_000 {
            std::hint::black_box(Hash::sha256(std::hint::black_box(&message)));
        }
        hashed += 1_000;
    }
    f64::from(hashed) / begin.elapsed().as_secs_f64()
}

/// Megabytes per second of large writes, with an fdatasync after each 64 MiB.
pub(crate) fn write_mb_per_s(folder: &Path) -> io::Result<f64> {
    let path = folder.join("bare-large");
    let mut file = File::create(&path)?;
    let chunk = vec![b'x'; LARGE_WRITE_BYTES];
    let begin = Instant::now();
    let mut megabytes = 0.0;
    while begin.elapsed() < MEASURED {
        for _ in 0..LARGE_WRITES {
            file.write_all(&chunk)?;
            megabytes += 1.048_576;
        }
        file.sync_data()?;
    }
    let rate = megabytes / begin.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// A file that grows by small writes, each with its own fdatasync.
#[derive(Debug)]
pub(crate) struct BareLog {
    file: File,
    record: Vec<u8>,
}

impl BareLog {
    pub(crate) fn create(folder: &Path, record_bytes: usize) -> io::Result<Self> {
        Ok(Self { file: File::create(folder.join("bare-log"))?, record: vec![b'x'; record_bytes] })
    }

    /// Writes one record and calls fdatasync. Returns how long both took.
    pub(crate) fn append(&mut self) -> io::Result<Duration> {
        let begin = Instant::now();
        self.file.write_all(&self.record)?;
        self.file.sync_data()?;
        Ok(begin.elapsed())
    }
}
