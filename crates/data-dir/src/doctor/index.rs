//! Checks the index: whether it can be used, how far it is, and whether it agrees with the log.

use std::{path::Path, sync::Arc};

use index::{Comparison, Difference, Examined, IndexBatch, IndexError};
use ledger::{
    LeafRanges, LogReader, OpenReaderError, ReadError, disk::RealDisk, examine::claimed_state,
};
use model::error_chain;
use model::{Envelope, action};

use super::{findings::Findings, log::Log, start::StartError};
use crate::folder::{DataDir, INDEX, index_can_lie};

/// Bytes of envelopes held in memory at once.
const READ_BYTES: usize = 1 << 20;
/// Envelopes read at once when only orders of erasure are wanted.
const READ_LEAVES: usize = 4_096;
/// Differences between index and log that are named. The others are only counted, because nobody
/// reads more.
const NAMED_MAX: usize = 8;

const MADE_AGAIN: &str = "the next start rebuilds it from the log";

pub(super) fn examine(data_dir: &Path, log: &Log, is_running: bool, findings: &mut Findings) {
    let path = data_dir.join(INDEX);
    let remake = format!(
        "stop the site, and delete {0}, {0}-wal and {0}-shm: the next start rebuilds the index from the log",
        path.display()
    );
    let found = match read(data_dir, is_running) {
        Ok(Some(found)) => found,
        Ok(None) if path.exists() => {
            return findings.warn("index", "SQLite cannot read it", MADE_AGAIN);
        }
        Ok(None) => return findings.ok("index", format!("there is none; {MADE_AGAIN}")),
        Err(error) => return findings.failed("index", error_chain(&*error), remake),
    };
    let Examined::Current { log: followed, next_leaf, damage } = found else {
        return findings.warn("index", "it has another version", MADE_AGAIN);
    };
    if let Some(damage) = damage {
        return findings.failed("index", format!("it is damaged: {damage}"), remake);
    }
    if log.id.is_some_and(|id| id != followed) {
        return findings.warn("index", "it belongs to another log", MADE_AGAIN);
    }
    match log.leaves {
        None => {
            let found = format!("it has {next_leaf} leaves; the log's number of leaves is unknown");
            return findings.skipped("index", found);
        }
        // A running site's log has grown since this check read it.
        Some(leaves) if next_leaf > leaves && !is_running => {
            let found = format!(
                "it has {next_leaf} leaves, but the log has only {leaves}: the log was restored from a copy"
            );
            return findings.warn("index", found, MADE_AGAIN);
        }
        Some(_) => {}
    }
    let compared = compare(&path, &DataDir::ledger_of(data_dir), is_running);
    match compared {
        Err(failure) => {
            let found = format!("cannot compare it with the log: {}", error_chain(&failure));
            findings.failed("index", found, remake);
        }
        Ok(Compared::Not(why)) => findings.skipped("index", why),
        Ok(Compared::Differs(differences)) => {
            findings.failed("index", words(&differences), remake);
        }
        Ok(Compared::Same) => {
            let found = match log.leaves.map_or(0, |leaves| leaves.saturating_sub(next_leaf)) {
                0 => String::from("it matches the whole log"),
                behind => format!(
                    "it matches the log, but is {behind} leaves behind; a running site catches up"
                ),
            };
            findings.ok("index", found);
        }
    }
    passed_over(&path, is_running, findings);
}

fn words(differences: &[Difference]) -> String {
    let named: Vec<String> = differences.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = differences.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("it differs from the log: {}{more}", named.join("; "))
}

fn passed_over(path: &Path, is_running: bool, findings: &mut Findings) {
    #[expect(clippy::cast_possible_truncation, reason = "eight")]
    match index::passed_over(path, is_running, NAMED_MAX as u32) {
        Ok(found) if found.count > 0 => {
            let named: Vec<String> =
                found.newest.iter().map(|(leaf, reason)| format!("{leaf} ({reason})")).collect();
            let found = format!(
                "it lacks {} leaves that it could not index; the newest are {}",
                found.count,
                named.join(", ")
            );
            let remedy = "these leaves are sealed and can be proved, but searches and plots miss \
                them; if you repaired segments, stop the site and delete the index";
            findings.warn("index", found, remedy);
        }
        Ok(_) => {}
        Err(error) => {
            findings.failed("index", error_chain(&error), "make the file readable");
        }
    }
}

/// Result of a comparison.
enum Compared {
    Same,
    Differs(Vec<Difference>),
    /// The comparison could not be made, for this reason.
    Not(String),
}

/// Compares the index with the log. Reads each once.
fn compare(path: &Path, ledger: &Path, is_running: bool) -> Result<Compared, CompareError> {
    let Some(mut comparison) = Comparison::begin(path, is_running)? else {
        let why =
            "not compared: a crash or an open reader left changes that only the next start applies";
        return Ok(Compared::Not(why.to_owned()));
    };
    let is_erasing = || {
        claimed_state(&RealDisk, ledger)
            .ok()
            .flatten()
            .is_some_and(|state| !state.erasing.is_empty())
    };
    let unfinished = || {
        let why = "not compared: an erasure is unfinished";
        Ok(Compared::Not(why.to_owned()))
    };
    if is_erasing() {
        return unfinished();
    }
    let log = match open(ledger) {
        Ok(log) => log,
        Err(error) => {
            let why =
                format!("not compared, because the log cannot be read: {}", error_chain(&error));
            return Ok(Compared::Not(why));
        }
    };
    // Leaves that no checkpoint covers yet cannot be compared with anything.
    let end = comparison.next_leaf().min(log.size());
    let mut next_leaf = 0;
    while next_leaf < end {
        let mut batch = IndexBatch::new(next_leaf);
        loop {
            let left = usize::try_from(end - batch.next_leaf()).unwrap_or(usize::MAX);
            let stored = log.envelopes(batch.next_leaf(), batch.room().min(left), READ_BYTES)?;
            if stored.is_empty() {
                break;
            }
            batch.extend(stored.into_iter().map(|stored| Envelope::parse(&stored.bytes?).ok()));
        }
        if batch.is_empty() {
            break;
        }
        next_leaf = batch.next_leaf();
        comparison.take_in(&batch);
    }
    if let Some(last) = end.checked_sub(1)
        && end == comparison.next_leaf()
        && log.entries(last, 1)?.first().map(|entry| *entry.as_bytes())
            != Some(comparison.last_entry())
    {
        let leaves = last..end;
        return Ok(Compared::Differs(vec![Difference::Leaves { what: "the entry", leaves }]));
    }
    let erased_since = erased_since(ledger, comparison.next_leaf())?;
    if is_erasing() {
        return unfinished();
    }
    let differences = comparison.finish(|leaf| erased_since.contains(leaf))?;
    Ok(if differences.is_empty() { Compared::Same } else { Compared::Differs(differences) })
}

fn open(ledger: &Path) -> Result<LogReader, OpenReaderError> {
    LogReader::open(Arc::new(RealDisk), ledger, None)
}

/// The leaves that the log orders to be erased, from the leaf `from` up to the log's current end.
/// The index does not know of these orders yet.
fn erased_since(ledger: &Path, from: u64) -> Result<LeafRanges, CompareError> {
    let log = open(ledger)?;
    let mut ordered = LeafRanges::new();
    let mut next_leaf = from;
    while next_leaf < log.size() {
        for stored in log.envelopes(next_leaf, READ_LEAVES, READ_BYTES)? {
            next_leaf = stored.leaf + 1;
            let order =
                stored.bytes.filter(|it| Envelope::has_action(it, action::ENVELOPES_ERASED));
            let event = order.and_then(|bytes| Some(Envelope::parse(&bytes).ok()?.event));
            let leaves = event.and_then(|event| event.sealwire?.erased?.parse::<LeafRanges>().ok());
            if let Some(leaves) = leaves {
                ordered = ordered.union(&leaves);
            }
        }
    }
    Ok(ordered)
}

/// Why an index was not compared with its log.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Log(#[from] OpenReaderError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reads the index of a folder. A start replaces a damaged index, but fails on one that cannot be
/// read now.
fn read(folder: &Path, is_in_use: bool) -> Result<Option<Examined>, StartError> {
    index_can_lie(folder)?;
    Ok(index::examine(&folder.join(INDEX), is_in_use)?)
}
