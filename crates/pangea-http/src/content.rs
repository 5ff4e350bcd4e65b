//! The content of a file of events, and how it is read from the log while the file is written.
//!
//! A file is not kept, so it costs no memory, whatever its size. Everything here blocks on the
//! disk.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use ledger::{Ledger, StoredEnvelope};
use model::{Envelope, Timestamp};
use pangea::{
    Refusal,
    request::{Format, SortOrder, Window},
};

use crate::{file_writer::FileWriter, saved::Export, shown_log::ShownLog};

/// Leaves read at once.
const READ_LEAVES: u64 = 1_000;
/// Bytes of them.
const READ_BYTES_MAX: usize = 4 << 20;
/// Number of leaves found by a search that are read at once, in any order: an eighth of a block,
/// and 64 MiB at most.
const FOUND_LEAVES: usize = 32;

/// The content of a file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The results of a search, in its order.
    Found(Arc<[u64]>),
    Export(Export),
}

impl Content {
    /// Memory in bytes, without the value itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Found(leaves) => size_of_val(&**leaves),
            Self::Export(_) => 0,
        }
    }

    /// Writes a whole file, compressed.
    pub(crate) fn write(
        &self,
        log: &ShownLog,
        format: Format,
        to: impl Write,
    ) -> Result<(), FileError> {
        let to = GzEncoder::new(to, Compression::fast());
        let mut writer = FileWriter::begin(to, format, &log.schema)?;
        match self {
            Self::Found(leaves) => write_found(log, leaves, &mut writer)?,
            Self::Export(export) => write_export(&log.ledger, export, &mut writer)?,
        }
        writer.end()?.finish()?;
        Ok(())
    }
}

/// Writes the results of a search, except those that were erased since.
fn write_found(
    log: &ShownLog,
    leaves: &[u64],
    writer: &mut FileWriter<impl Write>,
) -> Result<(), FileError> {
    for leaves in leaves.chunks(FOUND_LEAVES) {
        let mut envelopes = BTreeMap::new();
        log.read(leaves, |leaf, bytes| {
            envelopes.extend(bytes.map(|bytes| (leaf, bytes)));
            Ok(())
        })?;
        for leaf in leaves {
            envelopes.remove(leaf).map_or(Ok(()), |bytes| writer.event(*leaf, &bytes))?;
        }
    }
    Ok(())
}

/// Writes everything in the window, in the log's order or in reverse. Times of receipt never go
/// back, so the window is a span of leaves.
fn write_export(
    ledger: &Ledger,
    export: &Export,
    writer: &mut FileWriter<impl Write>,
) -> Result<(), FileError> {
    // If the log was restored from an older copy, it may be shorter than the saved searches assume.
    let end_leaf = export.end_leaf.min(ledger.size());
    let Window { start, end, order } = export.window;
    let begin = first_received(ledger, start, end_leaf)?;
    let end = match end {
        Some(end) => first_received(ledger, end, end_leaf)?,
        None => end_leaf,
    };
    let mut write = |stored: &StoredEnvelope| {
        stored.bytes.as_ref().map_or(Ok(()), |bytes| writer.event(stored.leaf, bytes))
    };
    match order {
        SortOrder::Ascending => {
            let mut next = begin;
            while next < end {
                let stored = envelopes(ledger, next, end)?;
                next = stored.last().map_or(end, |stored| stored.leaf + 1);
                stored.iter().try_for_each(&mut write)?;
            }
        }
        SortOrder::Descending => {
            let mut until = end;
            while begin < until {
                // If fewer leaves arrive than were requested, the last ones are missing. Half as
                // many are read again, until all arrive.
                let mut count = (until - begin).min(READ_LEAVES);
                let mut stored = envelopes(ledger, until - count, until)?;
                while (stored.len() as u64) < count {
                    count = count.div_ceil(2).max(1);
                    stored = envelopes(ledger, until - count, until)?;
                }
                stored.iter().rev().try_for_each(&mut write)?;
                until -= count;
            }
        }
    }
    Ok(())
}

/// The first leaf before `end` that was received at this time or later, or `end` if there is none.
/// A binary search finds it and skips erased leaves.
fn first_received(ledger: &Ledger, moment: Timestamp, end: u64) -> Result<u64, FileError> {
    let moment = moment.to_string();
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        // The first leaf from the middle on that is not erased stands for those before it.
        match first_received_from(ledger, middle, high)? {
            Some((leaf, received)) if received < moment => low = leaf + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first of these leaves that is not erased, with its time of receipt.
fn first_received_from(
    ledger: &Ledger,
    from: u64,
    end: u64,
) -> Result<Option<(u64, String)>, FileError> {
    let mut from = from;
    while from < end {
        let stored = envelopes(ledger, from, end)?;
        let received = stored.iter().find_map(|stored| {
            let received = Envelope::received_at_of(stored.bytes.as_deref()?)?;
            Some((stored.leaf, received.to_owned()))
        });
        if received.is_some() {
            return Ok(received);
        }
        from = stored.last().map_or(end, |stored| stored.leaf + 1);
    }
    Ok(None)
}

fn envelopes(ledger: &Ledger, from: u64, end: u64) -> Result<Vec<StoredEnvelope>, FileError> {
    let count = usize::try_from((end - from).min(READ_LEAVES)).unwrap_or(usize::MAX);
    ledger.envelopes(from, count, READ_BYTES_MAX).map_err(|error| FileError(error.to_string()))
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FileError(String);

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Refusal> for FileError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.summary)
    }
}
