//! Examines a site's data directory and reports what is wrong, what it means and what to do about
//! it. Changes nothing; a site may run in the directory.
//!
//! `ledger::verify` decides whether the log is right, and stops at the first fault. After a fault,
//! this module reads each segment by itself. If the segments lead to the signed root, they are
//! right, and any other file that differs can be rebuilt from them.

mod findings;
mod index;
mod log;
mod start;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::SeedError;
use ledger::{KeyError, LogReader, OpenError, disk::RealDisk, examine::claimed_checkpoint};
use model::Timestamp;
use model::error_chain;

use self::{findings::Findings, log::Log};
use crate::{
    backup::{Backup, BackupError, KeyFile},
    folder::{DESCRIPTION, DataDir, DataDirError, KEY, NEXT_KEY, ORDERS, WITNESS_POLICY},
};

pub use self::{
    findings::{Finding, Verdict},
    start::{Start, StartError, StartFile},
};

/// Free bytes below which a warning is due: several times a segment of 64 MiB, its tree files and
/// the growth of the index meanwhile.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// Free bytes below which the next segment does not fit.
const FREE_BYTES_MIN: u64 = ledger::segment::SEGMENT_BYTES_MAX;

/// What to examine.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The site's data directory.
    pub data_dir: &'a Path,
    /// Path of the log's secret key, if it is not in the directory.
    pub key_file: Option<&'a Path>,
    /// A backup from which segments could replace damaged ones.
    pub against: Option<&'a Path>,
    /// Time of the machine's clock.
    pub now: Timestamp,
    /// The files that a start reads, and how.
    pub start: Start<'a>,
}

/// Examines a site's data directory. `progress` receives a message at each step.
#[must_use]
pub fn examine(request: Request<'_>, progress: &mut dyn FnMut(&str)) -> Vec<Finding> {
    let Request { data_dir, key_file, against, now, start } = request;
    let mut findings = Findings::default();
    let Some(name) = layout(data_dir, &mut findings) else { return findings.0 };
    let is_running = lock(data_dir, &mut findings);
    space(data_dir, &mut findings);
    progress("reading the log");
    let ledger = DataDir::ledger_of(data_dir);
    let log = Log::examine(&ledger, is_running, against, &mut findings, progress);
    let key_file = key_file.map_or_else(|| data_dir.join(KEY), Path::to_owned);
    keys(data_dir, &key_file, &name, log.vkey.as_deref(), &mut findings);
    for StartFile { check, read, remedy } in start.files {
        match read(data_dir) {
            Ok(found) => findings.ok(check, found),
            Err(error) => findings.failed(check, error_chain(&*error), *remedy),
        }
    }
    witnesses(data_dir, start.read_policy, &mut findings);
    clock(log.received_at, now, &mut findings);
    progress("comparing the index with the log");
    index::examine(data_dir, &log, is_running, &mut findings);
    leftovers(data_dir, is_running, &mut findings);
    findings.0
}

fn layout(data_dir: &Path, findings: &mut Findings) -> Option<String> {
    let error = match DataDir::name_of(data_dir) {
        Ok(name) => {
            findings.ok("layout", format!("it is the site `{name}`, in a supported version"));
            return Some(name);
        }
        Err(error) => error,
    };
    let description = data_dir.join(DESCRIPTION);
    let remedy = match &error {
        DataDirError::NoSite { .. } if Backup::open(data_dir).is_ok() => String::from(
            "it is a backup: verify it with `sealwire verify`, or restore it with `sealwire restore`",
        ),
        DataDirError::NoSite { .. } if !DataDir::ledger_of(data_dir).is_dir() => {
            String::from("name the site's data directory with --data-dir")
        }
        DataDirError::NoSite { .. } | DataDirError::Description { .. } => {
            let name =
                name_in_checkpoint(data_dir).unwrap_or_else(|| String::from("the site's name"));
            format!(r#"write {{"version":1,"name":"{name}"}} to {}"#, description.display())
        }
        DataDirError::Version { .. } => String::from("use the sealwire that wrote it"),
        _ => format!(
            "make {} readable, and check it against docs/formats/ledger.md",
            description.display()
        ),
    };
    findings.failed("layout", error_chain(&error), remedy);
    None
}

/// The site's name, taken from the log's checkpoint.
fn name_in_checkpoint(data_dir: &Path) -> Option<String> {
    let (checkpoint, _) =
        claimed_checkpoint(&RealDisk, &DataDir::ledger_of(data_dir)).ok().flatten()?;
    let origin = checkpoint.origin.to_string();
    origin.strip_prefix(&DataDir::origin_of("")).map(str::to_owned)
}

fn lock(data_dir: &Path, findings: &mut Findings) -> bool {
    match DataDir::is_in_use(data_dir) {
        Ok(true) => {
            findings.ok(
                "lock",
                "a site is running in it, so files that it is changing are not checked",
            );
            true
        }
        Ok(false) => {
            findings.ok("lock", "no site is running in it");
            false
        }
        Err(error) => {
            let remedy = "run doctor as the account that runs the site";
            findings.failed("lock", format!("cannot check the lock: {error}"), remedy);
            false
        }
    }
}

fn space(data_dir: &Path, findings: &mut Findings) {
    let free = match rustix::fs::statvfs(data_dir) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            return findings.skipped("space", format!("cannot read the free space: {error}"));
        }
    };
    let found = format!("{} MiB are free on the file system", free >> 20);
    let remedy = "free some space: a site that cannot write seals nothing until it can";
    match free {
        0..FREE_BYTES_MIN => findings.failed("space", found, remedy),
        FREE_BYTES_MIN..FREE_BYTES_LOW => findings.warn("space", found, remedy),
        _ => findings.ok("space", found),
    }
}

/// Checks that the secret keys exist, belong to the log and are closed to other accounts. `vkey` is
/// the log's key, as far as it is known.
fn keys(data_dir: &Path, file: &Path, name: &str, vkey: Option<&str>, findings: &mut Findings) {
    let known = match KeyFile::all(file, name) {
        Ok(known) => known,
        Err(error) => {
            let remedy = match &error {
                BackupError::Key(KeyError::Seed(SeedError::Open { path, .. })) => {
                    let path = path.display();
                    format!(
                        "run `chmod 600 {path}`; if someone else may have read it, replace the key (`sealwire log rotate-key`)"
                    )
                }
                _ => String::from(
                    "put the key file back from your copy: without it the log cannot be continued",
                ),
            };
            // This uses the messages of a start, which has nothing to do with backups.
            let found = match error {
                BackupError::Key(error) => error_chain(&error),
                BackupError::Io { path, source } => error_chain(&SeedError::Io { path, source }),
                other => error_chain(&other),
            };
            return findings.failed("key", found, remedy);
        }
    };
    let Some(vkey) = vkey else {
        return findings.skipped("key", "cannot read from the log which key it has");
    };
    let path = file.display();
    let put_back = "put it back from your copy, with mode 600, or name its file with --key-file";
    match known.iter().find(|key| key.signer.vkey().to_string() == vkey) {
        Some(key) if key.file == KEY => {
            findings.ok("key", format!("{path} is the log's key, and only its owner can read it"));
        }
        Some(_) => {
            let found = format!("the log has changed to the key in {path}.next");
            findings.warn("key", found, "the next start moves it to its place");
        }
        None if known.is_empty() => {
            let log = DataDir::ledger_of(data_dir);
            let missing = KeyError::Missing { path: file.to_owned(), log };
            findings.failed(
                "key",
                error_chain(&missing),
                format!("the log's key is {vkey}: {put_back}"),
            );
        }
        None => {
            let other = OpenError::OtherKey { named: vkey.to_owned() };
            findings.failed(
                "key",
                error_chain(&other),
                format!("{path} holds another key: {put_back}"),
            );
        }
    }
}

fn witnesses(
    data_dir: &Path,
    read_policy: fn(&Path, &LogReader) -> Result<Option<usize>, StartError>,
    findings: &mut Findings,
) {
    let log = match LogReader::open(Arc::new(RealDisk), &DataDir::ledger_of(data_dir), None) {
        Ok(log) => log,
        Err(error) => {
            let why = format!("cannot read the log to check the policy: {}", error_chain(&error));
            return findings.skipped("witnesses", why);
        }
    };
    match read_policy(data_dir, &log) {
        Ok(None) => {
            findings.ok(
                "witnesses",
                format!("there is no {WITNESS_POLICY}, so the site asks no witnesses"),
            );
        }
        Ok(Some(count)) => {
            findings.ok(
                "witnesses",
                format!("the policy names {count} witnesses and can be satisfied"),
            );
        }
        Err(error) => {
            findings.failed(
                "witnesses",
                error_chain(&*error),
                "correct the file: no site can start with it",
            );
        }
    }
}

fn clock(received_at: Option<Timestamp>, now: Timestamp, findings: &mut Findings) {
    match received_at {
        None => findings.skipped("clock", "no envelope could be read for its time"),
        Some(newest) if newest > now => {
            let found = format!(
                "the newest envelope was received at {newest}, but the machine's clock says {now}"
            );
            let remedy = "set the clock; until it passes that time, every new event gets that time as received_at";
            findings.warn("clock", found, remedy);
        }
        Some(newest) => {
            findings.ok("clock", format!("the newest envelope was received at {newest}"));
        }
    }
}

/// Files that an interrupted write left, and old logs of engines.
fn leftovers(data_dir: &Path, is_running: bool, findings: &mut Findings) {
    if is_running {
        return findings
            .skipped("leftovers", "a running site may have unfinished files for a moment");
    }
    let ledger = DataDir::ledger_of(data_dir);
    let folders = [
        (data_dir.to_owned(), ".next"),
        (data_dir.to_owned(), ".unfinished"),
        (data_dir.to_owned(), "run.json"),
        (data_dir.to_owned(), ORDERS),
        (ledger.clone(), ".next"),
        (ledger.join("segments"), ".next"),
        (ledger.join("tree"), ".next"),
        (data_dir.join("hosts"), ".log.old"),
        (data_dir.join("nats"), ".log.old"),
        (data_dir.join("wash"), ".log.old"),
        (data_dir.join("guests"), ".log.old"),
    ];
    let left = folders.iter().flat_map(|(folder, end)| ending(folder, end));
    // The next key of a rotation is not left over: it may be the log's.
    let left: Vec<PathBuf> = left.filter(|path| !path.ends_with(NEXT_KEY)).collect();
    if left.is_empty() {
        findings.ok("leftovers", "no files are left over from an interrupted write");
        return;
    }
    let names: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
    let found = format!("an interrupted write or an earlier run left files: {}", names.join(", "));
    findings.warn("leftovers", found, "harmless: nothing reads them, and you may delete them");
}

fn ending(folder: &Path, end: &str) -> Vec<PathBuf> {
    // If a folder cannot be listed, another check misses the files that must be in it.
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let paths = entries.unwrap_or_default().into_iter().map(|entry| entry.path());
    paths.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}
